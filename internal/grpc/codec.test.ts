import { create, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ShardRouterService } from "../../gen/ts/psephos/shard/v1/shard_pb.js";
import { CastVotesRequestSchema, VoteService } from "../../gen/ts/psephos/vote/v1/vote_pb.js";
import { ServiceError } from "../core/errors.ts";
import { decode, decodeRequest, encode } from "./codec.ts";

function failure(run: () => unknown): unknown {
  try {
    run();
  } catch (error) {
    return error;
  }
  throw new Error("it did not fail");
}

describe("a request that is not one", () => {
  test("names the string that is not UTF-8, however deep", () => {
    // CastVotesRequest{id: 1, vote: {election_id: "ok", request_id: "\xc3\x28"}}
    const frame = Buffer.from([0x08, 1, 0x12, 8, 0x0a, 2, 0x6f, 0x6b, 0x1a, 2, 0xc3, 0x28]);
    expect(failure(() => decodeRequest(CastVotesRequestSchema, frame))).toMatchObject({
      kind: "invalid-argument",
      message: "vote.request_id: not UTF-8",
      fields: [{ field: "vote.request_id", description: "not UTF-8" }],
    });
  });

  test("names a member of a list by its index", () => {
    // google.rpc-like lists: ListElectionsResponse{elections: [{}, {election_id: "\x80"}]}
    const frame = Buffer.from([0x0a, 0, 0x0a, 3, 0x0a, 1, 0x80]);
    expect(failure(() => decodeRequest(ShardRouterService.method.listElections.output, frame))).toMatchObject(
      {
        fields: [{ field: "elections[1].election_id", description: "not UTF-8" }],
      },
    );
  });

  test("is INVALID_ARGUMENT whatever the bytes are, and nothing else is ever thrown", () => {
    const { input } = VoteService.method.castVote;
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          decodeRequest(input, Buffer.from(bytes));
        } catch (error) {
          expect(error).toBeInstanceOf(ServiceError);
          expect(error).toMatchObject({ kind: "invalid-argument" });
        }
      }),
      { numRuns: 2000 },
    );
    expect(failure(() => decodeRequest(input, Buffer.from([0xff])))).toMatchObject({
      kind: "invalid-argument",
      message: "the request is not a CastVoteRequest",
      reason: "MALFORMED_REQUEST",
      fields: [],
    });
  });
});

test("encode and decode are protobuf's, without a copy", () => {
  const vote = {
    electionId: "é",
    voterId: "v",
    choice: { case: "sealedChoice" as const, value: Uint8Array.of(1) },
  };
  const frame = encode(CastVotesRequestSchema, { id: 5n, vote });
  expect(new Uint8Array(frame)).toEqual(
    toBinary(CastVotesRequestSchema, create(CastVotesRequestSchema, { id: 5n, vote })),
  );
  const back = decode(CastVotesRequestSchema, frame);
  expect(back).toMatchObject({ id: 5n, vote });
  const value = back.vote?.choice.value;
  expect(value instanceof Uint8Array && value.buffer).toBe(frame.buffer);
  expect(Buffer.isBuffer(value)).toBe(false);
});

import { create, type MessageInitShape } from "@bufbuild/protobuf";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type CastVoteRequest, CastVoteRequestSchema } from "../../gen/ts/psephos/vote/v1/vote_pb.js";
import { ServiceError } from "../core/errors.ts";
import { checkElectionId, checkOpen, checkVoteForm, idProblem } from "./validation.ts";

const GOOD = {
  electionId: "vermont-2020",
  voterId: "voter",
  requestId: "request",
  choice: { case: "candidateId", value: "a" },
} as const;

function vote(changes: MessageInitShape<typeof CastVoteRequestSchema> = {}): CastVoteRequest {
  return create(CastVoteRequestSchema, { ...GOOD, ...changes });
}

function refusal(check: () => void): ServiceError {
  try {
    check();
  } catch (error) {
    if (error instanceof ServiceError) return error;
    throw error;
  }
  throw new Error("it was not refused");
}

const fieldsOf = (request: CastVoteRequest) =>
  refusal(() => checkVoteForm(request)).fields.map(({ field }) => field);

describe("ids", () => {
  test.each([
    ["one byte", "x"],
    ["256 bytes of ASCII", "x".repeat(256)],
    ["256 bytes in 128 letters", "é".repeat(128)],
    ["256 bytes in 64 surrogate pairs", "🗳".repeat(64)],
    ["a byte-order mark, which is text", "\ufeffvoter"],
    ["a NUL", "a\0b"],
  ])("%s is taken", (_name, id) => expect(idProblem(id)).toBeUndefined());

  test.each([
    ["empty", "", "must not be empty"],
    ["257 bytes of ASCII", "x".repeat(257), "must be at most 256 bytes of UTF-8"],
    ["258 bytes in 129 letters", "é".repeat(129), "must be at most 256 bytes of UTF-8"],
    ["a megabyte", "x".repeat(1 << 20), "must be at most 256 bytes of UTF-8"],
    ["U+FFFD, which lenient decoders put for what is not UTF-8", "vo\ufffdter", "must be valid UTF-8"],
    ["a lone surrogate", "vo\ud83dter", "must be valid UTF-8"],
  ])("%s is refused", (_name, id, problem) => expect(idProblem(id)).toBe(problem));

  test("exactly those that UTF-8 can carry in 1 to 256 bytes are taken", () => {
    const ids = fc.oneof(
      fc.string({ maxLength: 300 }),
      fc.string({ unit: "grapheme", maxLength: 300 }),
      // Any UTF-16 units, lone surrogates among them.
      fc.array(fc.nat(0xffff), { maxLength: 200 }).map((units) => String.fromCharCode(...units)),
    );
    fc.assert(
      fc.property(ids, (id) => {
        const bytes = new TextEncoder().encode(id);
        const survives = new TextDecoder().decode(bytes) === id.replace(/^\ufeff/, "");
        const good = bytes.length >= 1 && bytes.length <= 256 && survives && !id.includes("\ufffd");
        return (idProblem(id) === undefined) === good;
      }),
    );
  });
});

describe("the form of a vote", () => {
  test("a good one passes", () => {
    expect(() => checkVoteForm(vote())).not.toThrow();
    const sealed = new Uint8Array(63).fill(0x02);
    expect(() => checkVoteForm(vote({ choice: { case: "sealedChoice", value: sealed } }))).not.toThrow();
  });

  test("every field that is wrong is named, and nothing else", () => {
    expect(fieldsOf(vote({ electionId: "" }))).toEqual(["election_id"]);
    expect(fieldsOf(vote({ electionId: "Vermont 2020" }))).toEqual(["election_id"]);
    expect(fieldsOf(vote({ voterId: "" }))).toEqual(["voter_id"]);
    expect(fieldsOf(vote({ requestId: "x".repeat(257) }))).toEqual(["request_id"]);
    expect(fieldsOf(vote({ choice: { case: "candidateId", value: "\ufffd" } }))).toEqual(["candidate_id"]);
    expect(fieldsOf(vote({ choice: { case: undefined } }))).toEqual(["choice"]);
    expect(fieldsOf(create(CastVoteRequestSchema))).toEqual([
      "election_id",
      "voter_id",
      "request_id",
      "choice",
    ]);
  });

  test.each([
    ["nothing", new Uint8Array(0)],
    ["too short", new Uint8Array(62).fill(2)],
    ["too long", new Uint8Array(64).fill(2)],
    ["of VoteService's own format", new Uint8Array(63).fill(1)],
  ])("a sealed choice that is %s is refused", (_name, value) => {
    expect(fieldsOf(vote({ choice: { case: "sealedChoice", value } }))).toEqual(["sealed_choice"]);
  });

  test("a refusal is INVALID_ARGUMENT and repeats nothing of what was sent", () => {
    const planted = "PLANTED";
    const long = planted.repeat(100);
    const error = refusal(() =>
      checkVoteForm(
        vote({
          electionId: planted,
          voterId: long,
          requestId: `${planted}\ufffd`,
          choice: { case: "candidateId", value: long },
        }),
      ),
    );
    expect(error.kind).toBe("invalid-argument");
    expect(error.fields).toHaveLength(4);
    expect(JSON.stringify([error.message, error.fields])).not.toContain(planted);
  });
});

test("an election's id has its own form", () => {
  expect(checkElectionId("vermont-2020")).toBe("vermont-2020");
  for (const id of ["", "-a", "a-", "A", "a/b", "a.b", "x".repeat(64), "\ufffd"]) {
    const error = refusal(() => checkElectionId(id));
    expect(error.fields.map(({ field }) => field)).toEqual(["election_id"]);
  }
});

describe("when votes go to their shards", () => {
  const MINUTE = 60_000_000;
  const period = { opensAt: 1_000, closesAt: 2_000, closingSince: null };
  const reason = (now: number, changes = {}) => {
    const error = refusal(() => checkOpen({ ...period, ...changes }, now));
    return [error.kind, error.reason];
  };

  test("from the opening on", () => {
    expect(reason(999)).toEqual(["failed-precondition", "NOT_OPEN_YET"]);
    expect(() => checkOpen(period, 1_000)).not.toThrow();
    expect(() => checkOpen({ ...period, closesAt: null }, 1e15)).not.toThrow();
  });

  test("until a minute after the closing: a retry may be late, and the shard knows it", () => {
    expect(() => checkOpen(period, 1_999 + MINUTE)).not.toThrow();
    expect(reason(2_000 + MINUTE)).toEqual(["failed-precondition", "CLOSED"]);
  });

  test("a minute after CloseElection is known to have begun, if that is earlier", () => {
    const closing = { closingSince: 1_500 };
    expect(() => checkOpen({ ...period, ...closing }, 1_499 + MINUTE)).not.toThrow();
    expect(reason(1_500 + MINUTE, closing)).toEqual(["failed-precondition", "CLOSED"]);
    expect(reason(1_500 + MINUTE, { ...closing, closesAt: null })).toEqual(["failed-precondition", "CLOSED"]);
    expect(reason(2_000 + MINUTE, { closingSince: 3_000 })).toEqual(["failed-precondition", "CLOSED"]);
  });
});

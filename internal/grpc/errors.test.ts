import { createClient } from "@connectrpc/connect";
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { VoteService } from "../../gen/ts/psephos/vote/v1/vote_pb.js";
import { type ErrorKind, ServiceError } from "../core/errors.ts";
import { ANY_PEER } from "./identity.ts";
import { collect, Mesh, rejection, TestService } from "./service.fixture.ts";

// What a caller sees of what goes wrong in a handler.

const KINDS: ErrorKind[] = [
  "invalid-argument",
  "not-found",
  "already-exists",
  "permission-denied",
  "failed-precondition",
  "resource-exhausted",
  "aborted",
  "unavailable",
  "deadline-exceeded",
  "cancelled",
  "data-loss",
  "internal",
];

let mesh: Mesh;
let toThrow: unknown;
const fail = () => {
  throw toThrow;
};

beforeAll(async () => {
  mesh = await Mesh.create();
  await mesh.serve({
    unary: async ({ value }) => {
      if (value.length > 0) await Promise.resolve();
      return fail();
    },
    async *answers() {
      yield { value: Uint8Array.of(1) };
      fail();
    },
    async requests() {
      return fail();
    },
    talk: fail, // before there is anything to iterate
  });
});
afterAll(() => mesh[Symbol.asyncDispose]());
beforeEach(() => {
  mesh.log.lines.length = 0;
});

test.each(KINDS)("%s comes back as it was thrown", async (kind) => {
  toThrow = new ServiceError(kind, `it is “${kind}”, 100 % sure\n`, {
    reason: "SOME_REASON",
    fields: [{ field: "votes[3].voter_id", description: "empty" }],
    retryDelayMs: 1500,
    cause: new Error("secret"),
  });
  const client = await mesh.client();
  const error = await rejection(client.unary({}));
  expect(error).toBeInstanceOf(ServiceError);
  expect(error).toMatchObject({
    kind,
    message: `it is “${kind}”, 100 % sure\n`,
    reason: "SOME_REASON",
    fields: [{ field: "votes[3].voter_id", description: "empty" }],
    retryDelayMs: 1500,
  });
  expect(String(error instanceof Error && error.cause)).not.toContain("secret");
});

test("a message that is no text is made one", async () => {
  toThrow = new ServiceError("aborted", "half a pair: \ud83d");
  expect(await rejection((await mesh.client()).unary({}))).toMatchObject({ message: "half a pair: \ufffd" });
});

describe("something that is not a ServiceError", () => {
  const call = {
    "thrown at once": (client) => client.unary({}),
    "thrown later": (client) => client.unary({ value: new Uint8Array(1) }),
    "thrown in a client stream": (client) => client.requests((async function* () {})()),
    "thrown before a conversation": (client) => collect(client.talk((async function* () {})())),
    "thrown amid answers": (client) => collect(client.answers({})),
  } satisfies Record<string, (client: Awaited<ReturnType<Mesh["client"]>>) => Promise<unknown>>;

  test.each(Object.entries(call))("%s is INTERNAL without its text, which is logged", async (_, begin) => {
    toThrow = new TypeError("voter 4711 is not a function");
    const client = await mesh.client();
    expect(await rejection(begin(client))).toMatchObject({ kind: "internal", message: "internal error" });
    const [line] = mesh.log.lines.filter(({ level }) => level === "error");
    expect(line).toMatchObject({
      message: "a call failed",
      fields: { code: "INTERNAL", peer: "spiffe://psephos.test/client/alice", error: { cause: toThrow } },
    });
  });
});

test("answers before the error arrive", async () => {
  toThrow = new ServiceError("aborted", "enough");
  const client = await mesh.client();
  const answers = client.answers({})[Symbol.asyncIterator]();
  expect((await answers.next()).value?.value).toEqual(Uint8Array.of(1));
  expect(await rejection(answers.next())).toMatchObject({ kind: "aborted", message: "enough" });
});

test("an answer that cannot be encoded, and one that is too large, are our fault", async () => {
  await using other = await Mesh.create();
  let value: unknown = "not bytes";
  await other.serve({ unary: () => ({ value: value as Uint8Array }) }, { limits: { maxMessageBytes: 1000 } });
  const client = await other.client();
  expect(await rejection(client.unary({}))).toMatchObject({ kind: "internal", message: "internal error" });
  value = new Uint8Array(2000);
  expect(await rejection(client.unary({}))).toMatchObject({ kind: "internal", message: "internal error" });
});

test("a request that cannot be encoded fails where it is made", async () => {
  const client = await mesh.client();
  const value = "not bytes" as unknown as Uint8Array;
  expect(await rejection(client.unary({ value }))).toBeInstanceOf(Error);
  const requests = async function* () {
    yield { value };
  };
  expect(await rejection(collect(client.talk(requests())))).not.toMatchObject({ kind: "cancelled" });
});

test("an error of whoever makes the requests is the caller's own", async () => {
  const client = await mesh.client();
  const mine = new Error("my disk is full");
  const requests = async function* () {
    yield {};
    throw mine;
  };
  expect(await rejection(client.requests(requests()))).toBe(mine);
});

describe("retries", () => {
  test("an idempotent method is tried again while UNAVAILABLE, no other is", async () => {
    await using other = await Mesh.create();
    let calls = 0;
    await other.serve({
      unary: (request) => {
        calls += 1;
        if (calls % 3 !== 0) throw new ServiceError("unavailable", "not now", { retryDelayMs: 1 });
        return request;
      },
    });
    const retrying = await other.client({ idempotent: [TestService.method.unary] });
    await retrying.unary({});
    expect(calls).toBe(3);
    const plain = await other.client({ idempotent: [TestService.method.talk] });
    expect(await rejection(plain.unary({}))).toMatchObject({ kind: "unavailable", message: "not now" });
    expect(calls).toBe(4);
  });

  test("come when the server said, not when the config says", async () => {
    await using other = await Mesh.create();
    const calls: number[] = [];
    await other.serve({
      unary: (request) => {
        calls.push(performance.now());
        if (calls.length === 1) throw new ServiceError("unavailable", "not now", { retryDelayMs: 400 });
        return request;
      },
    });
    await (await other.client({ idempotent: [TestService.method.unary] })).unary({});
    expect((calls[1] ?? 0) - (calls[0] ?? 0)).toBeGreaterThan(390);
  });

  test("a server that is not there is UNAVAILABLE, without its address", async () => {
    const client = await mesh.client({ address: "127.0.0.1:1" });
    const error = await rejection(client.unary({}));
    expect(error).toMatchObject({ kind: "unavailable", message: "test cannot be reached" });
    expect(error instanceof Error && error.cause).toMatchObject({
      message: expect.stringContaining("127.0.0.1:1"),
    });
  });
});

test("a string that is not UTF-8 is INVALID_ARGUMENT and names its field", async () => {
  await using other = await Mesh.create();
  const castVote = vi.fn();
  const server = await other.serve();
  server.addService(VoteService, { castVote }, { castVote: ANY_PEER, castVotes: [], getVote: [] });
  // What a client in another language might send: CastVoteRequest{election_id: "e", voter_id: "\xff\xfe"}.
  const frame = Buffer.from([0x0a, 1, 0x65, 0x12, 2, 0xff, 0xfe]);
  const schema = { ...VoteService.method.castVote, input: TestService.method.unary.input };
  const transport = await other.transport();
  // BytesValue{value} has the bytes as field 1; unknown fields carry the rest as they are.
  const error = await rejection(
    transport.unary(schema, undefined, undefined, undefined, {
      $typeName: "google.protobuf.BytesValue",
      value: Buffer.from("e"),
      $unknown: [{ no: 2, wireType: 2, data: frame.subarray(4) }],
    }),
  );
  expect(error).toMatchObject({
    kind: "invalid-argument",
    reason: "INVALID_FIELD",
    fields: [{ field: "voter_id", description: "not UTF-8" }],
  });
  expect(castVote).not.toHaveBeenCalled();
  // The service works, with a well-formed U+FFFD in a string too.
  castVote.mockResolvedValue({ revision: 1 });
  await createClient(VoteService, transport).castVote({ voterId: "\uFFFD" });
  expect(castVote.mock.calls[0]?.[0]).toMatchObject({ voterId: "\uFFFD" });
});

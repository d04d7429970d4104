import { setTimeout as delay } from "node:timers/promises";
import { create, type MessageInitShape, type MessageShape } from "@bufbuild/protobuf";
import { createHandlerContext, type HandlerContext } from "@connectrpc/connect";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { StatusSchema } from "../../gen/ts/google/rpc/status_pb.js";
import {
  type CastVoteRequest,
  CastVoteRequestSchema,
  type CastVotesRequest,
  CastVotesRequestSchema,
  type CastVotesResponse,
  CastVotesResponseSchema,
  GetVoteRequestSchema,
  VotePromiseSchema,
  VoteService,
  VoteStatus,
} from "../../gen/ts/psephos/vote/v1/vote_pb.js";
import { ChainVerifier, genesisHeads } from "../ballot/chain.ts";
import { encodeManifest, manifestHash } from "../ballot/manifest.ts";
import { ChoiceOpener } from "../ballot/opening.ts";
import { sealAsClient } from "../ballot/sealing.ts";
import { generateTallyKeyPair } from "../ballot/tally-key.ts";
import { testLogKey, testManifest } from "../ballot/test-manifest.ts";
import { decodeUtf8, toHex } from "../core/bytes.ts";
import { ServiceError } from "../core/errors.ts";
import { electionId, positionOf, voteId } from "../core/ids.ts";
import { sha256 } from "../core/sha256.ts";
import { parsePromise, promiseFile, verifyPromise } from "../receipt/promise.ts";
import { TestVoteService, testPromises } from "./test-vote-service.ts";
import { createVoteService } from "./vote-service.ts";

const ELECTION = electionId("test-1");
const NO_BYTES = new Uint8Array(0);

let services: TestVoteService;
let service: ReturnType<typeof createVoteService>;

beforeEach(() => {
  services = new TestVoteService();
  services.router.add(testManifest());
  service = createVoteService({
    ...services,
    streamVotes: 100,
    timeoutMs: 1_000,
    statusOf: (error) => {
      const kind = error instanceof ServiceError ? error.kind : "internal";
      return create(StatusSchema, { message: kind });
    },
  });
});
afterEach(() => services[Symbol.asyncDispose]());

function contextOf(method: keyof typeof VoteService.method, timeoutMs?: number): HandlerContext {
  return createHandlerContext({
    service: VoteService,
    method: VoteService.method[method],
    protocolName: "grpc",
    requestMethod: "POST",
    url: "https://test/",
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
  });
}

function vote(changes: MessageInitShape<typeof CastVoteRequestSchema> = {}): CastVoteRequest {
  return create(CastVoteRequestSchema, {
    electionId: ELECTION,
    voterId: "voter-1",
    requestId: "request-1",
    choice: { case: "candidateId", value: "b" },
    ...changes,
  });
}

const cast = async (changes: MessageInitShape<typeof CastVoteRequestSchema> = {}, timeoutMs?: number) =>
  service.castVote(vote(changes), contextOf("castVote", timeoutMs));

async function refusalOf(answer: Promise<unknown>): Promise<ServiceError> {
  const error = await answer.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (error instanceof ServiceError) return error;
  throw new Error("it was not refused with a ServiceError", { cause: error });
}

async function* each<T>(items: Iterable<T>): AsyncGenerator<T> {
  yield* items;
}

const numbered = (
  id: number,
  changes: MessageInitShape<typeof CastVoteRequestSchema> = {},
): CastVotesRequest =>
  create(CastVotesRequestSchema, { id: BigInt(id), vote: vote({ voterId: `voter-${id}`, ...changes }) });

async function castAll(
  requests: Iterable<CastVotesRequest>,
): Promise<Map<number, CastVotesResponse["outcome"]>> {
  const answers = new Map<number, CastVotesResponse["outcome"]>();
  for await (const init of service.castVotes(each(requests), contextOf("castVotes"))) {
    const { id, outcome }: MessageShape<typeof CastVotesResponseSchema> = create(
      CastVotesResponseSchema,
      init,
    );
    expect(answers.has(Number(id))).toBe(false);
    answers.set(Number(id), outcome);
  }
  return answers;
}

describe("promises", () => {
  const id = electionId("promising");
  const promising = testManifest({ electionId: id, promises: testPromises(id) });

  /** What the answer promises, verified. */
  function promised({ promise }: Awaited<ReturnType<typeof cast>>) {
    if (promise === undefined) throw new Error("there is no promise");
    const fields = create(VotePromiseSchema, promise);
    const promised = parsePromise(promiseFile(fields));
    return verifyPromise({ promise: promised, manifest: promising, manifestHash: manifestHash(promising) });
  }

  test("an answer promises its vote's entry; its repetition does so again, an older promise stands", async () => {
    services.router.add(promising);
    const answer = await cast({ electionId: id });
    const { entry, issuedAt, dueAt } = promised(answer);
    const { shard, sequence } = positionOf(voteId(answer.voteId ?? 0n), 16);
    expect({ ...entry, recordHash: toHex(entry.recordHash) }).toEqual({
      ...{ type: "vote", shard, sequence },
      recordHash: toHex(answer.recordHash ?? new Uint8Array(0)),
    });
    expect(dueAt).toBe(issuedAt + 60_000_000);
    expect(Math.abs(issuedAt / 1_000 - Date.now())).toBeLessThan(60_000);

    const again = promised(await cast({ electionId: id }));
    expect(again.entry).toEqual(entry);
    expect(again.issuedAt).toBeGreaterThanOrEqual(issuedAt);
  });

  test("a stream's votes share the signature of their batch", async () => {
    services.router.add(promising);
    const answers = await castAll(Array.from({ length: 40 }, (_, i) => numbered(i, { electionId: id })));
    const votes = [...answers.values()].flatMap(({ case: kind, value }) => (kind === "vote" ? [value] : []));
    expect(votes).toHaveLength(40);
    const statements = new Set(votes.map(({ promise }) => decodeUtf8(promise?.statement ?? NO_BYTES)));
    expect(statements.size).toBe(services.router.batches.length);
    const [first] = votes;
    expect(first && promised(first).batchSize).toBeGreaterThan(1);
  });

  test("there is none in an election without them, nor in what GetVote answers", async () => {
    services.router.add(promising);
    expect(await cast()).not.toHaveProperty("promise");
    const { voteId = 0n } = await cast({ electionId: id });
    const request = create(GetVoteRequestSchema, { electionId: id, voteId });
    const { vote } = await service.getVote(request, contextOf("getVote"));
    expect(vote).not.toHaveProperty("promise");
  });

  test("with another key in the manifest, votes are taken without, and an operator is told", async () => {
    const other = testLogKey(`psephos.test/${id}/promise`, "another's");
    services.router.add(testManifest({ electionId: id, promises: { key: other, delaySeconds: 60 } }));
    expect(await cast({ electionId: id })).not.toHaveProperty("promise");
    expect(services.log.filter((line) => line.includes("promise_key is not this service's"))).toHaveLength(1);
  });
});

describe("CastVote", () => {
  test("a vote is recorded under a pseudonym, and its choice opens with the tally key alone", async () => {
    const { publicKey, privateKey } = generateTallyKeyPair();
    const id = electionId("sealed");
    const manifest = services.router.add(testManifest({ electionId: id, tallyKey: publicKey }));
    const answer = await cast({ electionId: id });
    expect(answer).toMatchObject({ status: VoteStatus.RECORDED, revision: 1 });

    const [record] = services.router.records(id);
    if (record === undefined) throw new Error("nothing was recorded");
    expect(answer.recordHash).toEqual(record.hash);
    expect(answer.castAt).toEqual({
      seconds: BigInt(Math.floor(record.castAt / 1e6)),
      nanos: (record.castAt % 1e6) * 1_000,
    });
    const heads = genesisHeads(sha256(encodeManifest(manifest)), manifest.shards);
    new ChainVerifier({ heads }).accept(record);
    const opener = await ChoiceOpener.create({ manifest, privateKey });
    expect(await opener.open(record.sealedChoice, record.voterPseudonym)).toEqual({
      kind: "choice",
      index: 1,
    });
  });

  test("a choice that the client sealed is passed on as it is", async () => {
    const { publicKey, privateKey } = generateTallyKeyPair();
    const id = electionId("sealed");
    const manifest = services.router.add(testManifest({ electionId: id, tallyKey: publicKey }));
    const sealed = await sealAsClient(manifest, 2);
    await cast({ electionId: id, choice: { case: "sealedChoice", value: sealed } });
    const [record] = services.router.records(id);
    expect(record?.sealedChoice).toEqual(sealed);
    const opener = await ChoiceOpener.create({ manifest, privateKey });
    expect(await opener.open(sealed, new Uint8Array(32))).toEqual({ kind: "choice", index: 2 });
  });

  test("equal choices make unequal ciphertexts of one length", async () => {
    await Promise.all(Array.from({ length: 50 }, (_, i) => cast({ voterId: `voter-${i}` })));
    const sealed = services.router.records(ELECTION).map(({ sealedChoice }) => toHex(sealedChoice));
    expect(new Set(sealed).size).toBe(50);
    expect(new Set(sealed.map((hex) => hex.length))).toEqual(new Set([126]));
  });

  test("the same request gets the same answer again, another one ALREADY_VOTED", async () => {
    const first = await cast();
    expect(await cast()).toEqual(first);
    // What makes a retry is the request id, so that a retry cannot change the choice.
    expect(await cast({ choice: { case: "candidateId", value: "c" } })).toEqual(first);
    const error = await refusalOf(cast({ requestId: "request-2" }));
    expect([error.kind, error.reason]).toEqual(["already-exists", "ALREADY_VOTED"]);
    expect(services.router.records(ELECTION)).toHaveLength(1);
  });

  test("request ids are a voter's own", async () => {
    await cast({ voterId: "voter-1", requestId: "same" });
    await cast({ voterId: "voter-2", requestId: "same" });
    const tokens = services.router.batches.flatMap(({ votes }) =>
      votes.map(({ requestToken }) => toHex(requestToken)),
    );
    expect(new Set(tokens).size).toBe(2);
  });

  test("under last-counts a second vote is another revision", async () => {
    const id = electionId("twice");
    services.router.add(testManifest({ electionId: id, revoting: "last-counts" }));
    await cast({ electionId: id });
    expect(await cast({ electionId: id, requestId: "request-2" })).toMatchObject({ revision: 2 });
  });

  test("200 attempts of one voter at once record one vote", async () => {
    const attempts = Array.from({ length: 200 }, (_, i) => cast({ requestId: `request-${i}` }));
    const outcomes = await Promise.allSettled(attempts);
    expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    expect(services.router.records(ELECTION)).toHaveLength(1);
  });

  test.each([
    ["an empty voter id", { voterId: "" }, "voter_id"],
    ["a voter id of 257 bytes", { voterId: "v".repeat(257) }, "voter_id"],
    ["a request id that was not UTF-8", { requestId: "r\ufffd" }, "request_id"],
    ["an election id that cannot be one", { electionId: "No such" }, "election_id"],
    ["no choice", { choice: { case: undefined } }, "choice"],
    [
      "a candidate who is not on the ballot",
      { choice: { case: "candidateId", value: "nobody" } },
      "candidate_id",
    ],
    [
      "a sealed choice of no format",
      { choice: { case: "sealedChoice", value: new Uint8Array(63) } },
      "sealed_choice",
    ],
  ] as const)("%s is INVALID_ARGUMENT", async (_name, changes, field) => {
    const error = await refusalOf(cast(changes));
    expect([error.kind, error.fields.map(({ field }) => field)]).toEqual(["invalid-argument", [field]]);
    expect(services.router.batches).toHaveLength(0);
  });

  test("an unknown election is NOT_FOUND", async () => {
    const error = await refusalOf(cast({ electionId: "unknown" }));
    expect([error.kind, error.reason]).toEqual(["not-found", "UNKNOWN_ELECTION"]);
  });

  test.each([
    ["before its opening", { opensAt: (Date.now() + 60_000) * 1_000 }, "NOT_OPEN_YET"],
    ["long after its closing", { opensAt: 0, closesAt: (Date.now() - 61_000) * 1_000 }, "CLOSED"],
  ])("%s it is FAILED_PRECONDITION, and ShardRouter is not asked", async (_name, changes, reason) => {
    const id = electionId("timed");
    services.router.add(testManifest({ electionId: id, ...changes }));
    const error = await refusalOf(cast({ electionId: id }));
    expect([error.kind, error.reason]).toEqual(["failed-precondition", reason]);
    expect(services.router.batches).toHaveLength(0);
  });

  test("a vote that was recorded in time gets its answer after the closing, and no other vote is recorded", async () => {
    const id = electionId("ending");
    services.router.add(testManifest({ electionId: id, closesAt: (Date.now() + 300) * 1_000 }));
    const [byTime, byOperator] = [await cast({ electionId: id }), await cast()];
    await services.router.closeElection({ electionId: ELECTION });
    await delay(310);
    for (const [electionId, answer] of [
      [id, byTime],
      [ELECTION, byOperator],
    ] as const) {
      expect(await cast({ electionId })).toEqual(answer);
      const error = await refusalOf(cast({ electionId, voterId: "late" }));
      expect([error.kind, error.reason]).toEqual(["failed-precondition", "CLOSED"]);
      expect(services.router.records(electionId)).toHaveLength(1);
    }
  });

  test("a shard that is closed already decides, whatever this process still believes", async () => {
    await cast();
    services.router.close(ELECTION);
    const error = await refusalOf(cast({ voterId: "late" }));
    expect([error.kind, error.reason]).toEqual(["failed-precondition", "CLOSED"]);
    expect(services.router.batches).toHaveLength(2);
  });

  test("the caller's deadline bounds the retries", async () => {
    await using slow = new TestVoteService({ attempts: 10, retryDelayMs: 10_000 });
    slow.router.add(testManifest());
    for (let shard = 0; shard < 16; shard++) slow.router.down.add(shard);
    const started = performance.now();
    const error = await refusalOf(slow.caster.cast(vote(), 1_000));
    expect(error.kind).toBe("unavailable");
    expect(performance.now() - started).toBeLessThan(5_000); // Half of one pause between attempts.
  });
});

describe("CastVotes", () => {
  test("every vote is answered under its own id, and half-close waits for all", async () => {
    const answers = await castAll(Array.from({ length: 500 }, (_, id) => numbered(id)));
    expect(answers.size).toBe(500);
    const ids = [...answers.values()].map((outcome) =>
      outcome.case === "vote" ? outcome.value.voteId : undefined,
    );
    expect(new Set(ids).size).toBe(500);
    expect(services.router.records(ELECTION)).toHaveLength(500);
    expect(services.router.batches.length).toBeLessThan(100);
  });

  test("refused votes do not end the stream", async () => {
    const answers = await castAll([
      numbered(1),
      numbered(2, { voterId: "" }),
      numbered(3, { electionId: "unknown" }),
      create(CastVotesRequestSchema, { id: 4n }),
      numbered(5, { choice: { case: "candidateId", value: "nobody" } }),
      numbered(6, { voterId: "voter-1", requestId: "another" }),
      numbered(7),
    ]);
    const outcomes = [...answers]
      .sort(([a], [b]) => a - b)
      .map(([, outcome]) => {
        return outcome.case === "error" ? outcome.value.message : outcome.case;
      });
    expect(outcomes).toEqual([
      "vote",
      "invalid-argument",
      "not-found",
      "invalid-argument",
      "invalid-argument",
      "already-exists",
      "vote",
    ]);
  });

  test("an id used twice is answered twice: ids are the client's affair", async () => {
    const requests = [numbered(1), numbered(1)];
    const seen: unknown[] = [];
    for await (const { id } of service.castVotes(each(requests), contextOf("castVotes"))) seen.push(id);
    expect(seen).toEqual([1n, 1n]);
  });

  test("no more votes are read than may be in flight", async () => {
    let release = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    services.router.onAppend = async (_request, record) => {
      await held;
      return record();
    };
    let read = 0;
    function* counted() {
      for (let id = 0; id < 1_000; id++) {
        read++;
        yield numbered(id);
      }
    }
    const answers = castAll(counted());
    await delay(50);
    expect(read).toBe(100);
    release();
    expect((await answers).size).toBe(1_000);
  });

  test("votes of a client that left are recorded all the same, and its stream ends", async () => {
    async function* leaving() {
      yield* [numbered(1), numbered(2)];
      await delay(20);
      throw new ServiceError("cancelled", "the client cancelled the call");
    }
    const stream = service.castVotes(leaving(), contextOf("castVotes"));
    await expect(
      (async () => {
        for await (const _answer of stream);
      })(),
    ).rejects.toThrow("cancelled");
    await expect.poll(() => services.router.records(ELECTION).length).toBe(2);
  });

  test("nothing is sent again for a vote after its stream's deadline", async () => {
    const late = Promise.withResolvers<void>();
    services.router.onAppend = async () => {
      await late.promise;
      throw new ServiceError("unavailable", "lost");
    };
    const stream = service.castVotes(each([numbered(1)]), contextOf("castVotes", 500));
    await expect(stream[Symbol.asyncIterator]().next()).rejects.toMatchObject({ message: /timed out/ });
    late.resolve();
    await delay(50);
    expect(services.router.batches).toHaveLength(1);
    expect(await services.metrics.render()).toContain('psephos_vote_pending{service="vote-service"} 0');
  });
});

describe("GetVote", () => {
  const get = async (changes: MessageInitShape<typeof GetVoteRequestSchema> = {}) =>
    service.getVote(
      create(GetVoteRequestSchema, { electionId: ELECTION, voteId: 1n, ...changes }),
      contextOf("getVote"),
    );

  test("says where a vote stands, first recorded and then sealed", async () => {
    const { voteId = 0n, recordHash, castAt } = await cast();
    const found = await get({ voteId });
    const [record] = services.router.records(ELECTION);
    expect(found).toEqual({
      vote: { voteId, status: VoteStatus.RECORDED, castAt, recordHash, revision: 1 },
      shard: record?.shard,
      sequence: 1n,
    });
    services.router.sealed = 1n;
    expect((await get({ voteId })).vote).toMatchObject({ status: VoteStatus.SEALED });
  });

  test.each([
    ["a vote that was not cast", { voteId: 12_345n }, "not-found", undefined],
    ["vote 0", { voteId: 0n }, "invalid-argument", "vote_id"],
    ["a vote id above 2^53", { voteId: 2n ** 53n }, "invalid-argument", "vote_id"],
    ["the greatest vote id there can be", { voteId: 2n ** 53n - 1n }, "not-found", undefined],
    ["an unknown election", { electionId: "unknown" }, "not-found", undefined],
    ["an election id that cannot be one", { electionId: "" }, "invalid-argument", "election_id"],
  ])("%s", async (_name, changes, kind, field) => {
    const error = await refusalOf(get(changes));
    expect([error.kind, error.fields[0]?.field]).toEqual([kind, field]);
  });

  test("a shard that is down is UNAVAILABLE", async () => {
    const { voteId = 0n } = await cast();
    for (let shard = 0; shard < 16; shard++) services.router.down.add(shard);
    expect((await refusalOf(get({ voteId }))).kind).toBe("unavailable");
  });
});

test("planted ids are in no log line, metric, error, or message to ShardRouter", async () => {
  const planted = { voterId: "PLANTED-VOTER", requestId: "PLANTED-REQUEST" };
  const errors: unknown[] = [];
  const attempt = (changes: MessageInitShape<typeof CastVoteRequestSchema>) =>
    cast({ ...planted, ...changes }).catch((error: unknown) => errors.push(error));
  services.router.add(
    testManifest({ electionId: electionId("planted"), choices: [{ id: "PLANTED-CHOICE", name: "x" }] }),
  );
  const choice = { case: "candidateId", value: "PLANTED-CHOICE" } as const;
  await attempt({ electionId: "planted", choice });
  await attempt({ electionId: "planted", choice, requestId: "PLANTED-OTHER" });
  await attempt({ choice }); // not on this election's ballot
  await attempt({ electionId: "PLANTED-ELECTION" });
  await attempt({ electionId: "unknown" });
  await attempt({ voterId: "PLANTED".repeat(60) });
  await attempt({ requestId: "PLANTED\ufffd" });
  services.router.onCall = () => {
    throw new ServiceError("unavailable", "shard-router cannot be reached");
  };
  await attempt({ electionId: "planted-elsewhere" });
  services.router.onAppend = () => {
    throw new TypeError("a bug");
  };
  await attempt({ electionId: "planted", choice, requestId: "PLANTED-LAST" });

  expect(errors).toHaveLength(8);
  expect(services.log.length).toBeGreaterThan(0);
  const texts = errors.map((error) => {
    const { message, fields, reason, cause, stack } = error as ServiceError; // what follows holds for any Error
    return JSON.stringify({ message, fields, reason, cause: String(cause), stack });
  });
  const sent = services.router.batches.flatMap(({ votes }) =>
    votes.flatMap(({ voterPseudonym, sealedChoice, requestToken }) =>
      [voterPseudonym, sealedChoice, requestToken].map((bytes) => Buffer.from(bytes).toString("latin1")),
    ),
  );
  const everything = [...texts, ...sent, ...services.log, await services.metrics.render()].join("\n");
  expect(everything.toUpperCase()).not.toContain("PLANTED-");
  expect(everything).not.toContain("PLANTEDPLANTED");
  expect(everything).toContain('psephos_vote_votes_total{outcome="recorded",service="vote-service"} 1');
  expect(everything).toContain('psephos_vote_votes_total{outcome="already_voted",service="vote-service"} 1');
});

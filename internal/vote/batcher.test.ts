import { setTimeout as delay } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  AppendOutcome,
  AppendResponseSchema,
  AppendResultSchema,
} from "../../gen/ts/psephos/shard/v1/shard_pb.js";
import { testManifest } from "../ballot/test-manifest.ts";
import { toHex, utf8 } from "../core/bytes.ts";
import { systemClock } from "../core/clock.ts";
import { ServiceError } from "../core/errors.ts";
import { electionId } from "../core/ids.ts";
import { sha256 } from "../core/sha256.ts";
import { createLogger } from "../telemetry/logger.ts";
import { Metrics } from "../telemetry/metrics.ts";
import { AppendBatcher, type BatcherLimits } from "./batcher.ts";
import { PromiseKey } from "./promise-key.ts";
import { TestShardRouter } from "./test-shard-router.ts";
import { TEST_SECRET, testPromises } from "./test-vote-service.ts";

const ELECTION = electionId("test-1");
const test1 = { id: ELECTION, promises: undefined };
const LIMITS: BatcherLimits = {
  batchVotes: 100,
  callsInFlight: 2,
  pendingVotes: 1_000,
  lingerMs: 1,
  callTimeoutMs: 1_000,
  attempts: 3,
  retryDelayMs: 5,
};

let router: TestShardRouter;
let metrics: Metrics;
let batcher: AppendBatcher;

function start(limits: Partial<BatcherLimits> = {}): AppendBatcher {
  metrics = new Metrics({ service: "test" });
  batcher = new AppendBatcher({
    router,
    limits: { ...LIMITS, ...limits },
    clock: systemClock,
    logger: createLogger({ service: "test", level: "silent" }),
    metrics,
  });
  return batcher;
}

beforeEach(() => {
  router = new TestShardRouter();
  router.add(testManifest());
  start();
});
afterEach(() => batcher[Symbol.asyncDispose]());

const inTime = () => performance.now() + 5_000;

function vote(voter: number | string, request = "1") {
  return {
    voterPseudonym: sha256(utf8(`voter ${voter}`)),
    sealedChoice: new Uint8Array(63).fill(1),
    requestToken: sha256(utf8(`request ${voter} ${request}`)).slice(0, 16),
  };
}

const cast = (voter: number | string, deadline = inTime()) => batcher.append(test1, vote(voter), deadline);
const castMany = (count: number) => Promise.all(Array.from({ length: count }, (_, i) => cast(i)));
const sizes = () => router.batches.map(({ votes }) => votes.length);

async function refusalOf(answer: Promise<unknown>): Promise<ServiceError> {
  const error = await answer.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (error instanceof ServiceError) return error;
  throw new Error("it was not refused with a ServiceError", { cause: error });
}

/** The call arrives, and its answer does not. */
const lost = (kind: "unavailable" | "deadline-exceeded" | "cancelled" = "unavailable") =>
  new ServiceError(kind, "shard-router cannot be reached");

describe("batches", () => {
  test("votes of one turn travel together and each gets its own answer", async () => {
    const answers = await castMany(80);
    expect(sizes()).toEqual([80]);
    expect(new Set(answers.map(({ result }) => result.voteId)).size).toBe(80);
    const records = router.records(ELECTION);
    answers.forEach(({ result: { hash } }, voter) => {
      const record = records.find(
        ({ voterPseudonym }) => Buffer.compare(voterPseudonym, vote(voter).voterPseudonym) === 0,
      );
      expect(record?.hash).toEqual(hash);
    });
  });

  test("none is larger than the limit, and no more calls are in flight than allowed", async () => {
    let calls = 0;
    let most = 0;
    router.onAppend = async (_request, record) => {
      most = Math.max(most, ++calls);
      await delay(5);
      calls--;
      return record();
    };
    await castMany(950);
    expect(Math.max(...sizes())).toBe(100);
    expect(sizes().reduce((sum, size) => sum + size)).toBe(950);
    expect(most).toBe(2);
  });

  test("elections do not wait for each other, and never share a batch", async () => {
    const other = electionId("test-2");
    router.add(testManifest({ electionId: other }));
    router.onAppend = async ({ electionId }, record) => {
      if (electionId === ELECTION) await delay(2_000);
      return record();
    };
    const slow = castMany(300);
    const started = performance.now();
    await batcher.append({ ...test1, id: other }, vote("x"), inTime());
    expect(performance.now() - started).toBeLessThan(1_500);
    await slow;
    expect(
      router.batches.filter(({ electionId }) => electionId === other).map(({ votes }) => votes.length),
    ).toEqual([1]);
  });
});

describe("promises", () => {
  const promises = new PromiseKey(TEST_SECRET).signerFor(testManifest({ promises: testPromises() }));
  const promising = { id: ELECTION, promises };
  const castPromised = (voter: number) => batcher.append(promising, vote(voter), inTime());

  test("each recorded vote gets its own, and no other does", async () => {
    router.onAppend = (_request, record) => {
      const response = record();
      for (const refused of [0, 3]) {
        response.results[refused] = create(AppendResultSchema, { outcome: AppendOutcome.ALREADY_VOTED });
      }
      return response;
    };
    const answers = await Promise.allSettled(Array.from({ length: 6 }, (_, voter) => castPromised(voter)));
    const recorded = answers.flatMap((answer) => (answer.status === "fulfilled" ? [answer.value] : []));
    expect(recorded).toHaveLength(4);
    recorded.forEach(({ result, promise }, index) => {
      expect([promise?.index, promise?.proof.length]).toEqual([BigInt(index), 2]);
      expect(promise && toHex(promise.entry.slice(11))).toBe(toHex(result.hash));
    });
  });

  test("an answer that nothing can be promised of is a failed call", async () => {
    router.onAppend = (_request, record) => {
      const response = record();
      for (const result of response.results) result.hash = new Uint8Array(31);
      return response;
    };
    expect((await refusalOf(castPromised(1))).kind).toBe("internal");
  });
});

describe("what ShardRouter says of one vote", () => {
  test.each([
    [AppendOutcome.ALREADY_VOTED, "already-exists", "ALREADY_VOTED", undefined],
    [AppendOutcome.CLOSED, "failed-precondition", "CLOSED", undefined],
    [AppendOutcome.OVERLOADED, "resource-exhausted", "OVERLOADED", 250],
  ])("outcome %i is %s %s for it, and only for it", async (outcome, kind, reason, retryDelayMs) => {
    router.onAppend = (_request, record) => {
      const response = record();
      response.results[1] = create(AppendResultSchema, { outcome });
      return response;
    };
    const [first, second, third] = [cast(1), cast(2), cast(3)];
    const error = await refusalOf(second);
    expect([error.kind, error.reason, error.retryDelayMs]).toEqual([kind, reason, retryDelayMs]);
    expect((await first).result.outcome).toBe(AppendOutcome.RECORDED);
    expect((await third).result.outcome).toBe(AppendOutcome.RECORDED);
  });

  test("an outcome that is none is a fault", async () => {
    router.onAppend = () => create(AppendResponseSchema, { results: [{}] });
    await expect(cast(1)).rejects.toThrow("outcome 0");
  });

  test("only the votes of shards that are down are sent again, under the same token and with the same bytes", async () => {
    router.down.add(0).add(1).add(2).add(3);
    router.onAppend = (_request, record) => {
      const response = record();
      router.down.clear();
      return response;
    };
    expect(await castMany(60)).toHaveLength(60);
    expect(router.records(ELECTION)).toHaveLength(60);
    const [first, second] = router.batches;
    expect(second?.votes.length).toBeGreaterThan(0);
    expect(second?.votes.length).toBeLessThan(60);
    expect(first?.votes).toEqual(expect.arrayContaining(second?.votes ?? []));
  });

  test("a shard that stays down is UNAVAILABLE with a retry delay after the attempts are used up", async () => {
    for (let shard = 0; shard < 16; shard++) router.down.add(shard);
    const error = await refusalOf(cast(1));
    expect([error.kind, error.reason, error.retryDelayMs]).toEqual([
      "unavailable",
      "SHARD_UNAVAILABLE",
      1_000,
    ]);
    expect(sizes()).toEqual([1, 1, 1]);
  });
});

describe("what becomes of a whole call", () => {
  test.each(["unavailable", "deadline-exceeded", "cancelled"] as const)(
    "an answer lost as %s: the batch is recorded once, and answered",
    async (kind) => {
      let calls = 0;
      router.onAppend = (_request, record) => {
        const response = record();
        if (++calls === 1) throw lost(kind);
        return response;
      };
      const answers = await castMany(50);
      expect(router.records(ELECTION)).toHaveLength(50);
      expect(new Set(answers.map(({ result }) => result.voteId)).size).toBe(50);
      expect(sizes()).toEqual([50, 50]);
    },
  );

  test("a call that never arrived is the same to the caller", async () => {
    let calls = 0;
    router.onAppend = (_request, record) => {
      if (++calls === 1) throw lost();
      return record();
    };
    await castMany(50);
    expect(router.records(ELECTION)).toHaveLength(50);
  });

  test("an outage that lasts ends as UNAVAILABLE, after a bounded number of calls", async () => {
    router.onAppend = () => {
      throw lost();
    };
    const error = await refusalOf(cast(1));
    expect([error.kind, error.retryDelayMs]).toEqual(["unavailable", 1_000]);
    expect(router.batches).toHaveLength(3);
  });

  test("an overloaded ShardRouter is RESOURCE_EXHAUSTED, and is not asked again", async () => {
    router.onAppend = () => {
      throw new ServiceError("resource-exhausted", "too many calls at once", { retryDelayMs: 100 });
    };
    const error = await refusalOf(cast(1));
    expect([error.kind, error.retryDelayMs]).toEqual(["resource-exhausted", 100]);
    expect(router.batches).toHaveLength(1);
  });

  test.each([
    ["permission-denied", () => new ServiceError("permission-denied", "not you")],
    ["internal", () => new ServiceError("internal", "internal error")],
    ["anything else", () => new TypeError("a bug")],
  ])("%s is this service's fault: INTERNAL, without a word", async (_name, failure) => {
    router.onAppend = () => {
      throw failure();
    };
    const error = await refusalOf(cast(1));
    expect([error.kind, error.message]).toEqual(["internal", "internal error"]);
    expect(router.batches).toHaveLength(1);
  });

  test("an answer for another number of votes is not dealt out", async () => {
    router.onAppend = (_request, record) => {
      const response = record();
      response.results.pop();
      return response;
    };
    const errors = await Promise.all([refusalOf(cast(1)), refusalOf(cast(2))]);
    expect(errors.map(({ kind }) => kind)).toEqual(["internal", "internal"]);
  });
});

describe("limits", () => {
  test("votes above the number that may wait are refused at once with a retry delay, and the rest is recorded", async () => {
    start({ pendingVotes: 50 });
    let release = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    router.onAppend = async (_request, record) => {
      await held;
      return record();
    };
    const taken = castMany(50);
    const error = await refusalOf(cast("one more"));
    expect([error.kind, error.reason, error.retryDelayMs]).toEqual(["resource-exhausted", "OVERLOADED", 250]);
    release();
    await taken;
    // What was answered makes room.
    await cast("one more");
    expect(router.records(ELECTION)).toHaveLength(51);
  });

  test("a vote whose deadline passed while it waited is not sent", async () => {
    start({ callsInFlight: 1 });
    const sent = Promise.withResolvers<void>();
    const answered = Promise.withResolvers<void>();
    router.onAppend = async (_request, record) => {
      sent.resolve();
      await answered.promise;
      return record();
    };
    const first = cast(1);
    await sent.promise;
    const late = refusalOf(cast(2, performance.now() + 10));
    setTimeout(answered.resolve, 30);
    const error = await late;
    expect([error.kind, error.message]).toEqual(["deadline-exceeded", "the vote was not recorded in time"]);
    await first;
    expect(sizes()).toEqual([1]);
  });

  test("retries end with the vote's deadline", async () => {
    start({ retryDelayMs: 10_000 });
    router.onAppend = () => {
      throw lost();
    };
    const started = performance.now();
    const error = await refusalOf(cast(1, performance.now() + 1_000));
    expect(error.kind).toBe("unavailable");
    expect(performance.now() - started).toBeLessThan(5_000);
    expect(router.batches).toHaveLength(1);
  });

  test("a call gets no more time than its votes have", async () => {
    const timeouts: (number | undefined)[] = [];
    const asked = new AppendBatcher({
      router: {
        append: (request, options) => {
          timeouts.push(options?.timeoutMs);
          return router.append(request);
        },
      },
      limits: LIMITS,
      clock: systemClock,
      logger: createLogger({ service: "test", level: "silent" }),
      metrics: new Metrics({ service: "test" }),
    });
    await asked.append(test1, vote(1), performance.now() + 300);
    await asked.append(test1, vote(2), performance.now() + 60_000);
    expect(timeouts[0]).toBeLessThanOrEqual(300);
    expect(timeouts[0]).toBeGreaterThan(200);
    expect(timeouts[1]).toBe(1_000);
  });
});

describe("stopping", () => {
  test("what was sent is answered, what was not is UNAVAILABLE, and nothing is taken any more", async () => {
    start({ callsInFlight: 1, batchVotes: 10 });
    const sent = Promise.withResolvers<void>();
    const answered = Promise.withResolvers<void>();
    router.onAppend = async (_request, record) => {
      sent.resolve();
      await answered.promise;
      return record();
    };
    const votes = Array.from({ length: 25 }, (_, i) => cast(i));
    await sent.promise;
    const stopped = batcher[Symbol.asyncDispose]();
    answered.resolve();
    const outcomes = await Promise.allSettled(votes);
    await stopped;
    expect(outcomes.map(({ status }) => status)).toEqual([
      ...Array(10).fill("fulfilled"),
      ...Array(15).fill("rejected"),
    ]);
    expect((await refusalOf(cast("late"))).reason).toBe("STOPPING");
    expect(router.records(ELECTION)).toHaveLength(10);
  });

  test("a vote that waits for a retry does not hold it up", async () => {
    start({ retryDelayMs: 60_000 });
    router.onAppend = () => {
      throw lost();
    };
    const waiting = refusalOf(batcher.append(test1, vote(1), performance.now() + 1e9));
    await delay(20);
    await batcher[Symbol.asyncDispose]();
    expect((await waiting).kind).toBe("unavailable");
  });
});

test("under random faults every vote is recorded at most once and answered truly", async () => {
  start({ batchVotes: 20, callsInFlight: 4, attempts: 4, retryDelayMs: 1 });
  let seed = 1;
  // A generator of its own, so that a failure can be looked at again (Numerical Recipes' LCG).
  const random = () => {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
    return seed / 2 ** 32;
  };
  router.onAppend = async (_request, record) => {
    await delay(random() * 3);
    if (random() < 0.2) throw lost();
    const response = record();
    if (random() < 0.2) throw lost("deadline-exceeded");
    for (let i = 0; i < response.results.length; i++) {
      if (random() < 0.05)
        response.results[i] = create(AppendResultSchema, { outcome: AppendOutcome.UNAVAILABLE });
    }
    return response;
  };
  const voters = Array.from({ length: 900 }, (_, i) => i % 800);
  const outcomes = await Promise.allSettled(voters.map((voter) => cast(voter)));
  const ids = new Map<number, Set<bigint>>();
  outcomes.forEach((outcome, i) => {
    const voter = voters[i] ?? -1;
    if (outcome.status === "fulfilled")
      ids.set(voter, (ids.get(voter) ?? new Set()).add(outcome.value.result.voteId));
    else expect(outcome.reason).toMatchObject({ kind: "unavailable" });
  });
  // The two casts of one voter carry one token, so that their answers are one.
  for (const answers of ids.values()) expect(answers.size).toBe(1);
  const recorded = router.records(ELECTION);
  expect(
    new Set(recorded.map(({ voterPseudonym }) => Buffer.from(voterPseudonym).toString("hex"))).size,
  ).toBe(recorded.length);
  expect(recorded.length).toBeGreaterThanOrEqual(ids.size);
  expect(ids.size).toBeGreaterThan(700);
  expect(await metrics.render()).toContain('psephos_vote_pending{service="test"} 0');
});

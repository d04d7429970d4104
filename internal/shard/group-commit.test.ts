// What needs an instance that behaves badly at a chosen moment. The rest is in router.integration.test.ts.
import { describe, expect, test } from "vitest";
import { testManifest } from "../ballot/test-manifest.ts";
import { systemClock } from "../core/clock.ts";
import { ServiceError } from "../core/errors.ts";
import { createLogger } from "../telemetry/logger.ts";
import { Metrics } from "../telemetry/metrics.ts";
import { Availability } from "./availability.ts";
import type { Run } from "./decide.ts";
import { type GroupCommitLimits, GroupCommitter } from "./group-commit.ts";
import { ShardMetrics } from "./metrics.ts";
import type { Found, Group, Writes } from "./ports.ts";
import { testHeads, testVote } from "./test-votes.ts";

const manifest = testManifest({ shards: 4 });
const logger = createLogger({ service: "test", level: "silent" });

/** An empty instance whose commits end when told to. */
class SlowInstance {
  readonly name = "pg0";
  readonly groups: { group: Group; end: (error?: Error) => void }[] = [];

  async append(group: Group, decide: (found: Found) => Writes): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.groups.push({ group, end: (error) => (error ? reject(error) : resolve()) });
    decide({ heads: testHeads(manifest), votes: [] });
    await promise;
  }

  sizes(): number[] {
    return this.groups.map(({ group }) => group.voters.length);
  }
}

/** Remembers what it was told. */
class TestRelay {
  readonly offered: Run[] = [];
  readonly lost: Run[] = [];
  offer(runs: readonly Run[]): void {
    this.offered.push(...runs);
  }
  missed(run: Run): void {
    this.lost.push(run);
  }
}

async function start(limits: Partial<GroupCommitLimits> = {}) {
  const instance = new SlowInstance();
  const relay = new TestRelay();
  const availability = new Availability({ name: "pg0", probe: async () => {}, clock: systemClock, logger });
  await availability.start();
  const committer = new GroupCommitter({
    instance,
    availability,
    relay,
    onStray: () => {},
    limits: { groupVotes: 10, waitingVotes: 25, ...limits },
    clock: systemClock,
    logger,
    metrics: new ShardMetrics(new Metrics({ service: "test" })),
  });
  const votes = (count: number, prefix: string) =>
    Array.from({ length: count }, (_, index) => testVote(manifest, `${prefix}-${index}`));
  const append = async (count: number, prefix: string, signal?: AbortSignal) => {
    const answers = await committer.append(votes(count, prefix), signal);
    return answers.map(({ outcome }) => outcome);
  };
  const turn = () => new Promise((resolve) => setImmediate(resolve));
  return { instance, relay, committer, availability, append, turn };
}

test("what waits when a commit ends makes up the next groups, whole batches in order", async () => {
  const { instance, append, turn } = await start();
  const batches = [append(1, "a"), append(4, "b"), append(5, "c"), append(3, "d"), append(7, "e")];
  for (const expected of [[1], [1, 9], [1, 9, 10]]) {
    expect(instance.sizes()).toEqual(expected);
    instance.groups.at(-1)?.end();
    await turn();
  }
  expect((await Promise.all(batches)).flat()).toEqual(new Array(20).fill("recorded"));
  // The writer has stopped for want of votes, and starts again.
  const next = append(2, "f");
  instance.groups.at(-1)?.end();
  expect(await next).toEqual(["recorded", "recorded"]);
});

test("a batch larger than a group is a group of its own", async () => {
  const { instance, append, turn } = await start();
  const batches = [append(1, "a"), append(1, "b"), append(20, "c"), append(1, "d")];
  for (let group = 0; group < 4; group++) {
    instance.groups.at(-1)?.end();
    await turn();
  }
  expect(instance.sizes()).toEqual([1, 1, 20, 1]);
  await Promise.all(batches);
});

test("a batch that the queue has no room for is refused as a whole, and the next that fits is not", async () => {
  const { instance, append, turn } = await start();
  const first = append(1, "a");
  const waiting = [append(10, "b"), append(10, "c")];
  expect(await append(6, "d")).toEqual(new Array(6).fill("overloaded"));
  const last = append(5, "e");
  for (let group = 0; group < 4; group++) {
    instance.groups.at(-1)?.end();
    await turn();
  }
  expect((await Promise.all([first, ...waiting, last])).flat()).toEqual(new Array(26).fill("recorded"));
});

test("a batch whose caller has gone is left out", async () => {
  const { instance, append, turn } = await start();
  const gone = new AbortController();
  const batches = [append(1, "a"), append(4, "b", gone.signal), append(4, "c")];
  gone.abort();
  for (let group = 0; group < 2; group++) {
    instance.groups.at(-1)?.end();
    await turn();
  }
  expect(instance.sizes()).toEqual([1, 4]);
  expect((await Promise.all(batches)).map(([outcome]) => outcome)).toEqual([
    "recorded",
    "unavailable",
    "recorded",
  ]);
});

test("stopping answers what was taken and refuses what comes", async () => {
  const { instance, committer, append, turn } = await start();
  const batches = [append(1, "a"), append(1, "b")];
  const stopped = committer[Symbol.asyncDispose]();
  expect(await append(1, "c")).toEqual(["unavailable"]);
  for (let group = 0; group < 2; group++) {
    instance.groups.at(-1)?.end();
    await turn();
  }
  await stopped;
  expect((await Promise.all(batches)).flat()).toEqual(["recorded", "recorded"]);
});

describe("a commit that failed", () => {
  const failures = (kind: "unavailable" | "aborted" | "internal") => new ServiceError(kind, "planted");

  test.each([
    ["unavailable", 2],
    ["aborted", 3],
    ["internal", 1],
  ] as const)(
    "as %s is tried %i times; its votes are unavailable and its records looked for",
    async (kind, tries) => {
      const { instance, relay, append, turn } = await start();
      const batch = append(3, "a");
      for (let attempt = 0; attempt < tries; attempt++) {
        expect(instance.groups).toHaveLength(attempt + 1);
        instance.groups.at(-1)?.end(failures(kind));
        await turn();
      }
      expect(await batch).toEqual(["unavailable", "unavailable", "unavailable"]);
      expect(instance.groups).toHaveLength(tries);
      expect(relay.lost.length).toBeGreaterThan(0);
      expect(relay.offered).toEqual([]);
    },
  );

  test("and then did not is recorded", async () => {
    const { instance, relay, append, turn } = await start();
    const batch = append(1, "a");
    instance.groups.at(-1)?.end(failures("unavailable"));
    await turn();
    instance.groups.at(-1)?.end();
    expect(await batch).toEqual(["recorded"]);
    expect([relay.lost.length, relay.offered.length]).toEqual([1, 1]);
  });

  test("over a constraint is tried again shard by shard", async () => {
    const { instance, append, turn } = await start({ groupVotes: 100 });
    const batch = append(12, "a");
    const refused = () => new ServiceError("failed-precondition", "planted");
    instance.groups.at(-1)?.end(refused());
    await turn();
    for (
      let next = instance.groups[1];
      next !== undefined;
      next = instance.groups[instance.groups.indexOf(next) + 1]
    ) {
      const [key] = next.group.shards;
      next.end(key?.shard === 2 ? refused() : undefined);
      await turn();
    }
    const groups = instance.groups.slice(1).map(({ group }) => group);
    expect(groups.every(({ shards }) => shards.length === 1)).toBe(true);
    const expected = Array.from({ length: 12 }, (_, index) =>
      testVote(manifest, `a-${index}`).shard === 2 ? "unavailable" : "recorded",
    );
    expect(await batch).toEqual(expected);
    expect(new Set(expected).size).toBe(2);
  });
});

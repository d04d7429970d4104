// The relay against a stream and an instance that fail at chosen moments.
import { fromBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { expect, test } from "vitest";
import { RecordBatchSchema } from "../../gen/ts/psephos/shard/v1/shard_pb.js";
import type { VoteRecord } from "../ballot/record.ts";
import { testManifest } from "../ballot/test-manifest.ts";
import type { Clock } from "../core/clock.ts";
import { ServiceError } from "../core/errors.ts";
import { type Sequence, sequence, shardId } from "../core/ids.ts";
import { sha256 } from "../core/sha256.ts";
import { createLogger } from "../telemetry/logger.ts";
import { Metrics } from "../telemetry/metrics.ts";
import { Availability } from "./availability.ts";
import type { Run } from "./decide.ts";
import { ShardMetrics } from "./metrics.ts";
import type { ShardKey, StoredHead } from "./ports.ts";
import { Relay } from "./relay.ts";
import { testHeads } from "./test-votes.ts";

const manifest = testManifest({ shards: 3 });
const logger = createLogger({ service: "test", level: "silent" });
/** Delays are skipped, but other work gets its turn. */
const clock: Clock = {
  nowMicros: () => 0,
  sleep: () => new Promise((resolve) => setImmediate(resolve)),
};

/** Shards that only count. */
class Shards {
  readonly name = "pg0";
  readonly ends = [0, 0, 0];
  readonly sealed = [0, 0, 0];
  away = false;
  /** Does what an append does whose connection is gone. */
  onSettle: (() => void) | undefined;

  commit(shard: number, count: number): Run {
    const first = (this.ends[shard] ?? 0) + 1;
    this.ends[shard] = first + count - 1;
    return this.#run(shard, first, first + count - 1);
  }

  async settle(): Promise<void> {
    await turn();
    if (this.away) throw new ServiceError("unavailable", "away");
    this.onSettle?.();
  }

  async readRecords({ shard }: ShardKey, first: Sequence, last: Sequence): Promise<VoteRecord[]> {
    await turn();
    if (this.away) throw new ServiceError("unavailable", "away");
    return [...this.#run(shard, first, Math.min(last, this.ends[shard] ?? 0)).records];
  }

  async readUnsealedHeads(): Promise<StoredHead[]> {
    await turn();
    if (this.away) throw new ServiceError("unavailable", "away");
    return testHeads(manifest)
      .map((head) => ({
        ...head,
        sequence: sequence(this.ends[head.shard] ?? 0),
        sealedSequence: sequence(this.sealed[head.shard] ?? 0),
      }))
      .filter((head) => head.sealedSequence < head.sequence);
  }

  #run(shard: number, first: number, last: number): Run {
    const records = Array.from({ length: Math.max(0, last - first + 1) }, (_, index) => ({
      shard: shardId(shard),
      sequence: sequence(first + index),
      voterPseudonym: sha256(Uint8Array.of(shard)),
      revision: 1,
      sealedChoice: new Uint8Array(63),
      castAt: 1,
      hash: sha256(Uint8Array.of(index % 256)),
    }));
    return { election: 1, shard: shardId(shard), manifest, records };
  }
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

async function start(shards: Shards, queuedRecords = 50) {
  const published = new Set<string>();
  const stream = { away: false, messages: 0 };
  const availability = new Availability({ name: "pg0", probe: async () => {}, clock, logger });
  await availability.start();
  const relay = new Relay({
    instance: shards,
    availability,
    manifestOf: async () => manifest,
    publisher: {
      async publish(_, body) {
        await turn();
        if (stream.away) throw new ServiceError("unavailable", "away");
        stream.messages++;
        for (const { shard, firstSequence, records } of fromBinary(RecordBatchSchema, body).runs) {
          for (const index of records.keys()) published.add(`${shard}/${Number(firstSequence) + index}`);
        }
      },
    },
    queuedRecords,
    clock,
    logger,
    metrics: new ShardMetrics(new Metrics({ service: "test" })),
  });
  relay.start();
  const settled = async () => {
    let before = -1;
    while (before !== stream.messages) {
      before = stream.messages;
      for (let i = 0; i < 40; i++) await turn();
    }
  };
  return { relay, published, stream, settled };
}

const all = (shards: Shards, from: readonly number[] = [0, 0, 0]) =>
  shards.ends.flatMap((end, shard) => {
    const first = from[shard] ?? 0;
    return Array.from({ length: end - first }, (_, index) => `${shard}/${first + index + 1}`);
  });

test("begins with what is not sealed, page by page, and goes on with what is offered", async () => {
  const shards = new Shards();
  shards.commit(0, 6_000);
  shards.commit(1, 3);
  shards.sealed[0] = 500;
  const { relay, published, settled } = await start(shards);
  relay.offer([shards.commit(1, 2), shards.commit(2, 1)]);
  await settled();
  relay.offer([shards.commit(2, 7)]);
  await settled();
  expect(published).toEqual(new Set(all(shards, [500, 0, 0])));
  await relay[Symbol.asyncDispose]();
});

test("waiting groups travel in one message", async () => {
  const shards = new Shards();
  const { relay, stream, published, settled } = await start(shards);
  await settled();
  for (let group = 0; group < 10; group++) relay.offer([shards.commit(0, 2), shards.commit(1, 1)]);
  await settled();
  expect(published).toEqual(new Set(all(shards)));
  expect(stream.messages).toBe(1);
  await relay[Symbol.asyncDispose]();
});

test("records that may have been committed are read; if they were not, nothing is published", async () => {
  const shards = new Shards();
  const { relay, published, settled } = await start(shards);
  relay.missed(shards.commit(0, 4));
  await settled();
  expect(published).toEqual(new Set(all(shards)));

  const lost = shards.commit(0, 4);
  shards.ends[0] = 4;
  relay.missed(lost);
  await settled();
  relay.offer([shards.commit(0, 3)]);
  await settled();
  expect(published).toEqual(new Set(all(shards)));
  await relay[Symbol.asyncDispose]();
});

test("an append that commits when its connection is gone is waited for", async () => {
  const shards = new Shards();
  const { relay, published, settled } = await start(shards);
  await settled();
  const run = shards.commit(0, 4);
  shards.ends[0] = 0;
  shards.onSettle = () => {
    shards.ends[0] = 4;
  };
  relay.missed(run);
  await settled();
  expect(published).toEqual(new Set(all(shards)));
  expect(published.size).toBe(4);
  await relay[Symbol.asyncDispose]();
});

test("what is sealed meanwhile is not read", async () => {
  const shards = new Shards();
  const { relay, stream, published, settled } = await start(shards);
  await settled();
  stream.away = true;
  relay.offer([shards.commit(0, 10), shards.commit(1, 10)]);
  await settled();
  relay.sealed({ election: 1, shard: shardId(0) }, sequence(8));
  await settled(); // The page at hand was read before.
  stream.away = false;
  await settled();
  expect(published).toEqual(new Set(all(shards, [8, 0, 0])));
  await relay[Symbol.asyncDispose]();
});

test("stopping publishes what waits, unless the stream is away", async () => {
  const shards = new Shards();
  const { relay, published, settled } = await start(shards);
  await settled();
  relay.offer([shards.commit(0, 10)]);
  await relay[Symbol.asyncDispose]();
  expect(published).toEqual(new Set(all(shards)));

  const other = await start(shards);
  await other.settled();
  other.stream.away = true;
  other.relay.offer([shards.commit(0, 10)]);
  await other.relay[Symbol.asyncDispose]();
});

test("whatever fails and whenever, in the end everything is published", async () => {
  const step = fc.oneof(
    fc.record({
      type: fc.constant("commit" as const),
      shard: fc.nat(2),
      count: fc.integer({ min: 1, max: 30 }),
    }),
    fc.record({
      type: fc.constant("unknown" as const),
      shard: fc.nat(2),
      count: fc.integer({ min: 1, max: 30 }),
    }),
    fc.record({ type: fc.constantFrom("stream" as const, "instance" as const), away: fc.boolean() }),
    fc.record({ type: fc.constant("turns" as const), count: fc.nat(8) }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const shards = new Shards();
      const { relay, published, stream, settled } = await start(shards);
      for (const step of steps) {
        if (step.type === "commit") relay.offer([shards.commit(step.shard, step.count)]);
        else if (step.type === "unknown") relay.missed(shards.commit(step.shard, step.count));
        else if (step.type === "turns") for (let i = 0; i < step.count; i++) await turn();
        else if (step.type === "stream") stream.away = step.away;
        else shards.away = step.away;
      }
      stream.away = false;
      shards.away = false;
      await settled();
      expect(published).toEqual(new Set(all(shards)));
      await relay[Symbol.asyncDispose]();
    }),
    { numRuns: 60 },
  );
});

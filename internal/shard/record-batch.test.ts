import { fromBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { expect, test } from "vitest";
import { RecordBatchSchema } from "../../gen/ts/psephos/shard/v1/shard_pb.js";
import { testManifest } from "../ballot/test-manifest.ts";
import { electionId, sequence, shardId } from "../core/ids.ts";
import { sha256 } from "../core/sha256.ts";
import type { Run } from "./decide.ts";
import { MAX_BATCH_RECORDS, nextBatch } from "./record-batch.ts";

const manifests = ["e-1", "e-2"].map((id) => testManifest({ electionId: electionId(id) }));

function run(shard: number, first: number, count: number, election = 1): Run {
  const manifest = manifests[election - 1];
  if (manifest === undefined) throw new RangeError("no such election");
  const records = Array.from({ length: count }, (_, index) => ({
    shard: shardId(shard),
    sequence: sequence(first + index),
    voterPseudonym: sha256(Uint8Array.of(shard)),
    revision: 1,
    sealedChoice: new Uint8Array(63),
    castAt: Date.now() * 1_000,
    hash: sha256(Uint8Array.of(index % 256)),
  }));
  return { election, shard: shardId(shard), manifest, records };
}

const runsOf = (body: Uint8Array) =>
  fromBinary(RecordBatchSchema, body).runs.map(({ shard, firstSequence, records }) => [
    shard,
    Number(firstSequence),
    records.length,
  ]);

test("runs that follow each other are one, in order of shard", () => {
  const batch = nextBatch([run(3, 1, 2), run(0, 5, 1), run(3, 3, 1)]);
  expect(batch).toMatchObject({ electionId: "e-1", records: 4, runs: 3 });
  expect(runsOf(batch?.body ?? new Uint8Array())).toEqual([
    [0, 5, 1],
    [3, 1, 3],
  ]);
});

test("a gap, another election or too many records begin the next batch", () => {
  expect(nextBatch([run(3, 1, 2), run(3, 4, 1)])?.runs).toBe(1);
  expect(nextBatch([run(3, 1, 2), run(3, 3, 1, 2)])?.runs).toBe(1);
  expect(nextBatch([run(3, 1, MAX_BATCH_RECORDS), run(4, 1, 1)])?.runs).toBe(1);
  expect(nextBatch([])).toBeUndefined();
});

test("the largest batch is well below what a NATS server takes", () => {
  const each = MAX_BATCH_RECORDS / 250;
  const queue = Array.from({ length: 250 }, (_, shard) => run(shard, 2 ** 50, each));
  const batch = nextBatch(queue);
  expect(batch?.records).toBe(MAX_BATCH_RECORDS);
  expect(batch?.body.length).toBeLessThan(512 * 1024);
});

test("batch by batch, everything in a queue is published once and in order", () => {
  const runs = fc.array(
    fc.record({
      shard: fc.nat(2),
      gap: fc.boolean(),
      count: fc.integer({ min: 1, max: 900 }),
      election: fc.constantFrom(1, 2),
    }),
    { maxLength: 20 },
  );
  fc.assert(
    fc.property(runs, (spec) => {
      const next = new Map<string, number>();
      const queue = spec.map(({ shard, gap, count, election }) => {
        const key = `${election}/${shard}`;
        const first = (next.get(key) ?? 1) + (gap ? 1 : 0);
        next.set(key, first + count);
        return run(shard, first, count, election);
      });
      const expected = queue.flatMap(({ election, shard, records }) =>
        records.map((record) => `${election}/${shard}/${record.sequence}`),
      );
      const published: string[] = [];
      for (let batch = nextBatch(queue); batch !== undefined; batch = nextBatch(queue)) {
        const { electionId, runs } = fromBinary(RecordBatchSchema, batch.body);
        const shards = runs.map(({ shard }) => shard);
        expect(shards).toEqual([...new Set(shards)].sort((a, b) => a - b));
        for (const { shard, firstSequence, records } of runs) {
          published.push(
            ...records.map((_, index) => `${electionId.slice(2)}/${shard}/${Number(firstSequence) + index}`),
          );
        }
        queue.splice(0, batch.runs);
      }
      expect([...published].sort()).toEqual([...expected].sort());
    }),
    { numRuns: 30 },
  );
});

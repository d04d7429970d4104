import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ChainError, genesisHeads } from "../ballot/chain.ts";
import type { VoteRecord } from "../ballot/record.ts";
import { shardId } from "../core/ids.ts";
import { TestShards, testElection } from "./audit-fixture.ts";
import { RecordBuffer } from "./record-buffer.ts";

const election = testElection({ shards: 2 });

function setUp(options: { votes: number; capacity?: number }) {
  const shards = new TestShards(election);
  shards.cast(options.votes);
  const heads = genesisHeads(election.manifestHash, election.manifest.shards);
  return {
    chain: shards.records[0] ?? [],
    shards,
    buffer: new RecordBuffer({ heads, capacity: options.capacity ?? 1_000 }),
  };
}

describe("a record buffer", () => {
  test("hands out what came in any order, repeated and overlapping, once and in order", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(), fc.integer({ min: 1, max: 9 })), { maxLength: 60 }),
        (pieces) => {
          const { chain, buffer } = setUp({ votes: 40 });
          for (const [at, length] of pieces) {
            const start = at % chain.length;
            buffer.offer(chain.slice(start, start + length));
          }
          const seen = new Set(
            pieces.flatMap(([at, length]) => chain.slice(at % chain.length, (at % chain.length) + length)),
          );
          const contiguous = chain.findIndex((record) => !seen.has(record));
          expect(buffer.take(1_000)).toEqual(chain.slice(0, contiguous < 0 ? chain.length : contiguous));
          buffer.offer(chain);
          expect(buffer.tail(shardId(0))).toBe(chain.length);
        },
      ),
      { numRuns: 60 },
    );
  });

  test("refuses a record that was changed, and is none the worse", () => {
    const { chain, buffer } = setUp({ votes: 40 });
    const changed = chain.map(
      (record, i): VoteRecord => (i === 3 ? { ...record, castAt: record.castAt + 1 } : record),
    );
    expect(() => buffer.offer(changed)).toThrow(ChainError);
    expect(buffer.size).toBe(0);
    expect(buffer.offer(chain)).toBe("accepted");
    expect(buffer.take(1_000)).toEqual(chain);
  });

  test("refuses a second, valid history of a place it has verified", () => {
    const { chain, buffer } = setUp({ votes: 40 });
    const other = setUp({ votes: 40 }).chain;
    buffer.offer(chain.slice(0, 5));
    expect(() => buffer.offer(other.slice(0, 3))).toThrow(/another record/);
    buffer.take(1_000);
    expect(() => buffer.offer(other.slice(0, 5))).toThrow(/another record/);
  });

  test("forgets a waiting run that turns out not to verify", () => {
    const { chain, buffer } = setUp({ votes: 40 });
    const forged = chain.slice(4, 8).map((record) => ({ ...record, revision: 7 }));
    expect(buffer.offer(forged)).toBe("waiting");
    expect(buffer.offer(chain.slice(0, 4))).toBe("accepted");
    expect(buffer.tail(shardId(0))).toBe(4);
    expect(buffer.room).toBe(1_000 - 4);
    expect(buffer.offer(chain.slice(4))).toBe("accepted");
  });

  test("takes no more than its capacity, waiting records included", () => {
    const { chain, buffer } = setUp({ votes: 60, capacity: 10 });
    expect(buffer.offer(chain.slice(5, 11))).toBe("waiting");
    expect(buffer.offer(chain.slice(0, 5))).toBe("full");
    expect(buffer.offer(chain.slice(0, 4))).toBe("accepted");
    expect(buffer.room).toBe(0);
  });

  test("refuses a shard the election does not have", () => {
    const { chain, buffer } = setUp({ votes: 4 });
    const foreign = chain.map((record) => ({ ...record, shard: shardId(7) }));
    expect(() => buffer.offer(foreign)).toThrow(/2 shards/);
  });

  test("takes from each shard in turn when there is more than fits", () => {
    const { shards, buffer } = setUp({ votes: 200 });
    for (const run of shards.records) buffer.offer(run);
    const first = buffer.take(10);
    const second = buffer.take(10);
    expect(new Set(first.map(({ shard }) => shard))).toEqual(new Set([0]));
    expect(new Set(second.map(({ shard }) => shard))).toEqual(new Set([1]));
  });
});

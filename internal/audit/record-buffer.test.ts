import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ChainError, genesisHeads } from "../ballot/chain.ts";
import type { VoteRecord } from "../ballot/record.ts";
import { shardId } from "../core/ids.ts";
import { TestShards, testElection } from "./audit-fixture.ts";
import { RecordBuffer } from "./record-buffer.ts";

const election = testElection({ shards: 2 });

/** Has the shards confirm everything, and takes it. */
function takeAll(buffer: RecordBuffer, { records }: TestShards, limit = 1_000): VoteRecord[] {
  for (const chain of records) {
    for (const record of chain.filter(({ shard, sequence }) => sequence <= buffer.tail(shard)).slice(-1)) {
      buffer.confirm(record.shard, record);
    }
  }
  return buffer.take(limit);
}

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
          const { chain, shards, buffer } = setUp({ votes: 40 });
          for (const [at, length] of pieces) {
            const start = at % chain.length;
            buffer.offer(chain.slice(start, start + length));
          }
          const seen = new Set(
            pieces.flatMap(([at, length]) => chain.slice(at % chain.length, (at % chain.length) + length)),
          );
          const contiguous = chain.findIndex((record) => !seen.has(record));
          expect(takeAll(buffer, shards)).toEqual(chain.slice(0, contiguous < 0 ? chain.length : contiguous));
          buffer.offer(chain);
          expect(buffer.tail(shardId(0))).toBe(chain.length);
        },
      ),
      { numRuns: 60 },
    );
  });

  test("refuses a record that was changed, and is none the worse", () => {
    const { chain, shards, buffer } = setUp({ votes: 40 });
    const changed = chain.map(
      (record, i): VoteRecord => (i === 3 ? { ...record, castAt: record.castAt + 1 } : record),
    );
    expect(() => buffer.offer(changed)).toThrow(ChainError);
    expect(buffer.size).toBe(0);
    expect(buffer.offer(chain)).toBe("accepted");
    expect(takeAll(buffer, shards)).toEqual(chain);
  });

  test("refuses a second, valid history of a place that the shard has confirmed", () => {
    const { chain, shards, buffer } = setUp({ votes: 40 });
    const other = setUp({ votes: 40 }).chain;
    const fifth = chain[4];
    if (!fifth) throw new Error("too few votes");
    buffer.offer(chain.slice(0, 8));
    buffer.confirm(shardId(0), fifth);
    expect(() => buffer.offer(other.slice(0, 3))).toThrow(/another record/);
    // Of which the first part is one history and the second, not confirmed yet, another.
    const spliced = [...other.slice(0, 5), ...chain.slice(5, 8), ...other.slice(8, 9)];
    expect(() => buffer.offer(spliced)).toThrow(/another record/);
    takeAll(buffer, shards);
    expect(() => buffer.offer(other.slice(0, 8))).toThrow(/another record/);
  });

  describe("does not judge between what the stream says and what the stream has said", () => {
    const forged = setUp({ votes: 60 }).chain;

    test.each([
      ["in its place", 0, 8],
      ["in a part of it", 0, 3],
      ["after it", 6, 10],
      ["one record after it", 6, 7],
    ])("a run %s waits for the shard's word", (_, from, to) => {
      const { chain, shards, buffer } = setUp({ votes: 60 });
      buffer.offer(forged.slice(0, 6));
      expect(buffer.offer(chain.slice(from, to))).toBe("disputed");
      expect(buffer.size).toBe(6);
      const sixth = chain[5];
      if (!sixth) throw new Error("too few votes");
      expect(buffer.confirm(shardId(0), sixth)).toBe(false);
      buffer.offer(chain.slice(from, to));
      buffer.offer(chain);
      buffer.confirm(shardId(0), sixth);
      expect(() => buffer.offer(forged.slice(0, 6))).toThrow(/another record/);
      expect(takeAll(buffer, shards)).toEqual(chain);
    });

    test("whichever came first", () => {
      const { chain, buffer } = setUp({ votes: 60 });
      const [sixth] = chain.slice(5);
      if (!sixth) throw new Error("too few votes");
      buffer.offer(chain.slice(0, 6));
      expect(buffer.offer(forged.slice(0, 8))).toBe("disputed");
      expect(buffer.confirm(shardId(0), sixth)).toBe(true);
      expect(() => buffer.offer(forged.slice(0, 8))).toThrow(/another record/);
    });

    test("but refuses what does not verify either way", () => {
      const { chain, buffer } = setUp({ votes: 60 });
      buffer.offer(forged.slice(0, 6));
      const changed = chain.map((record, i) => (i === 7 ? { ...record, revision: 9 } : record));
      for (const from of [0, 3, 6]) expect(() => buffer.offer(changed.slice(from, 9))).toThrow(ChainError);
    });
  });

  test("forgets a waiting run that turns out not to verify", () => {
    const { chain, buffer } = setUp({ votes: 40 });
    const forged = chain.slice(4, 8).map((record) => ({ ...record, revision: 7 }));
    expect(buffer.offer(forged)).toBe("waiting");
    expect(buffer.offer(chain.slice(0, 4))).toBe("contradicted");
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

  test("lets runs that wait behind a gap give way to what the shard has for it", () => {
    const { chain, buffer } = setUp({ votes: 60, capacity: 10 });
    expect(buffer.offer(chain.slice(5, 15))).toBe("waiting");
    expect(buffer.room).toBe(0);
    expect(buffer.roomFromShards).toBe(10);
    expect(buffer.offerFromShard(chain.slice(0, 8))).toBe("accepted");
    expect(buffer.take(1_000)).toEqual(chain.slice(0, 8));
  });

  test("refuses a shard the election does not have", () => {
    const { chain, buffer } = setUp({ votes: 40 });
    const foreign = chain.map((record) => ({ ...record, shard: shardId(7) }));
    expect(() => buffer.offer(foreign)).toThrow(/2 shards/);
  });

  test("takes from each shard in turn when there is more than fits", () => {
    const { shards, buffer } = setUp({ votes: 200 });
    for (const run of shards.records) buffer.offer(run);
    const first = takeAll(buffer, shards, 10);
    const second = takeAll(buffer, shards, 10);
    expect(new Set(first.map(({ shard }) => shard))).toEqual(new Set([0]));
    expect(new Set(second.map(({ shard }) => shard))).toEqual(new Set([1]));
  });

  describe("hands out only what the shard has confirmed", () => {
    test("up to the head it answered, at once or when the records come", () => {
      const { chain, buffer } = setUp({ votes: 60 });
      const [fifth, tenth] = [chain[4], chain[9]];
      if (!fifth || !tenth) throw new Error("too few votes");
      buffer.offer(chain.slice(0, 7));
      expect(buffer.take(1_000)).toEqual([]);
      buffer.confirm(shardId(0), fifth);
      expect(buffer.take(1_000)).toEqual(chain.slice(0, 5));
      buffer.confirm(shardId(0), tenth);
      expect(buffer.behind).toBe(true);
      expect(buffer.take(1_000)).toEqual([]);
      buffer.offer(chain.slice(7, 12));
      expect(buffer.behind).toBe(false);
      expect(buffer.take(1_000)).toEqual(chain.slice(5, 10));
      expect(buffer.size).toBe(2);
    });

    test("and nothing of a well-formed chain that is not the shard's own", () => {
      const { chain, shards, buffer } = setUp({ votes: 60 });
      const forged = setUp({ votes: 60 }).chain;
      buffer.offer(forged.slice(0, 8));
      const head = chain[7];
      if (!head) throw new Error("too few votes");
      expect(buffer.confirm(shardId(0), head)).toBe(false);
      expect(buffer.size).toBe(0);
      expect(buffer.offer(chain)).toBe("accepted");
      expect(takeAll(buffer, shards)).toEqual(chain);
    });

    test("or what was read from the shard, by which what came before is confirmed", () => {
      const { chain, buffer } = setUp({ votes: 60 });
      buffer.offer(chain.slice(0, 6));
      expect(buffer.offerFromShard(chain.slice(6, 9))).toBe("accepted");
      expect(buffer.take(1_000)).toEqual(chain.slice(0, 9));
    });

    test("where the shard's word stands against the stream's", () => {
      const { chain, buffer } = setUp({ votes: 60 });
      const forged = setUp({ votes: 60 }).chain;
      buffer.offer(forged.slice(0, 4));
      expect(buffer.offerFromShard(chain.slice(4, 8))).toBe("contradicted");
      expect(buffer.tail(shardId(0))).toBe(0);
      expect(buffer.offerFromShard(chain.slice(0, 8))).toBe("accepted");
      expect(buffer.take(1_000)).toEqual(chain.slice(0, 8));
    });

    test("and a shard that contradicts itself is an error", () => {
      const { chain, buffer } = setUp({ votes: 60 });
      const other = setUp({ votes: 60 }).chain;
      buffer.offerFromShard(chain.slice(0, 4));
      expect(() => buffer.offerFromShard(other.slice(4, 8))).toThrow(ChainError);
    });
  });
});

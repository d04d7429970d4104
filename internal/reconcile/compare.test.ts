import fc from "fast-check";
import { expect, test } from "vitest";
import type { VoteRecord } from "../ballot/record.ts";
import { ServiceError } from "../core/errors.ts";
import { sequence, shardId } from "../core/ids.ts";
import { sha256 } from "../core/sha256.ts";
import { compareShard } from "./compare-shard.ts";
import { StreamComparison } from "./compare-stream.ts";
import { Differences } from "./difference.ts";
import { type ReadChain, readRows } from "./shard-rows.ts";

const SHARD = shardId(2);

function recordOf(number: number): VoteRecord {
  const bytes = sha256(Uint8Array.of(number >> 8, number & 0xff));
  return {
    shard: SHARD,
    sequence: sequence(number),
    voterPseudonym: bytes,
    revision: 1,
    sealedChoice: bytes,
    castAt: number,
    hash: bytes,
  };
}

const records = (count: number) => Array.from({ length: count }, (_, i) => recordOf(i + 1));
const sealedOf = (all: readonly VoteRecord[]) => all.map((record) => ({ record, index: record.sequence }));

/** A shard's table with rows in order of sequence, read as ShardRouter reads it. */
function table(rows: readonly VoteRecord[], head: number) {
  const asked = { calls: 0 };
  const readChain: ReadChain = async function* (_shard, first, limit) {
    asked.calls++;
    const end = Math.min(head, limit === 0 ? head : first + limit - 1);
    const page = rows.filter((row) => row.sequence >= first && row.sequence <= end);
    for (let i = 0; i <= end - first; i++) {
      if (page[i]?.sequence !== first + i) throw new ServiceError("data-loss", "a record is missing");
    }
    if (page.length > 0) yield page;
  };
  return { readChain, asked };
}

test("whatever rows are missing or there twice, all others are found, each under its sequence", async () => {
  const all = records(60);
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(fc.integer({ min: 1, max: 60 }), { maxLength: 12 }),
      fc.uniqueArray(fc.integer({ min: 1, max: 60 }), { maxLength: 4 }),
      async (gone, twice) => {
        const copies = (row: VoteRecord) =>
          gone.includes(row.sequence) ? [] : twice.includes(row.sequence) ? [row, row] : [row];
        const { readChain } = table(all.flatMap(copies), 60);
        const { rows, holed } = await readRows(readChain, SHARD, sequence(1), sequence(60));
        expect(holed).toEqual([]);
        for (const record of all) expect(rows.get(record.sequence) ?? []).toEqual(copies(record));
      },
    ),
  );
});

test("one hole in many rows costs few calls, and a table that is gone a bounded number", async () => {
  const all = records(5_000);
  const one = table(
    all.filter((row) => row.sequence !== 1_234),
    5_000,
  );
  const found = await readRows(one.readChain, SHARD, sequence(1), sequence(5_000));
  expect(found.rows.size).toBe(4_999);
  expect(one.asked.calls).toBeLessThan(30);

  const none = table([], 5_000);
  const { rows, holed } = await readRows(none.readChain, SHARD, sequence(1), sequence(5_000));
  expect(rows.size).toBe(0);
  expect(none.asked.calls).toBeLessThan(1_100);
  const differences = new Differences();
  await compareShard(none.readChain, 1, sealedOf(all), differences);
  expect(differences.list.every(({ kind }) => kind === "missing")).toBe(true);
  expect(differences.list.length).toBeLessThan(20);
  expect(holed.at(-1)?.last).toBe(5_000);
});

test("a call that fails for another reason is no difference", async () => {
  const readChain: ReadChain = () => {
    throw new ServiceError("unavailable", "no answer");
  };
  await expect(compareShard(readChain, 1, sealedOf(records(3)), new Differences())).rejects.toThrow(
    "no answer",
  );
});

test("the stream is compared as far as it goes, in whatever pieces it comes", async () => {
  const all = records(40);
  const forged = { ...recordOf(21), revision: 2 };
  async function* messages() {
    // The oldest are gone; the last is not sealed yet, and one comes again when its block is over.
    yield [all.slice(9, 15)];
    yield [all.slice(15, 20), []];
    yield [[forged, ...all.slice(21, 30)]];
    yield [all.slice(9, 12)];
    yield [[...all.slice(30), recordOf(41)]];
  }
  const differences = new Differences();
  const stream = new StreamComparison({ runs: messages(), differences });
  await stream.compare(SHARD, 1, sealedOf(all.slice(0, 30)));
  await stream.compare(SHARD, 2, sealedOf(all.slice(30)));
  await stream.finish({ closed: false });
  const problem = "the stream has another revision than the one sealed";
  expect(differences.list).toEqual([
    { kind: "stream", shard: SHARD, sequence: 21, index: 21, checkpoint: 1, problem },
  ]);
  expect(stream.late).toBe(3);
  expect(differences.compared.streamRecords).toBe(35);
});

test("of a closed log the stream has nothing that is not sealed", async () => {
  async function* messages() {
    yield [[recordOf(1), recordOf(2)]];
  }
  const differences = new Differences();
  const stream = new StreamComparison({ runs: messages(), differences });
  await stream.compare(SHARD, 1, sealedOf(records(1)));
  await stream.finish({ closed: true });
  expect(differences.list).toMatchObject([{ kind: "stream", sequence: 2 }]);
});

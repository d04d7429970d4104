import { beforeAll, expect, test } from "vitest";
import type { VoteRecord } from "../ballot/record.ts";
import { ServiceError } from "../core/errors.ts";
import { type ShardId, sequence, shardId } from "../core/ids.ts";
import { asHash } from "../core/sha256.ts";
import { VerificationReport } from "./report.ts";
import { flip, TestLog } from "./test-log.ts";
import { verifyShards } from "./verify-shards.ts";

let log: TestLog;

beforeAll(async () => {
  log = await TestLog.create({ commits: [60] });
});

async function verify(
  change: (records: readonly VoteRecord[], shard: ShardId) => readonly VoteRecord[] | Error,
  { closed = true, page = 5 } = {},
) {
  const report = new VerificationReport();
  const { evidence } = await log.verify({ public: false });
  await verifyShards({
    async *readChain(shard) {
      const records = change(log.records[shard] ?? [], shard);
      if (records instanceof Error) throw records;
      for (let i = 0; i < records.length; i += page) yield records.slice(i, i + page);
    },
    shards: log.manifest.shards,
    manifestHash: log.manifestHash,
    sealedHeads: evidence?.shardHeads,
    closed,
    report,
  });
  return report;
}

/** Changes one shard alone. */
const inShard =
  (changed: number, change: (records: readonly VoteRecord[]) => readonly VoteRecord[] | Error) =>
  (records: readonly VoteRecord[], shard: ShardId) =>
    shard === changed ? change(records) : records;

const at = (n: number) => ({ shard: shardId(2), sequence: sequence(n) });

test("the records that are sealed verify", async () => {
  const report = await verify((records) => records);
  expect(report).toMatchObject({ problems: [], notChecked: [], checked: { rows: 60 } });
});

test.each<[string, (record: VoteRecord) => VoteRecord]>([
  ["choice", (record) => ({ ...record, sealedChoice: flip(30)(new Uint8Array(record.sealedChoice)) })],
  ["pseudonym", (record) => ({ ...record, voterPseudonym: flip(31)(new Uint8Array(record.voterPseudonym)) })],
  ["time", (record) => ({ ...record, castAt: record.castAt + 1 })],
  ["revision", (record) => ({ ...record, revision: 2 })],
  ["hash", (record) => ({ ...record, hash: asHash(flip(0)(new Uint8Array(record.hash))) })],
])("a record whose %s is changed is named, and the other shards are checked", async (_, change) => {
  const report = await verify(
    inShard(2, (records) => records.map((record) => (record.sequence === 7 ? change(record) : record))),
  );
  expect(report.problems).toEqual([{ ...at(7), problem: expect.stringContaining("in the database") }]);
  expect(report.notChecked).toEqual(["the database's records of shard 2 after sequence 6"]);
  expect(report.checked.rows).toBe(60 - (log.records[2]?.length ?? 0) + 6);
});

test("a missing, a repeated and a swapped record are named", async () => {
  const missing = await verify(inShard(2, (records) => records.filter(({ sequence }) => sequence !== 7)));
  expect(missing.problems).toMatchObject([at(8)]);
  const repeated = await verify(
    inShard(2, (records) => records.flatMap((record) => (record.sequence === 7 ? [record, record] : record))),
  );
  expect(repeated.problems).toMatchObject([at(7)]);
  const other = await verify(inShard(2, () => log.records[1] ?? []));
  expect(other.problems).toMatchObject([at(1)]);
});

test("a database that ends before what is sealed", async () => {
  const length = log.records[2]?.length ?? 0;
  const short = await verify(inShard(2, (records) => records.slice(0, -1)));
  expect(short.problems).toEqual([
    { ...at(length), problem: `sealed, and the database ends at sequence ${length - 1}` },
  ]);
});

test("another chain, rightly made from the start, is not the one sealed", async () => {
  const fork = await TestLog.create({ commits: [200] });
  const length = log.records[2]?.length ?? 0;
  const report = await verify(inShard(2, () => fork.records[2]?.slice(0, length) ?? []));
  expect(report.problems).toEqual([
    { ...at(length), problem: "the database has another record than the one sealed" },
  ]);
  const more = await verify(inShard(2, () => fork.records[2] ?? []));
  expect(more.problems).toMatchObject([
    at(length),
    { shard: 2, problem: expect.stringContaining("closed log") },
  ]);
  const open = await verify(
    inShard(2, () => fork.records[2] ?? []),
    { closed: false },
  );
  expect(open.problems).toMatchObject([at(length)]);
});

test("what ShardRouter itself finds wrong is a problem; that it cannot be asked is not", async () => {
  const lost = new ServiceError("data-loss", "shard 2: record 9 is missing");
  const report = await verify(inShard(2, () => lost));
  expect(report.problems).toMatchObject([
    { shard: 2, problem: "shard 2: record 9 is missing, in the database" },
  ]);
  for (const kind of ["unavailable", "permission-denied", "not-found"] as const) {
    const error = new ServiceError(kind, "no");
    await expect(verify(inShard(2, () => error))).rejects.toBe(error);
  }
});

import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { toHex } from "../core/bytes.ts";
import { voteIdOf } from "../core/ids.ts";
import { sha256 } from "../core/sha256.ts";
import { checkpointKey } from "../evidence/layout.ts";
import { encodeVoteCheckpoint, parseVoteCheckpoint } from "../evidence/vote-checkpoint.ts";
import { VerificationReport } from "../verify/report.ts";
import { TestLog } from "../verify/test-log.ts";
import { verifyEvidence } from "../verify/verify-evidence.ts";
import type { Cell } from "./cell.ts";
import { type Cut, EvidenceDatabase } from "./evidence-database.ts";
import type { QuerySession } from "./query-session.ts";
import { SqlError } from "./sql-error.ts";

const EVERYTHING: Cut = { size: Number.POSITIVE_INFINITY, asOf: undefined };

let log: TestLog;
let folder: string;

beforeAll(async () => {
  log = await TestLog.create({ commits: [20, 30] });
  folder = await mkdtemp(join(tmpdir(), "psephos-query-test-"));
});

afterAll(() => rm(folder, { recursive: true, force: true }));

/** A database with what of a log the cut leaves, as `psephos query` fills it. */
async function load(cut: Cut = EVERYTHING, of: TestLog = log) {
  const path = await mkdtemp(join(folder, "db-"));
  const database = await EvidenceDatabase.create({
    folder: path,
    memory: "200MB",
  });
  const report = new VerificationReport();
  await verifyEvidence({
    store: {
      get: (key, version) => of.evidence.read(key, version),
      list: (prefix) => of.evidence.list(prefix),
    },
    electionId: of.electionId,
    report,
    sink: {
      segment: (key, segment) => database.addSegment(key, segment, cut),
      checkpoint: (checkpoint) => database.addCheckpoint(checkpoint, cut),
    },
  });
  return { database, report, path };
}

async function rowsOf(session: QuerySession, sql: string): Promise<Record<string, Cell>[]> {
  const { columns, pages } = await session.query(sql);
  const rows = [];
  for await (const page of pages) {
    for (const row of page) {
      rows.push(Object.fromEntries(columns.map((name, column) => [name, row[column] ?? null])));
    }
  }
  return rows;
}

async function ask(sql: string, cut?: Cut): Promise<Record<string, Cell>[]> {
  const { database } = await load(cut);
  await using session = await database.finish();
  return await rowsOf(session, sql);
}

describe("the views", () => {
  test("have every record of the log as it is", async () => {
    const records = log.records.flat();
    const rows = await ask("SELECT * FROM votes ORDER BY shard, sequence");
    expect(rows).toHaveLength(records.length);
    for (const [position, row] of rows.entries()) {
      const record = records[position];
      if (!record) throw new RangeError("there are more rows than records");
      const index = Number(row.log_index);
      expect(toHex(log.recordAt(index).hash)).toBe(toHex(record.hash));
      expect(row).toEqual({
        log_index: index,
        vote_id: voteIdOf(record.shard, record.sequence, log.manifest.shards),
        shard: record.shard,
        sequence: record.sequence,
        voter: toHex(record.voterPseudonym),
        revision: 1,
        choice: toHex(record.sealedChoice),
        cast_at: `${new Date(record.castAt / 1000).toISOString().slice(0, -1)}000Z`,
        hash: toHex(record.hash),
        segment: log.segmentOf(index),
      });
    }
  });

  test("have the vote checkpoints", async () => {
    const rows = await ask("SELECT number, first_index, tree_size, segments, note FROM checkpoints");
    expect(rows).toEqual([
      {
        number: 1,
        first_index: 0,
        tree_size: 52,
        segments: 4,
        note: expect.stringContaining("psephos.test/test"),
      },
    ]);
    expect(await ask("SELECT count(*) AS n FROM events")).toEqual([{ n: 0 }]);
  });

  test("leave out a vote checkpoint that does not verify", async () => {
    for (const change of [{ treeRoot: sha256(new Uint8Array()) }, { lastVote: null }, { note: "none" }]) {
      const copy = log.clone();
      const key = checkpointKey(copy.electionId, 1);
      const checkpoint = parseVoteCheckpoint(copy.evidence.get(key) ?? new Uint8Array());
      copy.evidence.set(key, encodeVoteCheckpoint({ ...checkpoint, ...change }));
      const { database, report } = await load(EVERYTHING, copy);
      expect(report.ok).toBe(false);
      expect(database.newestCheckpoint).toBe(0);
      await database[Symbol.asyncDispose]();
    }
  });

  test("have the events", async () => {
    const withEvents = await TestLog.create({ commits: [20, 30], events: 2 });
    const { database, report } = await load(EVERYTHING, withEvents);
    expect(report.checked.events).toBe(4);
    await using session = await database.finish();
    const rows = await rowsOf(
      session,
      "SELECT log_index, kind, details, note, segment FROM events ORDER BY 1",
    );
    expect(rows.map((row) => row.log_index)).toEqual([21, 22, 53, 54]);
    expect(rows[0]).toMatchObject({
      segment: withEvents.segmentOf(21),
      note: expect.stringMatching(/^psephos\/event/),
    });
    const [kinds] = await rowsOf(session, "SELECT json_valid(details) AS json, kind FROM events LIMIT 1");
    expect(kinds?.json).toBe(true);
  });

  test("end before what is not signed, or at a checkpoint", async () => {
    expect(await ask("SELECT max(log_index) AS last FROM votes", { size: 21, asOf: undefined })).toEqual([
      { last: 20 },
    ]);
    expect(await ask("SELECT count(*) AS n FROM checkpoints", { size: 21, asOf: undefined })).toEqual([
      { n: 0 },
    ]);
  });

  test("end at a moment, shard by shard", async () => {
    const times = [...new Set(log.records.flat().map(({ castAt }) => castAt))].sort((a, b) => a - b);
    const [first = 0] = times;
    const of = (asOf: number) => ask("SELECT count(*) AS n FROM votes", { ...EVERYTHING, asOf });
    const castBy = (asOf: number) => log.records.flat().filter(({ castAt }) => castAt <= asOf).length;
    expect(await of(first - 1)).toEqual([{ n: 0 }]);
    expect(castBy(first)).toBeGreaterThan(0);
    expect(await of(first)).toEqual([{ n: castBy(first) }]);
    expect(await of(times.at(-1) ?? 0)).toEqual([{ n: 50 }]);
    // A checkpoint is there once all of its votes were cast.
    const checkpoints = (asOf: number) =>
      ask("SELECT count(*) AS n FROM checkpoints", { ...EVERYTHING, asOf });
    expect(await checkpoints(first - 1)).toEqual([{ n: 0 }]);
    expect(await checkpoints(times.at(-1) ?? 0)).toEqual([{ n: 1 }]);
  });
});

test("the one-vote rule is applied without a tally in memory", async () => {
  const twice = await TestLog.create({ doubleVote: true });
  const { database } = await load(EVERYTHING, twice);
  const [found, ...others] = await database.ruleBreakers("forbidden");
  expect(others).toEqual([]);
  expect(found?.problem).toBe("another vote of a voter who has voted");
  expect(await database.ruleBreakers("last-counts")).toEqual([
    expect.objectContaining({ problem: "revision 1 where 2 comes next" }),
  ]);
  await database[Symbol.asyncDispose]();
  const good = await load();
  expect(await good.database.ruleBreakers("forbidden")).toEqual([]);
  await good.database[Symbol.asyncDispose]();
});

describe("a session", () => {
  let session: QuerySession;
  let path: string;

  beforeAll(async () => {
    const loaded = await load();
    path = loaded.path;
    session = await loaded.database.finish();
  });
  afterAll(() => session[Symbol.asyncDispose]());

  test.each([
    ["nothing", ""],
    ["a comment alone", "-- SELECT 1"],
    ["two statements", "SELECT 1; SELECT 2"],
    ["bad syntax", "SELEC 1"],
    ["an unknown table", "SELECT * FROM voters"],
    ["a parameter", "SELECT ?::INT"],
    ["a file by its name", "SELECT * FROM '/etc/passwd'"],
    ["a file as text", "SELECT * FROM read_text('/etc/passwd')"],
    ["a file as CSV", "SELECT * FROM read_csv('/etc/passwd')"],
    ["a list of files", "SELECT * FROM glob('/*')"],
    ["a remote file", "SELECT * FROM 'https://example.org/a.parquet'"],
    ["a copy to a file", "COPY votes TO '/tmp/psephos-query-copy.csv'"],
    ["an export", "EXPORT DATABASE '/tmp/psephos-query-export'"],
    ["another database", "ATTACH '/tmp/psephos-query-other.duckdb' AS other"],
    ["a database in memory", "ATTACH ':memory:' AS other"],
    ["an extension to install", "INSTALL httpfs"],
    ["an extension to load", "LOAD httpfs"],
    ["its own configuration", "SET enable_external_access = true"],
    ["the lock of its configuration", "SET lock_configuration = false"],
    ["more memory", "SET memory_limit = '100GB'"],
    ["a pragma", "PRAGMA enable_profiling"],
    ["a call", "CALL enable_logging()"],
    ["a table", "CREATE TABLE t AS SELECT 1"],
    ["a temporary table", "CREATE TEMP TABLE t AS SELECT 1"],
    ["a change", "UPDATE evidence.votes SET shard = 0"],
    ["a deletion", "DELETE FROM evidence.votes"],
    ["another view", "CREATE OR REPLACE VIEW votes AS SELECT 1"],
    ["what EXPLAIN would run", "EXPLAIN ANALYZE CREATE TEMP TABLE t AS SELECT 1"],
    ["the same with options", "EXPLAIN (ANALYZE, FORMAT json) CREATE TEMP TABLE t AS SELECT 1"],
    ["the same behind comments", "EXPLAIN /* /* */ SELECT 1 -- */ ANALYZE CREATE TEMP TABLE t AS SELECT 1"],
    ["the same in lines", "-- x\nEXPLAIN -- y\nANALYZE CREATE TEMP TABLE t AS SELECT 1"],
    ["what EXPLAIN would only plan", "EXPLAIN CREATE TEMP TABLE t AS SELECT 1"],
  ])("refuses %s", async (_, sql) => {
    await expect(rowsOf(session, sql)).rejects.toThrow(SqlError);
  });

  test("keeps what DuckDB says is wrong", async () => {
    await expect(rowsOf(session, "SELECT * FROM voters")).rejects.toThrow(
      /Table with name voters does not exist/,
    );
    await expect(rowsOf(session, "SELECT 'x'::INT")).rejects.toThrow(/Could not convert string 'x'/);
  });

  test("answers in JSON's values", async () => {
    const [row] = await rowsOf(
      session,
      `SELECT sum(log_index) AS whole, 9007199254740993 AS large, 1.50 AS decimal, 0.5::DOUBLE AS double, NULL AS none,
         [1, NULL] AS list, {'a': true} AS struct, MAP {'k': 1} AS map, 'AB'::BLOB AS blob, DATE '2026-11-03' AS date,
         TIMESTAMP '1969-12-31 23:59:59.999999' AS old, 'infinity'::TIMESTAMP AS never, 'nan'::DOUBLE AS nan,
         INTERVAL 90 MINUTE AS interval, 1 AS twice, 2 AS twice FROM votes`,
    );
    expect(row).toMatchObject({
      whole: 1275,
      large: "9007199254740993",
      decimal: "1.50",
      double: 0.5,
      none: null,
      list: [1, null],
      struct: { a: true },
      map: [{ key: "k", value: 1 }],
      blob: "4142",
      date: "2026-11-03",
      old: "1969-12-31T23:59:59.999999Z",
      never: expect.stringMatching(/us$/),
      nan: "NaN",
      interval: "01:30:00",
      twice: 1,
    });
    expect(Object.keys(row ?? {})).toHaveLength(16);
  });

  test("answers large results page by page", async () => {
    const { pages } = await session.query("SELECT range FROM range(5000)");
    const sizes = [];
    for await (const page of pages) sizes.push(page.length);
    expect(sizes.length).toBeGreaterThan(1);
    expect(sizes.reduce((sum, size) => sum + size)).toBe(5_000);
  });

  test("does what DESCRIBE and EXPLAIN ask", async () => {
    expect(await rowsOf(session, "DESCRIBE votes")).toHaveLength(10);
    const select = "SELECT count(*) FROM votes";
    for (const sql of [
      `EXPLAIN ${select}`,
      `explain analyze ${select}`,
      `-- why\n EXPLAIN (ANALYZE, FORMAT json) ${select}`,
      `EXPLAIN (${select})`,
    ]) {
      expect(await rowsOf(session, sql)).not.toEqual([]);
    }
  });

  test("leaves no copy of the votes in the file system", async () => {
    expect(await readdir(path)).not.toContain("log.duckdb");
  });

  test("can be interrupted", async () => {
    const slow = rowsOf(
      session,
      "SELECT count(*) FROM range(100000) a, range(1000000) b WHERE a.range + b.range = 3",
    );
    setTimeout(() => session.interrupt(), 100);
    await expect(slow).rejects.toThrow(/interrupt/i);
  });
});

test("a mistake in the SQL is found before any evidence is read", async () => {
  await using database = await EvidenceDatabase.create({ folder: await mkdtemp(join(folder, "db-")) });
  await expect(database.check("SELECT nothing FROM votes")).rejects.toThrow(SqlError);
  await expect(database.check("SELECT * FROM read_text('/etc/passwd')")).rejects.toThrow(SqlError);
  await database.check("SELECT kind, happened_at, details FROM events");
});

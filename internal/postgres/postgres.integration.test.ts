// All on one server, which takes longer to start than the tests to run.
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { LogHead } from "../audit/head.ts";
import { type ElectionId, electionId, sequence, shardId, treeSize } from "../core/ids.ts";
import { asHash, sha256 } from "../core/sha256.ts";
import type { Found, NewRecord, StoredElection } from "../shard/ports.ts";
import { byteaArray, int2Array, int4Array, int8Array } from "./binary-array.ts";
import { connect } from "./connection.ts";
import { PostgresElectionStore } from "./election-store.ts";
import { FIND_VOTES, GroupWriter, INSERT, LOCK_HEADS } from "./group-writer.ts";
import { PostgresLogHeadStore } from "./log-head-store.ts";
import { migrate, requireMigrated } from "./migrate.ts";
import { Pool } from "./pool.ts";
import { PostgresShardInstance } from "./shard-instance.ts";
import { silent, TestPostgres } from "./test-postgres.ts";

let postgres: TestPostgres;

beforeAll(async () => {
  postgres = await TestPostgres.start(1, { bare: true });
});

afterAll(() => postgres[Symbol.asyncDispose]());

describe("migrations", () => {
  const applied = () =>
    postgres.query<{ version: number; name: string }>(
      "psephos_router",
      "SELECT version, name FROM migrations ORDER BY version",
    );

  test("a schema that is not there is said to lack its first migration", async () => {
    await postgres.query("psephos_owner", "CREATE SCHEMA psephos");
    await postgres.query(
      "psephos_owner",
      "CREATE TABLE migrations (version integer PRIMARY KEY, name text, sha256 text, applied_at timestamptz DEFAULT now())",
    );
    await expect(requireMigrated(await postgres.connection("psephos_owner"))).rejects.toThrow(
      "instance pg0 lacks migration 0001_shards.sql",
    );
  });

  test("processes that migrate at the same time apply each migration once", async () => {
    const options = JSON.stringify(await postgres.connection("psephos_owner"));
    const module = fileURLToPath(new URL("./migrate.ts", import.meta.url));
    const script = `
      import { migrate } from ${JSON.stringify(module)};
      const applied = [];
      await migrate(${options}, { info: ({ migration }) => applied.push(migration) });
      console.log(JSON.stringify(applied));`;
    const run = async () => {
      const { stdout } = await promisify(execFile)(process.execPath, [
        "--input-type=module",
        "--eval",
        script,
      ]);
      return JSON.parse(stdout) as string[]; // which the script prints
    };
    const done = (await Promise.all([run(), run(), run()])).filter((names) => names.length > 0);
    expect(done).toEqual([
      ["0001_shards.sql", "0002_elections.sql", "0003_log_heads.sql", "0004_election_copies.sql"],
    ]);
    expect((await applied()).map(({ version }) => version)).toEqual([1, 2, 3, 4]);
    await requireMigrated(await postgres.connection("psephos_router"));
  });

  test("a migration that was changed after it was applied is refused", async () => {
    const [row] = await postgres.query<{ sha256: string }>(
      "psephos_owner",
      "SELECT sha256 FROM migrations WHERE version = 2",
    );
    await postgres.query("psephos_owner", "UPDATE migrations SET sha256 = 'other' WHERE version = 2");
    const options = await postgres.connection("psephos_owner");
    const refusal = "migration 0002_elections.sql was changed after instance pg0 applied it";
    await expect(migrate(options, silent)).rejects.toThrow(refusal);
    await expect(requireMigrated(options)).rejects.toThrow(refusal);
    await postgres.query("psephos_owner", "UPDATE migrations SET sha256 = $1 WHERE version = 2", [
      row?.sha256,
    ]);
  });

  test("a newer schema is left alone", async () => {
    await postgres.query("psephos_owner", "INSERT INTO migrations VALUES (99, '0099_later.sql', 'x')");
    await migrate(await postgres.connection("psephos_owner"), silent);
    await requireMigrated(await postgres.connection("psephos_owner"));
    expect((await applied()).at(-1)).toEqual({ version: 99, name: "0099_later.sql" });
  });
});

describe("connections", () => {
  const select = async (text: string, values: unknown[] = []) => {
    await using pool = new Pool({
      connection: await postgres.connection("psephos_router"),
      connections: 1,
      logger: silent,
    });
    return await pool.query({ text, values });
  };

  test("int8 is a number, and one that no number can hold an error", async () => {
    expect(await select("SELECT (2::bigint ^ 53 - 1)::bigint AS n")).toEqual([
      { n: Number.MAX_SAFE_INTEGER },
    ]);
    await expect(select("SELECT 9007199254740993::bigint AS n")).rejects.toMatchObject({ kind: "internal" });
  });

  test("arrays arrive as they were sent, empty ones too", async () => {
    const bytes = [new Uint8Array(), randomBytes(1), randomBytes(300).subarray(7)];
    const int8 = [0, 1, 2 ** 32 - 1, 2 ** 32, Number.MAX_SAFE_INTEGER];
    const echo = (values: unknown[]) =>
      select(
        "SELECT $1::bytea[] AS bytea, $2::int8[] AS int8, $3::int4[] AS int4, $4::int2[] AS int2",
        values,
      );
    const [row] = await echo([
      byteaArray(bytes),
      int8Array(int8),
      int4Array([0, 2 ** 31 - 1]),
      int2Array([0, 255]),
    ]);
    expect(row).toEqual({
      bytea: bytes.map((item) => Buffer.from(item)),
      // Of arrays of int8, which no query here returns, pg makes texts.
      int8: int8.map(String),
      int4: [0, 2 ** 31 - 1],
      int2: [0, 255],
    });
    const empty = await echo([byteaArray([]), int8Array([]), int4Array([]), int2Array([])]);
    expect(empty).toEqual([{ bytea: [], int8: [], int4: [], int2: [] }]);
  });

  test.each([
    ["synchronous_commit", "off"],
    ["synchronous_commit", "local"],
  ])("a server on which a commit is not durable is refused: %s = %s", async (name, value) => {
    await postgres.query("postgres", `ALTER ROLE psephos_router SET ${name} = ${value}`);
    try {
      const refusal = { kind: "unavailable", reason: "NOT_DURABLE" };
      await expect(select("SELECT 1")).rejects.toMatchObject(refusal);
      await expect(connect(await postgres.connection("psephos_router"))).rejects.toMatchObject(refusal);
    } finally {
      await postgres.query("postgres", `ALTER ROLE psephos_router RESET ${name}`);
    }
  });

  test("a statement has its time, and its connection is not used again", async () => {
    const connection = { ...(await postgres.connection("psephos_router")), statementTimeoutMs: 100 };
    await using pool = new Pool({ connection, connections: 1, logger: silent });
    await expect(pool.query({ text: "SELECT pg_sleep(5)" })).rejects.toMatchObject({ kind: "aborted" });
    await expect(pool.query({ text: "SELECT 1 AS one" })).resolves.toEqual([{ one: 1 }]);
  });

  test("too many queries at once are told from a server that is away", async () => {
    const connection = { ...(await postgres.connection("psephos_router")), connectTimeoutMs: 200 };
    await using pool = new Pool({ connection, connections: 1, logger: silent });
    const long = pool.query({ text: "SELECT pg_sleep(1)" });
    await expect(pool.query({ text: "SELECT 1" })).rejects.toMatchObject({ kind: "resource-exhausted" });
    await long;

    await using away = new Pool({ connection: { ...connection, port: 1 }, connections: 1, logger: silent });
    await expect(away.query({ text: "SELECT 1" })).rejects.toMatchObject({ kind: "unavailable" });
  });

  test("a session that ended while idle is no error but for whoever uses it next", async () => {
    await using pool = new Pool({
      connection: await postgres.connection("psephos_router"),
      connections: 1,
      logger: silent,
    });
    const [session] = await pool.query<{ pid: number }>({ text: "SELECT pg_backend_pid() AS pid" });
    await postgres.query("postgres", "SELECT pg_terminate_backend($1)", [session?.pid]);
    await expect
      .poll(() => pool.query({ text: "SELECT 1 AS one" }), { timeout: 10_000 })
      .toEqual([{ one: 1 }]);
  });
});

describe("rights", () => {
  const refused = async (role: "psephos_router" | "psephos_audit", text: string) => {
    await expect(postgres.query(role, text)).rejects.toThrow(/permission denied/);
  };

  test.each([
    "UPDATE records SET revision = 2",
    "DELETE FROM records",
    "TRUNCATE records",
    "UPDATE shard_heads SET genesis = ''",
    "UPDATE shard_heads SET shard = 1",
    "DELETE FROM shard_heads",
    "UPDATE elections SET manifest = ''",
    "UPDATE elections SET placement = '{}'",
    "DELETE FROM elections",
    "UPDATE election_copies SET placement = '{}'",
    "DELETE FROM election_copies",
    "SELECT * FROM log_heads",
    "ALTER TABLE records DISABLE TRIGGER ALL",
    "CREATE TABLE psephos.t (x int)",
  ])("the router has none to %s", (text) => {
    if (text.startsWith("ALTER")) {
      return expect(postgres.query("psephos_router", text)).rejects.toThrow(/must be owner/);
    }
    return refused("psephos_router", text);
  });

  test.each([
    "SELECT * FROM records",
    "SELECT voter_pseudonym FROM records",
    "INSERT INTO records DEFAULT VALUES",
    "SELECT * FROM shard_heads",
    "SELECT * FROM elections",
    "SELECT * FROM election_copies",
    "DELETE FROM log_heads",
    "UPDATE log_heads SET election_id = 'x'",
  ])("AuditService has none to %s", (text) => refused("psephos_audit", text));
});

describe("a shard", () => {
  const [election, shard] = [7, shardId(3)];
  const genesis = sha256(Uint8Array.of(7));
  let instance: PostgresShardInstance;

  const record = (at: number, overrides: Partial<NewRecord> = {}): NewRecord => ({
    election,
    shard,
    sequence: sequence(at),
    voterPseudonym: sha256(Uint8Array.of(at)),
    revision: 1,
    requestToken: new Uint8Array(16).fill(at),
    sealedChoice: new Uint8Array(63).fill(at),
    castAt: 1_000 + at,
    hash: sha256(Uint8Array.of(0, at)),
    ...overrides,
  });
  const append = async (...records: NewRecord[]): Promise<Found> => {
    let seen: Found | undefined;
    await instance.append({ shards: [{ election, shard }], voters: records }, (found) => {
      seen = found;
      const last = records.at(-1);
      return {
        records,
        heads: last
          ? [{ election, shard, sequence: last.sequence, hash: last.hash, castAt: last.castAt }]
          : [],
      };
    });
    if (seen === undefined) throw new Error("nothing was decided");
    return seen;
  };

  beforeAll(async () => {
    instance = new PostgresShardInstance({
      connection: await postgres.connection("psephos_router"),
      connections: 2,
      logger: silent,
    });
  });

  beforeEach(async () => {
    await postgres.query("psephos_owner", "TRUNCATE records, shard_heads");
    await instance.createHeads(election, [{ shard, genesis }]);
  });

  afterAll(() => instance[Symbol.asyncDispose]());

  test("begins at its genesis, moves with its records and gives them back", async () => {
    const first = await append(record(1), record(2));
    const start = {
      election,
      shard,
      sequence: 0,
      hash: Buffer.from(genesis),
      castAt: 0,
      closed: false,
      sealedSequence: 0,
      genesis: Buffer.from(genesis),
    };
    expect(first).toEqual({ heads: [start], votes: [] });

    const again = await append(record(3, { voterPseudonym: record(1).voterPseudonym, revision: 2 }));
    expect(again.heads).toMatchObject([{ sequence: 2, hash: Buffer.from(record(2).hash), castAt: 1_002 }]);
    expect(again.votes).toEqual([
      {
        index: 0,
        sameRequest: false,
        sequence: 1,
        revision: 1,
        castAt: 1_001,
        hash: Buffer.from(record(1).hash),
      },
    ]);

    const found = (after: number, limit: number) =>
      instance.findRecords({ election, shard }, record(1).voterPseudonym, after, limit);
    const [one, two] = [
      { sequence: 1, revision: 1 },
      { sequence: 3, revision: 2 },
    ];
    expect(await found(0, 9)).toEqual([one, two]);
    expect(await found(1, 9)).toEqual([two]);
    expect(await found(0, 1)).toEqual([one]);
    expect(await instance.findRecords({ election, shard }, sha256(Uint8Array.of(99)), 0, 9)).toEqual([]);

    const { requestToken, election: _, ...stored } = record(2);
    const [read] = await instance.readRecords({ election, shard }, sequence(2), sequence(2));
    expect(
      Object.entries(read ?? {}).map(([key, value]) => [
        key,
        value instanceof Uint8Array ? Buffer.from(value) : value,
      ]),
    ).toEqual(
      expect.arrayContaining(
        Object.entries(stored).map(([key, value]) => [
          key,
          value instanceof Uint8Array ? Buffer.from(value) : value,
        ]),
      ),
    );
  });

  test("finds the vote of the same request among many of a voter, or else the latest", async () => {
    const { voterPseudonym } = record(1);
    await append(...[1, 2, 3].map((revision) => record(revision, { voterPseudonym, revision })));
    const find = async (requestToken: Uint8Array) => {
      let found: Found | undefined;
      const voter = { election, shard, voterPseudonym, requestToken };
      await instance.append({ shards: [{ election, shard }], voters: [voter] }, (seen) => {
        found = seen;
        return { records: [], heads: [] };
      });
      return found?.votes;
    };
    expect(await find(record(1).requestToken)).toMatchObject([{ sameRequest: true, revision: 1 }]);
    expect(await find(record(9).requestToken)).toMatchObject([{ sameRequest: false, revision: 3 }]);
  });

  test("takes nobody's revision twice, nor a sequence, and then nothing of the group", async () => {
    await append(record(1));
    const violation = { kind: "failed-precondition", reason: "CONSTRAINT_VIOLATED" };
    const { voterPseudonym } = record(1);
    await expect(append(record(2), record(3, { voterPseudonym }))).rejects.toMatchObject(violation);
    await expect(
      append(record(2), record(1, { voterPseudonym: sha256(Uint8Array.of(99)) })),
    ).rejects.toMatchObject(violation);
    expect(await instance.readRecords({ election, shard }, sequence(1), sequence(9))).toHaveLength(1);
    expect(await instance.readHeads(election)).toMatchObject([{ sequence: 1 }]);
    // And the writer goes on.
    await append(record(2));
    expect(await instance.readHeads(election)).toMatchObject([{ sequence: 2 }]);
  });

  test.each<[string, Partial<NewRecord>]>([
    ["a short pseudonym", { voterPseudonym: new Uint8Array(31) }],
    ["a long token", { requestToken: new Uint8Array(17) }],
    ["a short choice", { sealedChoice: new Uint8Array(62) }],
    ["a short hash", { hash: asHash(new Uint8Array(32)).subarray(1) as NewRecord["hash"] }],
    ["revision 0", { revision: 0 }],
    ["sequence 0", { sequence: sequence(0) }],
  ])("refuses %s", async (_, overrides) => {
    await expect(append(record(1, overrides))).rejects.toMatchObject({ kind: "failed-precondition" });
  });

  test("an error in deciding rolls back and frees the heads", async () => {
    await expect(
      instance.append({ shards: [{ election, shard }], voters: [] }, () => {
        throw new TypeError("a mistake");
      }),
    ).rejects.toMatchObject({ kind: "internal" });
    await append(record(1));
  });

  test("its head only moves forward", async () => {
    await append(record(1), record(2));
    await instance.confirmSealed(election, [{ shard, sequence: sequence(1) }]);
    await instance.closeHeads(election);
    for (const change of [
      "sequence = 1",
      "cast_at = 1",
      "sealed_sequence = 0",
      "closed = false",
      "sequence = 3",
    ]) {
      await expect(postgres.query("psephos_router", `UPDATE shard_heads SET ${change}`)).rejects.toThrow(
        "shard_heads only moves forward",
      );
    }
  });

  test("is sealed forward, and not beyond its end", async () => {
    await append(record(1), record(2));
    const confirm = (at: number) => instance.confirmSealed(election, [{ shard, sequence: sequence(at) }]);
    expect(await instance.readUnsealedHeads()).toHaveLength(1);
    await confirm(2);
    await confirm(1);
    expect(await instance.readHeads(election)).toMatchObject([{ sealedSequence: 2 }]);
    expect(await instance.readUnsealedHeads()).toEqual([]);
    await expect(confirm(3)).rejects.toMatchObject({ kind: "failed-precondition" });
  });

  test("is not made for another election of the same number", async () => {
    await instance.createHeads(election, [{ shard, genesis }]);
    await expect(
      instance.createHeads(election, [{ shard, genesis: sha256(Uint8Array.of(8)) }]),
    ).rejects.toMatchObject({ kind: "data-loss", reason: "FOREIGN_INSTANCE" });
  });

  test("an append waits for the head's lock and sees what its holder wrote", async () => {
    await using other = new GroupWriter(await postgres.connection("psephos_router"));
    const began = Promise.withResolvers<void>();
    const holder = await connect(await postgres.connection("psephos_router"));
    await holder.query("BEGIN");
    await holder.query("SELECT 1 FROM shard_heads FOR UPDATE");
    const voter = record(1);
    const waiting = other.append({ shards: [{ election, shard }], voters: [voter] }, (found) => {
      expect(found.heads).toMatchObject([{ sequence: 1 }]);
      expect(found.votes).toMatchObject([{ sameRequest: true, sequence: 1 }]);
      began.resolve();
      return { records: [], heads: [] };
    });
    const locked = () =>
      postgres.query<{ waiting: number }>(
        "postgres",
        "SELECT count(*)::int AS waiting FROM pg_stat_activity WHERE wait_event_type = 'Lock'",
      );
    await expect.poll(locked, { timeout: 10_000 }).toEqual([{ waiting: 1 }]);
    await holder.query(
      `INSERT INTO records (election, shard, sequence, voter_pseudonym, revision, request_token, sealed_choice, cast_at, record_hash)
       VALUES ($1, $2, 1, $3, 1, $4, $5, 1, $6)`,
      [election, shard, voter.voterPseudonym, voter.requestToken, voter.sealedChoice, voter.hash],
    );
    await holder.query("UPDATE shard_heads SET sequence = 1, hash = $1, cast_at = 1", [voter.hash]);
    await holder.query("COMMIT");
    await holder.end();
    await waiting;
    await began.promise;
  });

  test("a client that stops in the middle of a transaction loses the lock", async () => {
    const holder = await connect(await postgres.connection("psephos_router"));
    const lost = new Promise((resolve) => holder.once("end", resolve));
    await holder.query("BEGIN");
    await holder.query("SELECT 1 FROM shard_heads FOR UPDATE");
    await append(record(1));
    await lost;
  });

  test("voters and heads are found through their indexes, although the tables are empty", async () => {
    const client = await connect(await postgres.connection("psephos_router"));
    const planOf = async (statement: string, parameters: number) => {
      await client.query(`PREPARE statement AS ${statement}`);
      const nulls = Array.from({ length: parameters }, () => "NULL");
      const { rows } = await client.query(`EXPLAIN EXECUTE statement (${nulls.join(", ")})`);
      await client.query("DEALLOCATE statement");
      return rows.map((row) => row["QUERY PLAN"]).join("\n");
    };
    const plans = [await planOf(FIND_VOTES, 4), await planOf(LOCK_HEADS, 2), await planOf(INSERT, 14)];
    await client.end();
    expect(plans[0]).toContain("Index Scan using records_voter");
    expect(plans[1]).toContain("Index Scan using shard_heads_key");
    expect(plans[2]).toContain("Index Scan using shard_heads_key");
    for (const plan of plans) expect(plan).not.toMatch(/Seq Scan|Hash|Merge/);
    // In this order: the sort decides in which order the locks above it are taken.
    expect(plans[1]).toMatch(/LockRows.*Sort.*Nested Loop/s);
  });
});

describe("elections", () => {
  const id = electionId("e-1");
  const election = {
    electionId: id,
    manifestBytes: new Uint8Array([1, 2]),
    placement: ["pg0", "pg1"],
    createdAt: 5,
  };
  let pool: Pool;
  let store: PostgresElectionStore;

  beforeAll(async () => {
    pool = new Pool({
      connection: await postgres.connection("psephos_router"),
      connections: 2,
      logger: silent,
    });
    store = new PostgresElectionStore({ pool });
  });

  afterAll(() => pool[Symbol.asyncDispose]());

  test("are added once, listed when created, and move forward", async () => {
    expect(await store.find(id)).toBeUndefined();
    await store.add(election);
    await store.add({ ...election, manifestBytes: new Uint8Array([3]) });
    const found = await store.find(id);
    expect(found).toMatchObject({
      ...election,
      manifestBytes: Buffer.from(election.manifestBytes),
      state: "creating",
    });
    const number = found?.election ?? 0;
    expect(await store.findByNumber(number)).toEqual(found);
    expect(await store.list()).toEqual([]);

    await store.advance(number, "closing", "closed");
    expect((await store.find(id))?.state).toBe("creating");
    await store.advance(number, "creating", "open");
    expect([await store.stateOf(number), await store.stateOf(number + 99)]).toEqual(["open", undefined]);
    await store.add({ ...election, electionId: electionId("e") });
    expect(await store.list()).toMatchObject([{ electionId: id, state: "open" }]);
    await expect(postgres.query("psephos_router", "UPDATE elections SET state = 'creating'")).rejects.toThrow(
      "elections only moves forward",
    );
  });
});

test("copies of elections are added once, and know from the heads beside them that closing has begun", async () => {
  await using instance = new PostgresShardInstance({
    connection: await postgres.connection("psephos_router"),
    connections: 2,
    logger: silent,
  });
  const { copies } = instance;
  const election: StoredElection = {
    election: 70,
    electionId: electionId("copied"),
    manifestBytes: Buffer.from([1, 2]),
    placement: ["pg0", "pg1"],
    createdAt: 5,
    state: "open",
  };
  expect(await copies.find(election.electionId)).toBeUndefined();
  await instance.createHeads(70, [{ shard: shardId(1), genesis: sha256(Uint8Array.of(70)) }]);
  await copies.add(election);
  await copies.add({ ...election, placement: [], state: "closed" });
  expect(await copies.find(election.electionId)).toEqual(election);
  expect(await copies.findByNumber(70)).toEqual(election);
  expect(await copies.findByNumber(71)).toBeUndefined();
  await instance.closeHeads(70);
  expect(await copies.find(election.electionId)).toEqual({ ...election, state: "closing" });
});

describe("log heads", () => {
  const id = electionId("e-1");
  const head = (size: number, overrides: Partial<LogHead> = {}): LogHead => ({
    electionId: id,
    treeSize: treeSize(size),
    root: sha256(Uint8Array.of(size)),
    shardHeads: [0, 1].map((shard) => ({
      sequence: sequence(size * 2 ** 32),
      hash: sha256(Uint8Array.of(shard)),
    })),
    closed: false,
    committedAt: size,
    ...overrides,
  });
  /** Buffers and Uint8Arrays of the same bytes are not equal to vitest. */
  const plain = (value: LogHead | undefined) =>
    value && {
      ...value,
      root: Buffer.from(value.root),
      shardHeads: value.shardHeads.map(({ sequence, hash }) => ({ sequence, hash: Buffer.from(hash) })),
    };
  let pool: Pool;
  let store: PostgresLogHeadStore;

  beforeAll(async () => {
    const connection = await postgres.connection("psephos_audit");
    pool = new Pool({ connection, connections: 4, logger: silent });
    store = new PostgresLogHeadStore({ pool, connection });
  });

  afterAll(() => pool[Symbol.asyncDispose]());

  test("are created once and swapped only from what they are", async () => {
    expect(await store.load(id)).toBeUndefined();
    expect(await store.compareAndSwap(head(1), head(2))).toBe(false);
    expect(await store.create(head(1))).toBe(true);
    expect(await store.create(head(2))).toBe(false);
    expect(plain(await store.load(id))).toEqual(plain(head(1)));

    expect(await store.compareAndSwap(head(1), head(2))).toBe(true);
    expect(await store.compareAndSwap(head(1), head(3))).toBe(false);
    expect(await store.compareAndSwap(head(2, { root: sha256(Uint8Array.of(9)) }), head(3))).toBe(false);
    expect(plain(await store.load(id))).toEqual(plain(head(2)));
  });

  test("one of many swaps at once wins", async () => {
    const swaps = [3, 4, 5, 6, 7, 8].map((size) => store.compareAndSwap(head(2), head(size)));
    expect((await Promise.all(swaps)).filter(Boolean)).toHaveLength(1);
  });

  test("neither shrink nor go on after the closing entry", async () => {
    const now = await store.load(id);
    if (now === undefined) throw new Error("no head");
    const refusal = { kind: "failed-precondition" };
    await expect(store.compareAndSwap(now, head(1))).rejects.toMatchObject(refusal);
    expect(await store.compareAndSwap(now, head(20, { closed: true }))).toBe(true);
    await expect(store.compareAndSwap(head(20), head(21))).rejects.toMatchObject(refusal);
  });

  test("an election has one lease, which ends with its holder's session", async () => {
    const first = await store.tryLock(id);
    expect(first?.lost.aborted).toBe(false);
    expect(await store.tryLock(id)).toBeUndefined();
    const other: ElectionId = electionId("e-2");
    await using lease = await store.tryLock(other);
    expect(lease).toBeDefined();

    await first?.[Symbol.asyncDispose]();
    const second = await store.tryLock(id);
    const lost = new Promise((resolve) => second?.lost.addEventListener("abort", resolve, { once: true }));
    await postgres.query(
      "postgres",
      "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'",
    );
    await lost;
    await using third = await store.tryLock(id);
    expect(third).toBeDefined();
  });
});

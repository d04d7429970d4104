// On one server, with the chain of one shard: what a repair finds there, locks, writes, and never touches.
import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { appendVotes, type ChainHead } from "../ballot/chain.ts";
import type { VoteRecord } from "../ballot/record.ts";
import { sequence, shardId } from "../core/ids.ts";
import { sha256 } from "../core/sha256.ts";
import { planShard } from "../reconcile/repair-plan.ts";
import type { InstanceFacts, RepairOrder, RepairRequest } from "../reconcile/repair-ports.ts";
import { PostgresRepairInstance } from "./repair-instance.ts";
import { TestPostgres } from "./test-postgres.ts";

const ELECTION = 7;
const SHARD = shardId(0);
const genesis = sha256(Uint8Array.of(1));
const BEGINNING: ChainHead = { shard: SHARD, sequence: sequence(0), hash: genesis, castAt: 0 };

/** Votes of these voters after a head. */
function votesAfter(head: ChainHead, voters: readonly Uint8Array[]): VoteRecord[] {
  const votes = voters.map((voterPseudonym) => ({
    voterPseudonym,
    revision: 1,
    sealedChoice: randomBytes(63),
  }));
  return appendVotes(head, votes, { shards: 1, nowMicros: 1_000 + head.sequence }).records;
}
const voters = (count: number) => Array.from({ length: count }, () => new Uint8Array(randomBytes(32)));
const lastOf = (records: readonly VoteRecord[]): ChainHead => records.at(-1) ?? BEGINNING;

const sealed = votesAfter(BEGINNING, voters(10));
const unsealed = votesAfter(lastOf(sealed), voters(3));
const REQUEST: RepairRequest = {
  election: ELECTION,
  shards: 1,
  ends: [{ ...lastOf(sealed), genesis }],
};

let postgres: TestPostgres;
let instance: PostgresRepairInstance;

beforeAll(async () => {
  postgres = await TestPostgres.start(1);
});
afterAll(() => postgres?.[Symbol.asyncDispose]());

beforeEach(async () => {
  await superuser("TRUNCATE records, shard_heads");
  instance = await open();
});
afterEach(async () => {
  await instance[Symbol.asyncDispose]();
  // Its session, and the lock with it, ends a moment after the connection.
  await until("it has left", async () => {
    const left = "SELECT FROM pg_stat_activity WHERE usename = 'psephos_owner'";
    return (await superuser(left)).length === 0;
  });
});

async function open(): Promise<PostgresRepairInstance> {
  const { role: _, ...connection } = await postgres.connection("psephos_owner");
  return PostgresRepairInstance.open({ connection });
}

const superuser = <Row extends object>(text: string, values?: unknown[]) =>
  postgres.query<Row>("postgres", text, values);

async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  for (const end = performance.now() + 60_000; !(await holds()); await sleep(20))
    if (performance.now() > end) throw new Error(`not within a minute: ${what}`);
}

/** Rows with a request's token each, which no evidence has. */
async function insert(records: readonly VoteRecord[]): Promise<void> {
  await superuser(
    `INSERT INTO records (election, shard, sequence, voter_pseudonym, revision, request_token, sealed_choice, cast_at, record_hash)
     SELECT $1, 0, * FROM unnest($2::bigint[], $3::bytea[], $4::integer[], $5::bytea[], $6::bytea[], $7::bigint[], $8::bytea[])`,
    [
      ELECTION,
      records.map((record) => record.sequence),
      records.map((record) => Buffer.from(record.voterPseudonym)),
      records.map((record) => record.revision),
      records.map(() => randomBytes(16)),
      records.map((record) => Buffer.from(record.sealedChoice)),
      records.map((record) => record.castAt),
      records.map((record) => Buffer.from(record.hash)),
    ],
  );
}

/** The rows, and the head after the last. */
async function fill(records: readonly VoteRecord[]): Promise<void> {
  await insert(records);
  const { sequence: last, hash, castAt } = lastOf(records);
  await superuser(
    "INSERT INTO shard_heads (election, shard, sequence, hash, cast_at, genesis) VALUES ($1, 0, $2, $3, $4, $5)",
    [ELECTION, last, Buffer.from(hash), castAt, Buffer.from(genesis)],
  );
}

const contents = () =>
  superuser(
    `SELECT sequence, row_to_json(records)::text AS what FROM records UNION ALL
     SELECT 0, row_to_json(shard_heads)::text FROM shard_heads ORDER BY 1`,
  );
/** What is after the sealed end, with the tokens. */
const beyond = () => superuser("SELECT * FROM records WHERE sequence > 10 ORDER BY sequence");

function planOf({ shards: [facts] }: InstanceFacts) {
  const [end] = REQUEST.ends;
  if (!facts || !end) throw new RangeError("there is one shard");
  return planShard({ facts, end, shards: 1, closed: false, acknowledged: end.sequence });
}

function order(facts: InstanceFacts): RepairOrder {
  const plan = planOf(facts);
  if (plan.kind !== "repair") throw new Error(JSON.stringify(plan));
  return { shards: [SHARD], heads: plan.head ? [plan.head] : [] };
}

describe("votes that are not sealed yet", () => {
  test("stay as they are, with their requests' tokens, when rows before them are put back", async () => {
    await fill([...sealed, ...unsealed]);
    await superuser("DELETE FROM records WHERE sequence IN (2, 10)");
    await superuser("UPDATE records SET cast_at = cast_at + 1 WHERE sequence = 5");
    const before = await beyond();
    await instance.stage([2, 5, 10].flatMap((number) => sealed[number - 1] ?? []));
    await instance.repair(REQUEST, order);
    expect(await beyond()).toEqual(before);
    expect(planOf(await instance.examine(REQUEST))).toMatchObject({ kind: "nothing" });
  });

  test("get their head back", async () => {
    await insert([...sealed.slice(0, 3), ...sealed.slice(4), ...unsealed]);
    await instance.stage(sealed.slice(3, 4));
    await instance.repair(REQUEST, order);
    const { sequence: last, hash } = lastOf(unsealed);
    expect(await superuser("SELECT sequence, hash FROM shard_heads")).toEqual([
      { sequence: String(last), hash: Buffer.from(hash) },
    ]);
  });

  test("stay when they were taken since an older backup, though they have sealed records' places", async () => {
    await fill([...sealed.slice(0, 5), ...votesAfter(lastOf(sealed.slice(0, 5)), voters(8))]);
    await instance.stage(sealed.slice(5));
    const facts = await instance.examine(REQUEST);
    expect(facts.shards).toMatchObject([{ rows: { changed: 5 }, appended: 6 }]);
    expect(planOf(facts)).toMatchObject({ kind: "refused" });
  });

  test("stay when they are another vote of a voter whose sealed vote is gone", async () => {
    const third = sealed.slice(2, 3);
    const again = votesAfter(lastOf(sealed), [...voters(1), ...third.map((vote) => vote.voterPseudonym)]);
    await fill([...sealed.slice(0, 2), ...sealed.slice(3), ...again]);
    await instance.stage(third);
    const facts = await instance.examine(REQUEST);
    expect(facts.shards).toMatchObject([{ secondVote: 12 }]);
    expect(planOf(facts)).toMatchObject({ kind: "refused" });
  });
});

describe("a row with a hash that covers it", () => {
  test("is replaced while votes are taken on the sealed chain", async () => {
    const [forged] = votesAfter(lastOf(sealed.slice(0, 5)), voters(1));
    if (!forged) throw new RangeError("there is one");
    await fill([...sealed.slice(0, 5), forged, ...sealed.slice(6), ...unsealed]);
    await instance.stage(sealed.slice(5, 6));
    await instance.repair(REQUEST, order);
    expect(await superuser("SELECT record_hash AS hash FROM records WHERE sequence = 6")).toEqual([
      { hash: Buffer.from(sealed[5]?.hash ?? []) },
    ]);
  });
});

describe("interrupted", () => {
  test("between deleting and inserting, it leaves everything as it was, and can be run again", async () => {
    await fill([...sealed, ...unsealed]);
    await superuser("UPDATE records SET cast_at = cast_at + 1 WHERE sequence = 5");
    const before = await contents();
    await instance.stage(sealed.slice(4, 5));
    {
      await using blocker = await blocked();
      // As the end of its process ends its session.
      const interrupted = instance.repair(REQUEST, order).catch((error: unknown) => error);
      await blocker.waitedFor("records");
      await superuser(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'psephos_owner'",
      );
      expect(await interrupted).toMatchObject({ kind: "unavailable", reason: "INSTANCE_UNREACHABLE" });
    }
    expect(await contents()).toEqual(before);
    await using again = await open();
    await again.stage(sealed.slice(4, 5));
    await again.repair(REQUEST, order);
    expect(planOf(await again.examine(REQUEST))).toMatchObject({ kind: "nothing" });
  });

  test("by what was found under the locks, it writes nothing", async () => {
    await fill(sealed.slice(1));
    await instance.stage(sealed.slice(0, 1));
    const before = await contents();
    const changed = new Error("changed meanwhile");
    await expect(
      instance.repair(REQUEST, () => {
        throw changed;
      }),
    ).rejects.toMatchObject({ cause: changed });
    expect(await contents()).toEqual(before);
  });
});

test("a head that is gone cannot come back under a repair, by creating the election again", async () => {
  await insert(sealed.slice(1));
  await instance.stage(sealed.slice(0, 1));
  await using blocker = await blocked();
  const repaired = instance.repair(REQUEST, order);
  await blocker.waitedFor("records");
  const created = postgres.query<{ shard: number }>(
    "psephos_router",
    `INSERT INTO shard_heads (election, shard, hash, genesis) VALUES ($1, 0, $2, $2)
     ON CONFLICT DO NOTHING RETURNING shard`,
    [ELECTION, Buffer.from(genesis)],
  );
  await blocker.waitedFor("shard_heads");
  await blocker[Symbol.asyncDispose]();
  await repaired;
  expect(await created).toEqual([]);
  expect(await superuser("SELECT sequence FROM shard_heads")).toEqual([{ sequence: "10" }]);
});

test("nobody else repairs meanwhile", async () => {
  await expect(open()).rejects.toMatchObject({ kind: "failed-precondition", reason: "RESTORE_RUNNING" });
});

describe("the rules", () => {
  test("are put back, and those that are none of ours are named and stay", async () => {
    await fill(sealed);
    await superuser(`ALTER TABLE shard_heads DISABLE TRIGGER shard_heads_move_forward;
                     ALTER TABLE records DROP CONSTRAINT records_voter, ALTER COLUMN request_token DROP NOT NULL,
                       ADD CONSTRAINT nobody_more CHECK (sequence < 11)`);
    try {
      const { restored, left } = await instance.repair(REQUEST, () => ({ shards: [], heads: [] }));
      expect(restored).toEqual([
        "NOT NULL of records.request_token",
        "records_voter of records",
        "the trigger shard_heads_move_forward of shard_heads",
      ]);
      expect(left).toEqual([expect.stringContaining("the constraint nobody_more of records")]);
    } finally {
      await superuser("ALTER TABLE records DROP CONSTRAINT nobody_more");
    }
    expect((await instance.examine(REQUEST)).guards).toEqual([]);
    await expect(superuser("UPDATE shard_heads SET sequence = 1")).rejects.toThrow("only moves forward");
  });

  test("of a head come back with it, whether it is gone or stands in their way", async () => {
    await insert(sealed);
    await superuser("ALTER TABLE shard_heads DROP CONSTRAINT shard_heads_key");
    expect(await instance.repair(REQUEST, order)).toMatchObject({
      restored: ["shard_heads_key of shard_heads"],
      left: [],
    });
    await superuser(
      `ALTER TABLE shard_heads DISABLE TRIGGER shard_heads_move_forward, DROP CONSTRAINT shard_heads_check`,
    );
    await superuser(
      "UPDATE shard_heads SET sequence = 4, hash = (SELECT record_hash FROM records WHERE sequence = 4)",
    );
    await instance.stage(sealed.slice(4, 5)); // What comparing the rows found makes no difference to the head.
    expect(await instance.repair(REQUEST, order)).toMatchObject({
      restored: ["the trigger shard_heads_move_forward of shard_heads", "shard_heads_check of shard_heads"],
      left: [],
    });
    expect(planOf(await instance.examine(REQUEST))).toMatchObject({ kind: "nothing" });
  });

  test("that rows stand in the way of stay off, and the others come back", async () => {
    await fill(sealed);
    await superuser(
      "ALTER TABLE records DROP CONSTRAINT records_voter, DROP CONSTRAINT records_cast_at_check",
    );
    await superuser(
      "UPDATE records SET voter_pseudonym = (SELECT voter_pseudonym FROM records WHERE sequence = 1)",
    );
    const { restored, left } = await instance.repair(REQUEST, () => ({ shards: [], heads: [] }));
    expect(restored).toEqual(["records_cast_at_check of records"]);
    expect(left).toEqual([expect.stringMatching(/^records_voter of records: could not create unique index/)]);
    await superuser("TRUNCATE records");
    expect(await instance.repair(REQUEST, () => ({ shards: [], heads: [] }))).toMatchObject({ left: [] });
  });
});

/** Somebody who keeps everybody from writing records, until disposed of, and sees who waits. */
async function blocked(): Promise<AsyncDisposable & { waitedFor(table: string): Promise<void> }> {
  const client = new pg.Client({
    ...(await postgres.server().clientConfig("postgres")),
    options: "-c search_path=psephos",
  });
  await client.connect();
  await client.query("BEGIN; LOCK TABLE records IN SHARE MODE");
  let ended: Promise<void> | undefined;
  return {
    waitedFor: (table) =>
      until(`somebody waits for ${table}`, async () => {
        const waiting = "SELECT FROM pg_locks WHERE relation = $1::regclass AND NOT granted";
        return (await client.query(waiting, [table])).rowCount !== 0;
      }),
    [Symbol.asyncDispose]: () => {
      ended ??= client.end();
      return ended;
    },
  };
}

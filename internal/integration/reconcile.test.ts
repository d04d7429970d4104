// A superuser changes the databases, and somebody else the stream. `psephos reconcile` names what is not as it was sealed.
import { rm } from "node:fs/promises";
import { join } from "node:path";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { TemporaryFolder } from "../../deploy/local/temporary-folder.ts";
import type { Difference } from "../reconcile/difference.ts";
import { psephos, writeProfile } from "./cli-fixture.ts";
import { type TestElection, TestStack } from "./election-fixture.ts";

let stack: TestStack;
let folder: TemporaryFolder;
let profile: string;
let election: TestElection;
/** elections.election of it. */
let number: number;

const SHARDS = 4;

beforeAll(async () => {
  folder = await TemporaryFolder.create();
  stack = await TestStack.start();
  profile = await writeProfile(stack, folder.path);
  election = await stack.createElection("reconciled", { shards: SHARDS });
  await election.cast(election.ballots(300));
  await election.drain();
  number = (await asSuperuser("SELECT election FROM psephos.elections WHERE election_id = $1", [election.id]))
    .rows[0].election;
});
afterAll(async () => {
  await stack?.[Symbol.asyncDispose]();
  await folder?.[Symbol.asyncDispose]();
});

async function asSuperuser(sql: string, values: unknown[] = []): Promise<pg.QueryResult> {
  const [postgres] = stack.stack.postgres;
  if (!postgres) throw new RangeError("there is no Postgres");
  const client = new pg.Client(await postgres.clientConfig("postgres"));
  await client.connect();
  try {
    return await client.query(sql, values);
  } finally {
    await client.end();
  }
}

interface Reconciled {
  readonly result: "ok" | "failed";
  readonly compared: Readonly<Record<string, number>>;
  readonly differences: readonly (Omit<Difference, "lastSequence"> & { readonly last_sequence: number })[];
  readonly evidence: { readonly problems: readonly object[]; readonly not_checked: readonly string[] };
}

async function reconcile(...options: string[]): Promise<Reconciled> {
  const args = ["reconcile", "--json", "--election", election.id, "--log-key", election.manifest.logKey];
  const { status, stdout, stderr } = await psephos([...args, ...options], {
    env: { PSEPHOS_PROFILE: profile },
  });
  expect([0, 1], stderr).toContain(status);
  const found: Reconciled = JSON.parse(stdout);
  expect(found.result).toBe(status === 0 ? "ok" : "failed");
  expect(found.evidence.problems).toEqual([]);
  return found;
}

/** What is found while the tables are as `change` leaves them. They are put back afterwards, row by row. */
async function differencesAfter(...change: string[]): Promise<Reconciled["differences"]> {
  await asSuperuser(`CREATE TABLE kept_records AS SELECT * FROM psephos.records WHERE election = ${number};
                     CREATE TABLE kept_heads AS SELECT * FROM psephos.shard_heads WHERE election = ${number}`);
  try {
    // Constraints and triggers do not stand in a superuser's way.
    await asSuperuser(`SET session_replication_role = replica; ${change.join(";")}`);
    return (await reconcile()).differences;
  } finally {
    await asSuperuser(`SET session_replication_role = replica;
      DELETE FROM psephos.records WHERE election = ${number}; INSERT INTO psephos.records SELECT * FROM kept_records;
      DELETE FROM psephos.shard_heads WHERE election = ${number};
      INSERT INTO psephos.shard_heads SELECT * FROM kept_heads; DROP TABLE kept_records, kept_heads`);
  }
}

const at = (shard: number, sequence: number) =>
  `election = ${number} AND shard = ${shard} AND sequence = ${sequence}`;
const place = (shard: number, sequence: number, last = sequence) => ({
  shard,
  sequence,
  last_sequence: last,
  checkpoint: 1,
  index: expect.any(Number),
});

test("as they were sealed: databases, stream and evidence are the same", async () => {
  const { result, compared, differences, evidence } = await reconcile();
  expect(differences).toEqual([]);
  expect(result).toBe("ok");
  expect(compared).toMatchObject({ sealed_records: 300, rows: 300, stream_records: 300 });
  expect(compared.stream_messages).toBeGreaterThan(0);
  expect(evidence.not_checked.join()).not.toMatch(/stream/);
});

describe("a superuser", () => {
  test("changes rows: each column is named, and no value", async () => {
    const found = await differencesAfter(
      `UPDATE psephos.records SET sealed_choice = set_byte(sealed_choice, 50, get_byte(sealed_choice, 50) # 1) WHERE ${at(0, 3)}`,
      `UPDATE psephos.records SET cast_at = cast_at + 1, revision = 2 WHERE ${at(1, 7)}`,
      `UPDATE psephos.records SET voter_pseudonym = sha256('x') WHERE ${at(2, 1)}`,
    );
    const another = (what: string) => `the database has another ${what} than the one sealed`;
    expect(found).toEqual([
      { kind: "changed", ...place(0, 3), problem: another("choice") },
      { kind: "changed", ...place(1, 7), problem: another("revision and time") },
      { kind: "changed", ...place(2, 1), problem: another("voter") },
    ]);
  });

  test("deletes rows, in the midst and at the end", async () => {
    const found = await differencesAfter(
      `DELETE FROM psephos.records WHERE ${at(0, 5)}`,
      `DELETE FROM psephos.records WHERE election = ${number} AND shard = 3 AND sequence BETWEEN 10 AND 12`,
    );
    const problem = "sealed, and the database does not have it";
    expect(found).toEqual([
      { kind: "missing", ...place(0, 5), problem },
      { kind: "missing", ...place(3, 10, 12), problem },
    ]);
  });

  test("lets two records change places", async () => {
    const found = await differencesAfter(
      `UPDATE psephos.records SET sequence = 1000 WHERE ${at(1, 4)}`,
      `UPDATE psephos.records SET sequence = 4 WHERE ${at(1, 9)}`,
      `UPDATE psephos.records SET sequence = 9 WHERE ${at(1, 1000)}`,
    );
    const moved = (sequence: number) => `the database has the sealed record of sequence ${sequence} here`;
    expect(found).toEqual([
      { kind: "moved", ...place(1, 4), problem: moved(9) },
      { kind: "moved", ...place(1, 9), problem: moved(4) },
    ]);
  });

  test("empties a shard, and drops another with its head", async () => {
    const [last0, last2] = await Promise.all([lastOf(0), lastOf(2)]);
    const found = await differencesAfter(
      `DELETE FROM psephos.records WHERE election = ${number} AND shard = 0`,
      `DELETE FROM psephos.records WHERE election = ${number} AND shard = 2`,
      `DELETE FROM psephos.shard_heads WHERE election = ${number} AND shard = 2`,
    );
    expect(found.filter(({ kind }) => kind === "missing")).toMatchObject([
      place(0, 1, last0),
      place(2, 1, last2),
    ]);
    expect(found.every(({ shard }) => shard === 0 || shard === 2)).toBe(true);
  });

  test("restores an older backup", async () => {
    const last = await lastOf(1);
    const found = await differencesAfter(
      `DELETE FROM psephos.records WHERE election = ${number} AND shard = 1 AND sequence > 20`,
      `UPDATE psephos.shard_heads SET sequence = 20, sealed_sequence = 20,
         hash = (SELECT record_hash FROM psephos.records WHERE ${at(1, 20)})
       WHERE election = ${number} AND shard = 1`,
    );
    expect(found[0]).toMatchObject({ kind: "missing", ...place(1, 21, last) });
  });

  test("adds a row after the end of the closed log", async () => {
    const last = await lastOf(3);
    const found = await differencesAfter(
      `INSERT INTO psephos.records SELECT ${last + 1}, cast_at, election, revision + 1, shard, voter_pseudonym,
         request_token, sealed_choice, record_hash FROM psephos.records WHERE ${at(3, last)}`,
      `UPDATE psephos.shard_heads SET sequence = ${last + 1} WHERE election = ${number} AND shard = 3`,
    );
    expect(found).toMatchObject([
      {
        kind: "unsealed",
        shard: 3,
        sequence: last + 1,
        problem: expect.stringContaining(`closed log ends at sequence ${last}`),
      },
    ]);
  });

  test("drops the constraints, and puts a second row under a sequence", async () => {
    await asSuperuser(
      "ALTER TABLE psephos.records DROP CONSTRAINT records_chain, DROP CONSTRAINT records_voter",
    );
    try {
      const found = await differencesAfter(
        `INSERT INTO psephos.records SELECT * FROM psephos.records WHERE ${at(2, 6)}`,
      );
      expect(found).toEqual([
        { kind: "duplicate", ...place(2, 6), problem: "the database has 2 rows of this sequence" },
      ]);
    } finally {
      await asSuperuser(`ALTER TABLE psephos.records
        ADD CONSTRAINT records_chain PRIMARY KEY (election, shard, sequence),
        ADD CONSTRAINT records_voter UNIQUE (election, shard, voter_pseudonym, revision)`);
    }
  });
});

test("put back, everything is the same again", async () => {
  expect((await reconcile()).differences).toEqual([]);
});

test("an emptied stream is no difference, and one that cannot be reached is said", async () => {
  const { nats } = stack.stack;
  await nats.stop();
  const args = ["reconcile", "--election", election.id];
  const { status, stderr } = await psephos(args, { env: { PSEPHOS_PROFILE: profile } });
  expect([status, stderr]).toEqual([3, expect.stringContaining("the stream at tls://")]);
  await nats.wipe();
  await nats.start();
  const { differences, compared } = await reconcile();
  expect(differences).toEqual([]);
  expect(compared).toMatchObject({ rows: 300, stream_records: 0 });
});

test("evidence that does not verify is no measure of anything", async () => {
  let key = "";
  for await (key of election.evidence.list(`${election.id}/votes/checkpoint_0000000001/entries_`)) break;
  await rm(join(stack.stack.folders.evidence, key));
  const args = ["reconcile", "--election", election.id];
  const { status, stdout } = await psephos(args, { env: { PSEPHOS_PROFILE: profile } });
  expect(status).toBe(1);
  expect(stdout).toContain(key);
  expect(stdout).toContain("the evidence itself does not verify");
});

async function lastOf(shard: number): Promise<number> {
  const { rows } = await asSuperuser(
    `SELECT max(sequence)::int AS last FROM psephos.records WHERE election = ${number} AND shard = ${shard}`,
  );
  return rows[0].last;
}

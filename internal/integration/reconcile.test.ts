// A superuser changes the databases, and somebody else the stream. `psephos reconcile` names what is not as it was sealed.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { NODE_FLAGS } from "../../deploy/local/service-process.ts";
import { TemporaryFolder } from "../../deploy/local/temporary-folder.ts";
import { type JsonObject, parseEvent } from "../evidence/event.ts";
import { parseSegmentKey, votesPrefix } from "../evidence/layout.ts";
import { readSegment } from "../evidence/read-segment.ts";
import type { Difference } from "../reconcile/difference.ts";
import { finished, MAIN, psephos, spawnPsephos, writeProfile } from "./cli-fixture.ts";
import { refusalOf, type TestElection, TestStack, until, voteOf } from "./election-fixture.ts";

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

/** A superuser's session. */
async function superuser(): Promise<pg.Client & AsyncDisposable> {
  const [postgres] = stack.stack.postgres;
  if (!postgres) throw new RangeError("there is no Postgres");
  const client = new pg.Client(await postgres.clientConfig("postgres"));
  await client.connect();
  return Object.assign(client, { [Symbol.asyncDispose]: () => client.end() });
}

async function asSuperuser(sql: string, values: unknown[] = []): Promise<pg.QueryResult> {
  await using client = await superuser();
  return await client.query(sql, values);
}

interface Reconciled {
  readonly result: "ok" | "failed";
  readonly compared: Readonly<Record<string, number>>;
  readonly differences: readonly (Omit<Difference, "lastSequence"> & { readonly last_sequence: number })[];
  readonly broken_guards: readonly { readonly instance: string; readonly guard: string }[];
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

  test("adds a row far beyond the head, which keeps a voter from voting", async () => {
    const last = await lastOf(3);
    const found = await differencesAfter(
      `INSERT INTO psephos.records SELECT 900000, cast_at, election, revision + 1, shard, voter_pseudonym,
         request_token, sealed_choice, record_hash FROM psephos.records WHERE ${at(3, last)}`,
    );
    const problem = "a row at sequence 900000 is outside of the chain, in the database";
    expect(found).toEqual([
      { kind: "unsealed", shard: 3, sequence: last + 1, last_sequence: last + 1, problem },
    ]);
  });

  test("changes the hash in a head, to which the next vote would be chained", async () => {
    const last = await lastOf(0);
    const found = await differencesAfter(
      `UPDATE psephos.shard_heads SET hash = sha256('x') WHERE election = ${number} AND shard = 0`,
    );
    const problem = "the head has another hash than the last record, in the database";
    expect(found).toEqual([
      { kind: "unsealed", shard: 0, sequence: last + 1, last_sequence: last + 1, problem },
    ]);
  });

  test("switches rules off, and does nothing else yet", async () => {
    const rules = ["--shard-router", stack.stack.services["shard-router"].configFile];
    await asSuperuser(`ALTER TABLE psephos.records DROP CONSTRAINT records_voter;
                       ALTER TABLE psephos.shard_heads DISABLE TRIGGER shard_heads_move_forward`);
    try {
      const { result, differences, broken_guards: guards } = await reconcile(...rules);
      expect({ result, differences }).toEqual({ result: "failed", differences: [] });
      expect(guards.map(({ guard }) => guard)).toEqual([
        "records_voter of records",
        "the trigger shard_heads_move_forward of shard_heads",
      ]);
    } finally {
      await asSuperuser(`ALTER TABLE psephos.records
          ADD CONSTRAINT records_voter UNIQUE (election, shard, voter_pseudonym, revision);
        ALTER TABLE psephos.shard_heads ENABLE TRIGGER shard_heads_move_forward`);
    }
    const { result, evidence } = await reconcile(...rules);
    expect(result).toBe("ok");
    expect(evidence.not_checked.join()).not.toMatch(/constraints/);
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

describe("--repair", () => {
  interface Repaired extends Reconciled {
    readonly repaired: readonly {
      readonly instance: string;
      readonly shards: readonly {
        readonly shard: number;
        readonly rows: object;
        readonly head_sequence?: number;
      }[];
      readonly guards: readonly string[];
      readonly guards_left: readonly string[];
    }[];
    readonly left_alone: readonly { readonly shard: number; readonly reason: string }[];
  }

  const repairArgs = (of: TestElection) => [
    ...["reconcile", "--repair", "--json", "--election", of.id],
    ...["--shard-router", stack.stack.services["shard-router"].configFile],
  ];
  const environment = () => ({ env: { PSEPHOS_PROFILE: profile } });

  async function repair(of = election, expected = 0): Promise<Repaired> {
    const { status, stdout, stderr } = await psephos([...repairArgs(of), "--yes"], environment());
    expect(status, stdout + stderr).toBe(expected);
    return JSON.parse(stdout);
  }

  const tamper = (...change: string[]) =>
    asSuperuser(`SET session_replication_role = replica; ${change.join(";")}`);

  /** All that evidence says of the tables, and the rules on them. A request's token is in no evidence. */
  async function databases(): Promise<object[]> {
    const { rows } = await asSuperuser(`
      SELECT 'row' AS kind, ROW(election, shard, sequence, revision, cast_at, voter_pseudonym, sealed_choice, record_hash)::text
        AS what FROM psephos.records UNION ALL
      SELECT 'head', h::text FROM psephos.shard_heads h UNION ALL
      SELECT 'rule', conname || pg_get_constraintdef(oid) FROM pg_constraint
      WHERE connamespace = 'psephos'::regnamespace UNION ALL
      SELECT 'rule', tgname || tgenabled::text || pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1, 2`);
    return rows;
  }

  const noRows = { missing: 0, changed: 0, moved: 0, duplicate: 0 };

  async function expectWell(of: TestElection): Promise<void> {
    const args = ["verify", "--databases", "--evidence", stack.stack.folders.evidence, "--election", of.id];
    const { status, stdout, stderr } = await psephos(args, environment());
    expect(status, stdout + stderr).toBe(0);
  }

  test("where nothing is wrong says so, and changes nothing", async () => {
    const before = await databases();
    expect(await repair()).toMatchObject({ result: "ok", repaired: [], left_alone: [] });
    expect(await databases()).toEqual(before);
  });

  test("puts back rows that were changed, deleted, moved and doubled, a lost head, and the rules", async () => {
    const before = await databases();
    const last2 = await lastOf(2);
    await asSuperuser(`ALTER TABLE psephos.records DROP CONSTRAINT records_chain, DROP CONSTRAINT records_voter;
                       ALTER TABLE psephos.shard_heads DISABLE TRIGGER shard_heads_move_forward`);
    await tamper(
      `UPDATE psephos.records SET sealed_choice = set_byte(sealed_choice, 50, get_byte(sealed_choice, 50) # 1) WHERE ${at(0, 3)}`,
      `UPDATE psephos.records SET voter_pseudonym = sha256('x') WHERE ${at(0, 4)}`,
      `DELETE FROM psephos.records WHERE election = ${number} AND shard = 0 AND sequence BETWEEN 10 AND 12`,
      `UPDATE psephos.records SET sequence = 13 - sequence
       WHERE election = ${number} AND shard = 1 AND sequence IN (4, 9)`,
      `INSERT INTO psephos.records SELECT * FROM psephos.records WHERE ${at(1, 20)}`,
      `DELETE FROM psephos.records WHERE election = ${number} AND shard = 2`,
      `DELETE FROM psephos.shard_heads WHERE election = ${number} AND shard = 2`,
    );
    const { result, differences, repaired, left_alone } = await repair();
    expect({ result, differences, left_alone }).toEqual({ result: "ok", differences: [], left_alone: [] });
    expect(repaired).toMatchObject([
      {
        shards: [
          { shard: 0, rows: { ...noRows, missing: 3, changed: 2 } },
          { shard: 1, rows: { ...noRows, moved: 2, duplicate: 1 } },
          { shard: 2, rows: { ...noRows, missing: last2 }, head_sequence: last2 },
        ],
        guards: [
          "records_chain of records",
          "records_voter of records",
          "the trigger shard_heads_move_forward of shard_heads",
        ],
        guards_left: [],
      },
    ]);
    expect(await databases()).toEqual(before);
    await expectWell(election);
    expect(await repair()).toMatchObject({ repaired: [] });
  });

  test("moves the head of an older backup forward, to which nobody voted since", async () => {
    const last = await lastOf(1);
    await tamper(
      `DELETE FROM psephos.records WHERE election = ${number} AND shard = 1 AND sequence > 20`,
      `UPDATE psephos.shard_heads SET sequence = 20, sealed_sequence = 20,
         hash = (SELECT record_hash FROM psephos.records WHERE ${at(1, 20)})
       WHERE election = ${number} AND shard = 1`,
    );
    expect((await repair()).repaired).toMatchObject([
      { shards: [{ shard: 1, rows: { ...noRows, missing: last - 20 }, head_sequence: last }] },
    ]);
    await expectWell(election);
  });

  test("leaves a row after the end of the closed log alone, and says so", async () => {
    const last = await lastOf(3);
    await tamper(
      `INSERT INTO psephos.records SELECT ${last + 1}, cast_at, election, revision + 1, shard, voter_pseudonym,
         request_token, sealed_choice, record_hash FROM psephos.records WHERE ${at(3, last)}`,
      `UPDATE psephos.shard_heads SET sequence = ${last + 1} WHERE election = ${number} AND shard = 3`,
      `DELETE FROM psephos.records WHERE ${at(3, 2)}`,
    );
    const { differences, repaired } = await repair(election, 1);
    expect(repaired).toMatchObject([{ shards: [{ shard: 3, rows: { ...noRows, missing: 1 } }] }]);
    expect(differences).toMatchObject([{ kind: "unsealed", sequence: last + 1 }]);
    await tamper(
      `DELETE FROM psephos.records WHERE ${at(3, last + 1)}`,
      `UPDATE psephos.shard_heads SET sequence = ${last} WHERE election = ${number} AND shard = 3`,
    );
    expect((await repair()).repaired).toEqual([]);
  });

  test("changes nothing unless it is confirmed, by the election's id or --yes", async () => {
    await tamper(`DELETE FROM psephos.records WHERE ${at(0, 7)}`);
    const before = await databases();
    expect(await psephos(repairArgs(election), environment())).toMatchObject({
      status: 2,
      stdout: "",
      stderr: expect.stringContaining("say --yes"),
    });
    expect(await answered("yes")).toMatchObject({
      status: 2,
      said: expect.stringContaining("1 rows missing"),
    });
    expect(await databases()).toEqual(before);
    expect(await answered(election.id)).toMatchObject({ status: 0 });
    expect((await reconcile()).differences).toEqual([]);
  });

  /** On a terminal, which script(1) makes. */
  async function answered(answer: string): Promise<{ status: number | null; said: string }> {
    const command = [process.execPath, ...NODE_FLAGS, MAIN, ...repairArgs(election)];
    const child = spawn("script", ["-qec", command.map((word) => `'${word}'`).join(" "), "/dev/null"], {
      env: { ...process.env, ...environment().env },
    });
    let said = "";
    child.stdout.on("data", (chunk) => {
      said += chunk;
      if (said.includes("to go on: ") && child.stdin.writable) child.stdin.end(`${answer}\n`);
    });
    const [status] = await once(child, "close");
    return { status, said };
  }

  test("killed while it writes, leaves everything as it was, and can be run again", async () => {
    await tamper(`DELETE FROM psephos.records WHERE ${at(0, 7)}`);
    const before = await databases();
    {
      await using blocker = await superuser();
      await blocker.query("BEGIN; LOCK TABLE psephos.records IN SHARE MODE");
      const child = spawnPsephos([...repairArgs(election), "--yes"], environment());
      const killed = finished(child);
      await until("it holds the heads and waits to write", async () => {
        const waiting = "SELECT FROM pg_locks WHERE relation = 'psephos.records'::regclass AND NOT granted";
        return (await blocker.query(waiting)).rowCount !== 0;
      });
      child.kill("SIGKILL");
      expect((await killed).status).toBe("SIGKILL");
    }
    await until("its sessions have ended", async () => {
      const left = "SELECT FROM pg_stat_activity WHERE usename = 'psephos_owner'";
      return (await asSuperuser(left)).rowCount === 0;
    });
    expect(await databases()).toEqual(before);
    expect(await repair()).toMatchObject({
      result: "ok",
      repaired: [{ shards: [{ rows: { missing: 1 } }] }],
    });
  });

  test("is refused before anything is read when it is not said what to compare with and where to write", async () => {
    const of = (...args: string[]) =>
      psephos(["reconcile", "--election", election.id, ...args], environment());
    expect(await of("--repair", "--yes")).toMatchObject({
      status: 2,
      stderr: expect.stringContaining("--shard-router"),
    });
    expect(await of("--yes")).toMatchObject({ status: 2, stderr: expect.stringContaining("--repair") });
  });

  test("while votes are cast: none is lost, and who voted is refused", async () => {
    const open = await stack.createElection("repaired", { shards: SHARDS });
    const sealed = open.ballots(200);
    await open.cast(sealed);
    await until("they are public", async () => (await open.publishedSize()) > sealed.length);
    const { rows } = await asSuperuser("SELECT election FROM psephos.elections WHERE election_id = $1", [
      open.id,
    ]);
    const of = `election = ${rows[0].election}`;
    const casting = await open.startCasting({ window: 1 });
    await casting.acknowledged(20);
    await tamper(
      `DELETE FROM psephos.records WHERE ${of} AND shard = 0 AND sequence <= 20`,
      `UPDATE psephos.records SET cast_at = cast_at + 1 WHERE ${of} AND shard = 1 AND sequence = 7`,
      `DELETE FROM psephos.records WHERE ${of} AND shard = 2 AND sequence = 1`,
    );
    const { repaired } = await repair(open);
    expect(repaired).toMatchObject([
      {
        shards: [
          { shard: 0, rows: { ...noRows, missing: 20 } },
          { shard: 1, rows: { ...noRows, changed: 1 } },
          { shard: 2, rows: { ...noRows, missing: 1 } },
        ],
      },
    ]);
    await casting.acknowledged(20);
    await casting.stop();
    const client = await open.voter();
    for (const vote of sealed.slice(0, 40)) {
      const again = voteOf(open, { ...vote, requestId: `again ${vote.requestId}` });
      expect(await refusalOf(client.castVote(again))).toMatchObject({ kind: "already-exists" });
    }
    await open.drain();
    await open.expectExactly();
    await expectWell(open);
  });
});

test("a rule that is switched off is in the log, of every open election, and once", async () => {
  const open = await stack.createElection("guarded", { shards: SHARDS });
  await open.cast(open.ballots(20));
  /** Manifest, votes and so many events. */
  const published = (events: number) =>
    until(`${events} events are public`, async () => (await open.publishedSize()) === 21 + events);
  const { "shard-router": router, "audit-service": audit } = stack.stack.services;
  await asSuperuser("ALTER TABLE psephos.shard_heads DISABLE TRIGGER shard_heads_move_forward");
  // Each looks when it starts. AuditService goes round without a pause from here on.
  audit.config = { ...audit.config, reconcile: { pause_ms: 100 } };
  await Promise.all([router.restart(), audit.restart()]);
  await published(1);
  const guard = "the trigger shard_heads_move_forward of shard_heads";
  const first = { differences: [], broken_guards: [{ instance: "postgres-0", guard }], more: 0 };
  expect(await reconciliations(open)).toEqual([first]);

  // Put right, and a row changed: the next event is of what is new.
  await asSuperuser("ALTER TABLE psephos.shard_heads ENABLE TRIGGER shard_heads_move_forward");
  const { rows } = await asSuperuser(
    `DELETE FROM psephos.records WHERE shard = 0 AND sequence = 1 AND election =
       (SELECT election FROM psephos.elections WHERE election_id = $1) RETURNING *`,
    [open.id],
  );
  expect(rows).toHaveLength(1);
  await published(2);
  const missing = { kind: "missing", shard: 0, sequence: 1, last_sequence: 1, checkpoint: 1 };
  expect(await reconciliations(open)).toEqual([
    first,
    { differences: [missing], broken_guards: [], more: 0 },
  ]);
  await open.expectSealed();
});

/** What the events of a log say was found. */
async function reconciliations({ id, evidence }: TestElection): Promise<JsonObject[]> {
  const found: JsonObject[] = [];
  for await (const key of evidence.list(votesPrefix(id))) {
    const segment = parseSegmentKey(key) && (await readSegment(evidence, key));
    for (const entry of segment?.segment.entries ?? []) {
      if (entry.type !== "event") continue;
      const { kind, details } = parseEvent(entry.note);
      if (kind === "reconciliation") found.push(details);
    }
  }
  return found;
}

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

test("evidence that does not verify is no measure of anything, and nothing is written from it", async () => {
  let key = "";
  for await (key of election.evidence.list(`${election.id}/votes/checkpoint_0000000001/entries_`)) break;
  const file = join(stack.stack.folders.evidence, key);
  const bytes = await readFile(file);
  await asSuperuser(`DELETE FROM psephos.records WHERE ${at(0, 1)}`);
  const { configFile } = stack.stack.services["shard-router"];
  const args = ["reconcile", "--election", election.id];
  const repair = [...args, "--repair", "--yes", "--shard-router", configFile];
  const env = { PSEPHOS_PROFILE: profile };

  // One bit of a record is changed, and then all of them are gone.
  await rm(file);
  bytes.writeUInt8(bytes.readUInt8(bytes.length >> 1) ^ 1, bytes.length >> 1);
  await writeFile(file, bytes);
  for (const gone of [false, true]) {
    if (gone) await rm(file);
    const refused = await psephos(repair, { env });
    expect(refused.stdout).toContain(key);
    expect(refused).toMatchObject({
      status: 1,
      stdout: expect.stringContaining("the evidence itself does not verify"),
      stderr: expect.stringContaining("nothing was changed"),
    });
  }
  expect((await asSuperuser(`SELECT FROM psephos.records WHERE ${at(0, 1)}`)).rowCount).toBe(0);
  const { status, stdout } = await psephos(args, { env });
  expect(status).toBe(1);
  expect(stdout).toContain("the evidence itself does not verify");
});

async function lastOf(shard: number): Promise<number> {
  const { rows } = await asSuperuser(
    `SELECT max(sequence)::int AS last FROM psephos.records WHERE election = ${number} AND shard = ${shard}`,
  );
  return rows[0].last;
}

// Every database and the stream are lost. `psephos restore`, as an operator runs it, makes them again from the evidence, and
// the elections go on.
import { type ChildProcess, spawnSync } from "node:child_process";
import { cp, readdir, readFile, realpath, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { LocalPostgres } from "../../deploy/local/postgres.ts";
import type { ServiceName } from "../../deploy/local/service-configs.ts";
import { TemporaryFolder } from "../../deploy/local/temporary-folder.ts";
import { VoteService } from "../../gen/ts/psephos/vote/v1/vote_pb.js";
import { manifestHash } from "../ballot/manifest.ts";
import { shardOf, VoterKey } from "../ballot/voter-key.ts";
import type { VoteToCast } from "../cli/vote-caster.ts";
import { fromBase64 } from "../core/bytes.ts";
import { parseSegmentKey } from "../evidence/layout.ts";
import { decodeSegment, encodeSegment } from "../evidence/segment.ts";
import { type Finished, finished, psephos, spawnPsephos, writeProfile } from "./cli-fixture.ts";
import { refusalOf, type TestElection, TestStack, until, voteOf } from "./election-fixture.ts";

const OPEN_VOTES = 2_500;
const CLOSED_VOTES = 800;

let stack: TestStack;
let folder: TemporaryFolder;
let profile: string;
let open: TestElection;
let closed: TestElection;
/** Votes of the open election that were recorded and sealed before everything was lost. */
let sealed: VoteToCast[];
let rules: object[];

beforeAll(async () => {
  folder = await TemporaryFolder.create();
  stack = await TestStack.start({ postgresInstances: 2 });
  profile = await writeProfile(stack, folder.path);
  [closed, open] = [await stack.createElection("closed"), await stack.createElection("open")];
  sealed = open.ballots(OPEN_VOTES);
  await Promise.all([closed.cast(closed.ballots(CLOSED_VOTES)), open.cast(sealed)]);
  await closed.drain();
  await published(open);
  rules = await constraints(0);
});
afterAll(async () => {
  await stack?.[Symbol.asyncDispose]();
  await folder?.[Symbol.asyncDispose]();
});

/** Resolves when all that is recorded is signed and public. */
async function published(election: TestElection): Promise<void> {
  const size = (await election.recorded()) + 1;
  await until(
    `${size} entries of ${election.id} are public`,
    async () => (await election.publishedSize()) === size,
  );
}

const inFolder = (name: string) => join(folder.path, name);

function restoreArgs(...more: string[]): string[] {
  const config = (name: ServiceName) => stack.stack.services[name].configFile;
  return [
    ...["restore", "--shard-router", config("shard-router"), "--audit-service", config("audit-service")],
    ...["--yes", "--json", ...more],
  ];
}

const environment = () => ({ env: { PSEPHOS_PROFILE: profile } });

function restore(...more: string[]): Promise<Finished> {
  return psephos(restoreArgs(...more), environment());
}

const publisherConfig = () => ["--publisher", stack.stack.services.publisher.configFile];
const publicFolder = () => ["--public", stack.stack.folders.public];

/** What a restore did that went well. */
async function restored(...more: string[]) {
  const { status, stdout, stderr } = await restore(...more);
  expect(status, stderr).toBe(0);
  return JSON.parse(stdout);
}

/** What one says that was refused. */
async function refused(status: number, ...more: string[]): Promise<string> {
  const result = await restore(...more);
  expect({ status: result.status, stdout: result.stdout }, result.stderr).toEqual({ status, stdout: "" });
  return result.stderr;
}

async function query<Row extends object>(
  instance: 0 | 1,
  role: "postgres" | "psephos_router",
  sql: string,
): Promise<Row[]> {
  const postgres = stack.stack.postgres[instance];
  const client = new pg.Client(await postgres?.clientConfig(role));
  await client.connect();
  try {
    return (await client.query<Row>(sql)).rows;
  } finally {
    await client.end();
  }
}

async function recordsOn(instance: 0 | 1): Promise<number> {
  const [row] = await query<{ n: number }>(
    instance,
    "postgres",
    "SELECT count(*)::integer AS n FROM psephos.records",
  );
  return row?.n ?? 0;
}

const SERVICES = ["vote-service", "audit-service", "shard-router", "publisher"] as const;

async function stopServices(): Promise<void> {
  await Promise.all(SERVICES.map((name) => stack.stack.services[name].stop()));
}

async function startServices(): Promise<void> {
  const { services } = stack.stack;
  await Promise.all([services["shard-router"].start(), services.publisher.start()]);
  await Promise.all([services["vote-service"].start(), services["audit-service"].start()]);
  // A client that was there before tries again after up to three seconds, and until then refuses at once.
  for (const election of [open, closed]) {
    await until("VoteService is reached again", () =>
      election.recorded().then(
        () => true,
        () => false,
      ),
    );
  }
}

/** What keeps the rules of the tables of votes. */
async function constraints(instance: 0 | 1): Promise<object[]> {
  return query(
    instance,
    "postgres",
    `SELECT conrelid::regclass::text AS table, conname, pg_get_constraintdef(oid) AS rule
     FROM pg_constraint WHERE connamespace = 'psephos'::regnamespace ORDER BY 1, 2`,
  );
}

/** The end of these databases, the stream and the tiles; and new, empty servers in their places. */
async function lose(databases: readonly LocalPostgres[]): Promise<void> {
  await stopServices();
  const { nats, folders } = stack.stack;
  const state = dirname(folders.tiles);
  await Promise.all(
    databases.map(async (server) => {
      await server.stop();
      // It may lie elsewhere: deploy/local/postgres-account.ts.
      await rm(dirname(await realpath(join(state, server.name, "data"))), { recursive: true, force: true });
      await rm(join(state, server.name), { recursive: true, force: true });
      await server.start();
    }),
  );
  await nats.stop();
  await rm(join(state, "nats"), { recursive: true, force: true });
  await rm(folders.tiles, { recursive: true, force: true });
  await nats.start();
}

async function expectVerified(): Promise<void> {
  for (const { id, manifest } of [open, closed]) {
    const args = ["verify", "--databases", "--json", "--election", id, "--log-key", manifest.logKey];
    const { status, stdout, stderr } = await psephos(args, environment());
    expect(status, stdout + stderr).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ result: "ok", problems: [], not_checked: [] });
  }
}

/** Who has voted stays so, with the same request and with another; who has not votes, and the log goes on. */
async function expectToGoOn(votes: number): Promise<void> {
  const client = await stack.client(VoteService, "client/test");
  for (const ballot of [sealed[0], sealed.at(-1)]) {
    if (!ballot) throw new RangeError("no votes");
    for (const requestId of [ballot.requestId, "another request"]) {
      const refusal = await refusalOf(client.castVote(voteOf(open, { ...ballot, requestId })));
      expect(refusal).toMatchObject({ kind: "already-exists", reason: "ALREADY_VOTED" });
    }
  }
  const late = await refusalOf(client.castVote(voteOf(closed, closed.ballot())));
  expect(late).toMatchObject({ kind: "failed-precondition", reason: "CLOSED" });
  expect(await open.cast(open.ballots(votes))).toMatchObject({ recorded: votes, refused: 0 });
  await published(open);
}

describe("everything is lost", () => {
  test("while services run, nothing is touched", async () => {
    const said = await refused(2, ...publicFolder());
    expect(said).toMatch(/psephos_(router|audit).* connected to instance postgres-0: stop the services/);
    expect(await refused(2, ...publisherConfig())).toContain("the Publisher is running");
    expect(await open.cast(open.ballots(100))).toMatchObject({ recorded: 100 });
    await published(open);
    await lose(stack.stack.postgres);
  });

  test("without a public checkpoint it asks for one", async () => {
    expect(await refused(2, "--public", inFolder("nowhere"))).toMatch(
      /no public checkpoint of closed, open, so nothing shows that the evidence is complete/,
    );
    expect(await refused(3)).toContain("ECONNREFUSED"); // The profile's public endpoint, which is down.
  });

  test("a record that was changed is refused with its place, and nothing is written", async () => {
    const evidence = inFolder("tampered");
    await cp(stack.stack.folders.evidence, evidence, { recursive: true, preserveTimestamps: true });
    const place = await changeARecord(evidence, "open");
    const said = await refused(1, ...publicFolder(), ...(await withEvidence(evidence)));
    expect(said).toContain(`the evidence of open does not verify`);
    expect(said).toContain(
      `PROBLEM ${place.key}, index ${place.index}, shard ${place.shard}, sequence ${place.sequence}:`,
    );
    expect(said).toContain("Nothing was written");
    expect([await recordsOn(0), await recordsOn(1)]).toEqual([0, 0]);
    expect(await query(0, "psephos_router", "SELECT election FROM psephos.elections")).toEqual([]);
  });

  test("evidence that ends before the public checkpoint is refused", async () => {
    const evidence = inFolder("shortened");
    await cp(stack.stack.folders.evidence, evidence, { recursive: true, preserveTimestamps: true });
    const block = join(evidence, "open", "votes", "checkpoint_0000000001");
    await rm(join(block, (await readdir(block)).sort().at(-1) ?? ""));
    const size = OPEN_VOTES + 101;
    const said = await refused(1, ...publicFolder(), ...(await withEvidence(evidence)));
    expect(said).toMatch(new RegExp(`the public log has ${size} entries, the evidence \\d+`));
    expect([await recordsOn(0), await recordsOn(1)]).toEqual([0, 0]);
  });

  test("killed midway, it keeps the services out and is run again", async () => {
    const child = await killedMidway();
    expect(child.signalCode).toBe("SIGKILL");
    expect(await recordsOn(0)).toBeGreaterThan(0);
    const knock = () => query(0, "psephos_router", "SELECT 1");
    await expect(knock()).rejects.toThrow("permission denied for database");

    // A run that is refused lets nobody into what another one left half written.
    const said = await refused(1, ...publicFolder(), ...(await withEvidence(inFolder("tampered"))));
    expect(said).toContain("Nothing was written");
    expect(said).toContain("the services cannot connect to postgres-0, postgres-1");
    await expect(knock()).rejects.toThrow("permission denied for database");

    const first = await restored(...publicFolder());
    expect(first).toMatchObject({ votes: OPEN_VOTES + 100 + CLOSED_VOTES });
    const [one, other] = first.elections;
    expect(one).toMatchObject({
      election_id: "closed",
      state: "closed",
      votes: CLOSED_VOTES,
      log_size: CLOSED_VOTES + 2,
    });
    expect(one.votes_written).toBeLessThan(CLOSED_VOTES);
    expect(other).toMatchObject({ election_id: "open", state: "open", votes: OPEN_VOTES + 100 });
    expect(other).toMatchObject({
      checkpoint_size: OPEN_VOTES + 101,
      unsealed_votes_found: 0,
      publisher_files: false,
    });
    expect(other.newest_sealed).toHaveLength(16);
    expect(other.newest_sealed.reduce((sum: number, sequence: number) => sum + sequence, 0)).toBe(
      OPEN_VOTES + 100,
    );
    expect(new Set([one.number, other.number])).toEqual(new Set([1, 2]));
    expect(await constraints(0)).toEqual(rules);
    expect(await constraints(1)).toEqual(rules);
    await knock();
    for (const id of ["open", "closed"]) {
      expect(await readdir(join(stack.stack.folders.tiles, id))).toContain("complete"); // Not to be made once more.
    }
  });

  test("once more changes nothing", async () => {
    const again = await restored(...publisherConfig());
    expect(again.elections).toMatchObject([
      { votes: CLOSED_VOTES, votes_written: 0, publisher_files: false },
      { votes: OPEN_VOTES + 100, votes_written: 0, publisher_files: false },
    ]);
  });

  test("a database with anything else in it is refused", async () => {
    const change = (to: string) =>
      query(
        1,
        "postgres",
        `UPDATE psephos.records SET cast_at = cast_at ${to} WHERE shard = 1 AND sequence = 7`,
      );
    await change("+ 1");
    const said = await refused(1, ...publicFolder());
    expect(said).toContain(
      "instance postgres-1 has something else of closed than the evidence: shard 1: sequence 7",
    );
    await change("- 1");
  });

  test("the elections go on, and the Publisher signs what continues its log", async () => {
    await startServices();
    await expectVerified();
    await expectToGoOn(300);
    const next = await stack.createElection("next");
    expect(await next.cast(next.ballots(20))).toMatchObject({ recorded: 20 });
    await published(next);
    await closed.expectExactly();
  });
});

describe("the control instance is lost, and of the Publisher all but its key and a public folder", () => {
  test("what is left of both goes on, votes that were not sealed included", async () => {
    await stack.stack.services["audit-service"].stop();
    const unsealed = await ballotsOn(1, 50);
    expect(await open.cast(unsealed)).toMatchObject({ recorded: 50 });
    const checkpoint = inFolder("closed.checkpoint");
    await cp(join(stack.stack.folders.public, "closed", "checkpoint"), checkpoint);
    await lose(stack.stack.postgres.slice(0, 1));
    await rm(stack.stack.folders.publisherState, { recursive: true, force: true });
    await rm(join(stack.stack.folders.public, "closed"), { recursive: true, force: true });

    const { elections } = await restored(...publisherConfig(), "--checkpoint", checkpoint);
    expect(elections).toMatchObject([
      { election_id: "closed", state: "closed", votes: CLOSED_VOTES, publisher_files: true },
      { election_id: "next", state: "open", votes: 20, publisher_files: true },
      { election_id: "open", state: "open", votes: OPEN_VOTES + 400, publisher_files: true },
    ]);
    expect(elections[0].votes_written).toBeGreaterThan(0);
    expect(elections[0].votes_written).toBeLessThan(CLOSED_VOTES);
    expect(elections[2].unsealed_votes_found).toBe(50);
    expect(
      spawnSync("cmp", [checkpoint, join(stack.stack.folders.public, "closed", "checkpoint")]).status,
    ).toBe(0);

    await startServices();
    await expectToGoOn(200);
    await open.drain();
    await open.expectExactly();
    await closed.expectExactly();
  });
});

/** Ballots of voters whose shards are on one of the two instances. */
async function ballotsOn(instance: 0 | 1, count: number): Promise<VoteToCast[]> {
  const secret = await readFile(stack.stack.folders.voterSecretFile, "utf8");
  const key = VoterKey.derive(fromBase64(secret.trim()), manifestHash(open.manifest));
  const found: VoteToCast[] = [];
  while (found.length < count) {
    const ballot = open.ballot();
    if (shardOf(key.pseudonym(ballot.voterId), open.manifest.shards) % 2 === instance) found.push(ballot);
  }
  return found;
}

/** AuditService's configuration with another evidence store, which is given after the first and counts. */
async function withEvidence(directory: string): Promise<string[]> {
  const config = JSON.parse(await readFile(stack.stack.services["audit-service"].configFile, "utf8"));
  const file = inFolder("audit-service.json");
  await writeFile(file, JSON.stringify({ ...config, evidence: { directory } }));
  return ["--audit-service", file];
}

/** Changes a vote's time in a segment, which is otherwise well formed. */
async function changeARecord(directory: string, election: string) {
  const block = join(directory, election, "votes", "checkpoint_0000000001");
  for (const name of (await readdir(block)).sort().toReversed()) {
    const key = `${election}/votes/checkpoint_0000000001/${name}`;
    if (!parseSegmentKey(key)) continue;
    const segment = decodeSegment(await readFile(join(block, name)));
    const offset = segment.entries.findLastIndex((entry) => entry.type === "vote");
    const entry = segment.entries[offset];
    if (entry?.type !== "vote") continue;
    const record = { ...entry.record, castAt: entry.record.castAt + 1 };
    await rm(join(block, name));
    await writeFile(
      join(block, name),
      encodeSegment({ ...segment, entries: segment.entries.with(offset, { type: "vote", record }) }),
    );
    return { key, index: segment.firstIndex + offset, shard: record.shard, sequence: record.sequence };
  }
  throw new RangeError("there is no vote");
}

/** A restore that is killed when one instance has its records of the first election, and the other waits to write. */
async function killedMidway(): Promise<ChildProcess> {
  const blocker = new pg.Client(await stack.stack.postgres[1]?.clientConfig("postgres"));
  await blocker.connect();
  try {
    await blocker.query("SELECT pg_advisory_lock(1)");
    await blocker.query(`CREATE FUNCTION psephos.wait() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN PERFORM pg_advisory_lock_shared(1); RETURN NULL; END $$`);
    await blocker.query(`CREATE TRIGGER wait BEFORE INSERT ON psephos.records
      FOR EACH STATEMENT EXECUTE FUNCTION psephos.wait()`);
    const child = spawnPsephos(restoreArgs(...publicFolder()), environment());
    const end = finished(child);
    const half = CLOSED_VOTES / 4;
    await until("one instance has records", async () => (await recordsOn(0)) > half);
    child.kill("SIGKILL");
    await end;
    // What it had sent may still be written now that it is gone: the next run has to wait for that.
    await blocker.query("SELECT pg_advisory_unlock(1)");
    await blocker.query("DROP FUNCTION psephos.wait CASCADE");
    return child;
  } finally {
    await blocker.end();
  }
}

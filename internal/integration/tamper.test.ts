// Somebody with every right on a machine changes what lies there. `psephos verify`, as anybody would run it, fails and
// names the place; and a signer is offered another history.
import { chmod, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { TemporaryFolder } from "../../deploy/local/temporary-folder.ts";
import { AuditService, SealingState } from "../../gen/ts/psephos/audit/v1/audit_pb.js";
import { DigestService } from "../../gen/ts/psephos/digest/v1/digest_pb.js";
import { encodeEntry } from "../ballot/entry.ts";
import { encodeManifest } from "../ballot/manifest.ts";
import { utf8 } from "../core/bytes.ts";
import { sequence, shardId } from "../core/ids.ts";
import { sha256 } from "../core/sha256.ts";
import { parseSegmentKey, votesPrefix } from "../evidence/layout.ts";
import { decodeSegment, logEntryOf } from "../evidence/segment.ts";
import { GrowingTree } from "../tlog/growing-tree.ts";
import { psephos, writeProfile } from "./cli-fixture.ts";
import { refusalOf, type TestElection, TestStack, until } from "./election-fixture.ts";

let stack: TestStack;
let folder: TemporaryFolder;
let profile: string;

beforeAll(async () => {
  folder = await TemporaryFolder.create();
  stack = await TestStack.start();
  profile = await writeProfile(stack, folder.path);
});
afterAll(async () => {
  await stack?.[Symbol.asyncDispose]();
  await folder?.[Symbol.asyncDispose]();
});

interface Report {
  readonly result: "ok" | "failed";
  readonly problems: readonly {
    readonly object?: string;
    readonly index?: number;
    readonly shard?: number;
    readonly sequence?: number;
    readonly problem: string;
  }[];
}

/** What `psephos verify` says, and what its exit status means. */
async function verify({ id, manifest }: TestElection, ...options: string[]): Promise<Report> {
  const args = ["verify", "--json", "--election", id, "--log-key", manifest.logKey, ...options];
  const { status, stdout, stderr } = await psephos(args, { env: { PSEPHOS_PROFILE: profile } });
  expect(status, stderr).toBe(status === 0 ? 0 : 1);
  const report: Report = JSON.parse(stdout);
  expect(report.result).toBe(status === 0 ? "ok" : "failed");
  return report;
}

/** Replaces a file whose writer made it read-only. */
async function overwrite(file: string, bytes: Uint8Array): Promise<void> {
  const { mode } = await stat(file);
  await rm(file);
  await writeFile(file, bytes);
  await chmod(file, mode);
}

/** Changes one byte of a file for as long as `during` takes. */
async function withChangedByte<T>(file: string, at: number, during: () => Promise<T>): Promise<T> {
  const original = await readFile(file);
  const changed = Uint8Array.from(original);
  const position = at < 0 ? changed.length + at : at;
  changed[position] = (changed[position] ?? 0) ^ 1;
  await overwrite(file, changed);
  try {
    return await during();
  } finally {
    await overwrite(file, original);
  }
}

/** Runs a statement as the superuser of the database that holds the votes. */
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

/** Flips a bit of a record's sealed choice; twice is not at all. */
async function changeRow({ id }: TestElection, shard: number, seq: number): Promise<void> {
  const { rowCount } = await asSuperuser(
    `UPDATE psephos.records SET sealed_choice = set_byte(sealed_choice, 50, get_byte(sealed_choice, 50) # 1)
     WHERE election = (SELECT election FROM psephos.elections WHERE election_id = $1) AND shard = $2 AND sequence = $3`,
    [id, shard, seq],
  );
  expect(rowCount).toBe(1);
}

describe("a changed byte", () => {
  let election: TestElection;

  beforeAll(async () => {
    election = await stack.createElection("tampered");
    await election.cast(election.ballots(700));
    await election.drain();
    expect(await verify(election, "--databases")).toMatchObject({ result: "ok", problems: [] });
  });

  const inPublic = (path: string) => join(stack.stack.folders.public, election.id, path);

  test.each([
    ["checkpoint", 30],
    ["checkpoint", -20],
    ["checkpoints/0000000001", 40],
    ["manifest.json", 100],
    ["tile/entries/001", 1_000],
    ["tile/0/000", 4_000],
    ["tile/0/002.p/190", -1],
    ["tile/1/000.p/2", 0],
  ])("in the public %s", async (path, at) => {
    const { problems } = await withChangedByte(inPublic(path), at, () => verify(election));
    expect(problems.map(({ object }) => object)).toEqual([path]);
  });

  test("in a segment", async () => {
    const keys: string[] = [];
    for await (const key of election.evidence.list(votesPrefix(election.id))) keys.push(key);
    const key = keys.filter((name) => parseSegmentKey(name)).at(-2) ?? "";
    const { problems } = await withChangedByte(join(stack.stack.folders.evidence, key), 200, () =>
      verify(election),
    );
    expect(new Set(problems.map(({ object }) => object))).toEqual(new Set([key]));
    expect(problems).toContainEqual(expect.objectContaining({ index: parseSegmentKey(key)?.first }));
  });

  test("in a vote checkpoint", async () => {
    const key = `${election.id}/votes/checkpoint_0000000001/checkpoint.json`;
    const { problems } = await withChangedByte(join(stack.stack.folders.evidence, key), -100, () =>
      verify(election),
    );
    expect(problems.map(({ object }) => object)).toContain(key);
  });

  test("in a record in Postgres: the databases do not verify, what was sealed does", async () => {
    await changeRow(election, 5, 7);
    try {
      const { problems } = await verify(election, "--databases");
      expect(problems).toEqual([
        {
          shard: 5,
          sequence: 7,
          problem: expect.stringMatching(/^its hash does not cover .*, in the database$/),
        },
      ]);
      expect(await verify(election)).toMatchObject({ result: "ok" });
    } finally {
      await changeRow(election, 5, 7);
    }
  });

  test("undone: everything verifies again", async () => {
    expect(await verify(election, "--databases")).toMatchObject({ result: "ok", problems: [] });
  });
});

test("a record that is changed before it is sealed: sealing halts and says where, and votes are still taken", async () => {
  const election = await stack.createElection("unsealed", { shards: 2 });
  const { services, nats } = stack.stack;
  // A new connection each time: one that the restart broke takes its time to come back.
  const head = async () => {
    const audit = await stack.client(AuditService, "operator/test");
    return (await audit.getHead({ electionId: election.id })).head;
  };
  await election.cast(election.ballots(40));
  await until("the votes are signed", async () => (await election.publishedSize()) === 41);

  await services["audit-service"].stop();
  await election.cast(election.ballots(40));
  // The stream has the records as they were: without it, the shard's table is all there is.
  await nats.stop();
  await nats.wipe();
  await nats.start();
  const { rows } = await asSuperuser(
    `SELECT max(sequence)::int AS last FROM psephos.records
     WHERE election = (SELECT election FROM psephos.elections WHERE election_id = $1) AND shard = 1`,
    [election.id],
  );
  const last: number = rows[0].last;
  await changeRow(election, 1, last);
  await services["audit-service"].start();

  await until("sealing is halted", async () => (await head())?.state === SealingState.HALTED);
  const halted = await head();
  expect(halted?.haltedBecause).toMatch(new RegExp(`^shard 1, sequence ${last}: its hash does not cover`));
  await election.cast(election.ballots(10));
  expect(await election.recorded()).toBe(90);
  expect((await head())?.treeSize).toBe(halted?.treeSize);

  const { status, stdout } = await psephos(["status", "--json", "--election", election.id], {
    env: { PSEPHOS_PROFILE: profile },
  });
  expect(status).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({
    sealing: "halted",
    halted_because: halted?.haltedBecause,
    votes: 90,
  });
  const { problems } = await verify(election, "--databases");
  expect(problems).toMatchObject([{ shard: 1, sequence: last }]);
});

describe("a head offered to the Publisher", () => {
  let election: TestElection;
  /** The log's entries, as they are sealed. */
  let entries: Uint8Array[];

  beforeAll(async () => {
    election = await stack.createElection("forked");
    await election.cast(election.ballots(20));
    await until("the votes are signed", async () => (await election.publishedSize()) === 21);
    // Whoever offers heads now is not AuditService.
    await stack.stack.services["audit-service"].stop();
    entries = [];
    for await (const key of election.evidence.list(votesPrefix(election.id))) {
      const body = await election.evidence.get(key);
      if (body) entries.push(...decodeSegment(body).entries.map((entry) => encodeEntry(logEntryOf(entry))));
    }
    expect(entries).toHaveLength(21);
  });

  const offer = async (identity: string, tree: GrowingTree) => {
    const client = await stack.client(DigestService, identity);
    return client.submitHead({
      electionId: election.id,
      treeSize: BigInt(tree.size),
      root: tree.root(),
      manifest: encodeManifest(election.manifest),
      endsBlock: false,
    });
  };
  const treeOf = (all: readonly Uint8Array[]) => {
    const tree = GrowingTree.empty();
    for (const entry of all) tree.append(entry);
    return tree;
  };
  const forgedVote = (shard: number, seq: number) =>
    encodeEntry({
      type: "vote",
      shard: shardId(shard),
      sequence: sequence(seq),
      recordHash: sha256(utf8("forged")),
    });

  /** Everything the Publisher has shown and remembers, by path. */
  async function publisherFiles(): Promise<Map<string, string>> {
    const files = new Map<string, string>();
    for (const root of [stack.stack.folders.public, stack.stack.folders.publisherState]) {
      for (const entry of await readdir(root, { recursive: true, withFileTypes: true })) {
        const path = join(entry.parentPath, entry.name);
        if (entry.isFile()) files.set(path, await readFile(path, "latin1"));
      }
    }
    return files;
  }

  test("that is the signed one gets its note again", async () => {
    const { note } = await offer("service/audit-service", treeOf(entries));
    expect(utf8(note)).toEqual(await election.source("checkpoint"));
  });

  test("of another root at the same size, by AuditService's own identity: refused, and nothing changes", async () => {
    const before = await publisherFiles();
    const forked = treeOf([...entries.slice(0, -1), forgedVote(3, 1)]);
    const refusal = await refusalOf(offer("service/audit-service", forked));
    expect(refusal).toMatchObject({ kind: "data-loss", reason: "FORKED_HEAD" });
    expect(await publisherFiles()).toEqual(before);
  });

  test("that rewrites an entry and then goes on, tiles and all: refused, and nothing changes", async () => {
    const before = await publisherFiles();
    const forked = treeOf([...entries.slice(0, 5), forgedVote(3, 1), ...entries.slice(6), forgedVote(0, 99)]);
    // AuditService's tile store, which the Publisher reads, has the forger's tiles.
    const written: string[] = [];
    for (const { path, bytes } of forked.takeTiles()) {
      const file = join(stack.stack.folders.tiles, election.id, path);
      written.push(file);
      await writeFile(file, bytes, { flag: "wx" });
    }
    const refusal = await refusalOf(offer("service/audit-service", forked));
    expect(refusal).toMatchObject({ kind: "data-loss", reason: "FORKED_HEAD" });
    expect(await publisherFiles()).toEqual(before);
    for (const file of written) await rm(file);
  });

  test.each([
    "service/vote-service",
    "service/shard-router",
    "service/publisher",
    "operator/local",
    "client/local",
    "auditor/local",
  ])("by %s: refused, whatever it is", async (identity) => {
    const refusal = await refusalOf(offer(identity, treeOf(entries)));
    expect(refusal.kind).toBe("permission-denied");
  });

  test("honestly, afterwards, is signed: the log ends with every vote", async () => {
    await stack.stack.services["audit-service"].start();
    await election.cast(election.ballots(20));
    await election.drain();
    await election.expectExactly();
    expect(await verify(election, "--databases")).toMatchObject({ result: "ok" });
  });
});

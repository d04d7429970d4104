// Whoever changes what is kept is found, and the place is named: in Postgres, in the evidence, in what is public; and
// nobody gets a fork signed.
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Client } from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { AuditService, SealingState } from "../../gen/ts/psephos/audit/v1/audit_pb.js";
import { DigestService } from "../../gen/ts/psephos/digest/v1/digest_pb.js";
import { ShardRouterService } from "../../gen/ts/psephos/shard/v1/shard_pb.js";
import { decodeRun } from "../audit/record-message.ts";
import { encodeManifest } from "../ballot/manifest.ts";
import type { VoteRecord } from "../ballot/record.ts";
import type { ShardId } from "../core/ids.ts";
import { sha256 } from "../core/sha256.ts";
import { checkpointKey, parseSegmentKey, votesPrefix } from "../evidence/layout.ts";
import { type Problem, VerificationReport } from "../verify/report.ts";
import { verifyEvidence } from "../verify/verify-evidence.ts";
import { verifyPublicLog } from "../verify/verify-public.ts";
import { verifyShards } from "../verify/verify-shards.ts";
import { refusalOf, type TestElection, TestStack, until } from "./election-fixture.ts";

let stack: TestStack;
let election: TestElection;

beforeAll(async () => {
  stack = await TestStack.start();
  election = await stack.createElection("tampered");
  await election.cast(election.ballots(1_500));
  await election.drain();
  expect(await problems()).toEqual([]);
});
afterAll(() => stack?.[Symbol.asyncDispose]());

/** What a verification of everything finds. */
async function problems(): Promise<readonly Problem[]> {
  const { id: electionId, manifest, source, evidence: store } = election;
  const report = new VerificationReport();
  const log = await verifyPublicLog({ source, electionId, report, logKey: manifest.logKey });
  const known = log && { size: log.checkpoint.size, root: log.checkpoint.root };
  const evidence = await verifyEvidence({ store, electionId, report, logKey: manifest.logKey, known });
  await verifyShards({
    readChain: await chains(),
    shards: manifest.shards,
    manifestHash: sha256(encodeManifest(manifest)),
    sealedHeads: evidence?.shardHeads,
    closed: true,
    report,
  });
  return report.problems;
}

/** The databases' chains, as an auditor reads them through ShardRouter. */
async function chains(): Promise<(shard: ShardId) => AsyncIterable<readonly VoteRecord[]>> {
  const router = await stack.client(ShardRouterService, "auditor/test");
  return async function* (shard) {
    for await (const { run } of router.readChain({ electionId: election.id, shard, firstSequence: 1n })) {
      if (run) yield decodeRun(run);
    }
  };
}

/** Runs as somebody who owns the database, past its roles and triggers. */
async function asSuperuser(sql: string, values: unknown[] = []): Promise<Record<string, unknown>[]> {
  const [control] = stack.stack.postgres;
  if (control === undefined) throw new Error("there is no Postgres");
  const client = new Client(await control.clientConfig("postgres"));
  await client.connect();
  try {
    await client.query("SET session_replication_role = replica");
    return (await client.query(sql, values)).rows;
  } finally {
    await client.end();
  }
}

/** Changes one byte in the middle of a file while `use` runs. */
async function withChangedByte(file: string, use: () => Promise<void>): Promise<void> {
  const bytes = await readFile(file);
  const changed = Buffer.from(bytes);
  const at = Math.floor(bytes.length / 2);
  changed[at] = (changed[at] ?? 0) ^ 0x01;
  await writeFile(file, changed);
  try {
    await use();
  } finally {
    await writeFile(file, bytes);
  }
  expect(await problems()).toEqual([]);
}

describe("one changed byte is found, and its place named", () => {
  test.each(["voter_pseudonym", "sealed_choice", "record_hash"])(
    "in a Postgres record's %s",
    async (column) => {
      const place =
        "election = (SELECT election FROM psephos.elections WHERE election_id = 'tampered') AND shard = 5 AND sequence = 7";
      const flip = `UPDATE psephos.records SET ${column} = set_byte(${column}, 9, get_byte(${column}, 9) # 1) WHERE ${place}`;
      await asSuperuser(flip);
      const found = await problems();
      await asSuperuser(flip);
      expect(found).toEqual([expect.objectContaining({ shard: 5, sequence: 7 })]);
      expect(await problems()).toEqual([]);
    },
  );

  test("in a segment", async () => {
    const keys: string[] = [];
    for await (const key of election.evidence.list(votesPrefix(election.id))) {
      if (parseSegmentKey(key)) keys.push(key);
    }
    const key = keys[1] ?? "";
    await withChangedByte(join(stack.stack.folders.evidence, key), async () => {
      expect(await problems()).toContainEqual(
        expect.objectContaining({ object: key, index: parseSegmentKey(key)?.first }),
      );
    });
  });

  test("in a vote checkpoint", async () => {
    const key = checkpointKey(election.id, 1);
    await withChangedByte(join(stack.stack.folders.evidence, key), async () => {
      expect(await problems()).toContainEqual(expect.objectContaining({ object: key }));
    });
  });

  test.each([
    "tile/0/002",
    "tile/1/000.p/5",
    "tile/entries/003",
    "manifest.json",
    "checkpoint",
    "checkpoints/0000000001",
  ])("in the public %s", async (path) => {
    await withChangedByte(join(stack.stack.folders.public, election.id, path), async () => {
      const found = await problems();
      expect(found.map(({ object, problem }) => `${object} ${problem}`).join("\n")).toContain(path);
    });
  });
});

describe("the Publisher signs no fork", () => {
  const manifest = () => encodeManifest(election.manifest);
  const signed = () => readFile(join(stack.stack.folders.public, election.id, "checkpoint"), "utf8");

  test.each([
    { name: "another root for the signed size", size: 1_502n },
    { name: "a longer log than was sealed", size: 1_600n },
  ])("for $name", async ({ size }) => {
    const before = await signed();
    const audit = await stack.client(DigestService, "service/audit-service");
    const head = { electionId: election.id, treeSize: size, root: sha256(Buffer.from("a fork")) };
    const refusal = await refusalOf(audit.submitHead({ ...head, manifest: manifest(), endsBlock: false }));
    expect(["data-loss", "failed-precondition", "unavailable"]).toContain(refusal.kind);
    expect(await signed()).toBe(before);
  });

  test("and takes heads from nobody but AuditService", async () => {
    for (const caller of ["operator/test", "client/test", "auditor/test", "service/vote-service"]) {
      const digests = await stack.client(DigestService, caller);
      const head = { electionId: election.id, treeSize: 1_502n, root: sha256(Buffer.from("a fork")) };
      const refusal = await refusalOf(
        digests.submitHead({ ...head, manifest: manifest(), endsBlock: false }),
      );
      expect(refusal.kind).toBe("permission-denied");
    }
  });
});

test("a record changed before it is sealed halts the log and not the voting", async () => {
  const halted = await stack.createElection("changed-early");
  const audit = stack.stack.services["audit-service"];
  await halted.cast(halted.ballots(50));
  await until("the first votes are public", async () => (await halted.publishedSize()) === 51);
  await audit.stop();
  await halted.cast(halted.ballots(200));
  // Nothing of the stream is left that could tell: the shard is all there is.
  await stack.stack.nats.stop();
  await stack.stack.nats.wipe();
  await stack.stack.nats.start();
  const [row] = await asSuperuser(
    `UPDATE psephos.records r SET sealed_choice = set_byte(sealed_choice, 40, get_byte(sealed_choice, 40) # 1)
     FROM psephos.shard_heads h, psephos.elections e
     WHERE e.election_id = 'changed-early' AND h.election = e.election AND r.election = e.election
       AND r.shard = h.shard AND h.shard = 3 AND r.sequence = h.sealed_sequence + 1
     RETURNING r.sequence`,
  );
  await audit.start();
  const client = await stack.client(AuditService, "auditor/test");
  await until("sealing is halted", async () => {
    const { head } = await client.getHead({ electionId: halted.id });
    if (head?.state !== SealingState.HALTED) return false;
    expect(head.haltedBecause).toMatch(`shard 3, sequence ${row?.sequence}: `);
    return true;
  });
  const { recorded } = await halted.cast(halted.ballots(20));
  expect(recorded).toBe(20);
  expect(await halted.publishedSize()).toBeLessThan(251);
});

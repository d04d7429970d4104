import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { createHandlerContext } from "@connectrpc/connect";
import { describe, expect, test, vi } from "vitest";
import {
  AuditService,
  GetConsistencyProofRequestSchema,
  GetInclusionProofRequestSchema,
  GetRecordRequestSchema,
  ListRecordsRequestSchema,
} from "../../gen/ts/psephos/audit/v1/audit_pb.js";
import type { VoteRecord } from "../ballot/record.ts";
import { toHex } from "../core/bytes.ts";
import { systemClock } from "../core/clock.ts";
import { voteIdOf } from "../core/ids.ts";
import { asHash } from "../core/sha256.ts";
import { segmentKey } from "../evidence/layout.ts";
import type { SegmentEntry } from "../evidence/segment-line.ts";
import { Metrics } from "../telemetry/metrics.ts";
import { GrowingTree } from "../tlog/growing-tree.ts";
import { verifyConsistency, verifyInclusion } from "../tlog/proof.ts";
import { leafHash } from "../tlog/tree.ts";
import { ObjectArchivedError } from "../worm/object-store.ts";
import { AuditFixture, hastyClock, silentLogger, TestShards } from "./audit-fixture.ts";
import { auditService } from "./audit-service.ts";
import { ElectionLog } from "./election-log.ts";
import { ElectionSealer } from "./election-sealer.ts";
import { EventKey } from "./event-key.ts";
import { HaltError } from "./halt.ts";
import { auditMetrics } from "./metrics.ts";
import type { Publisher } from "./publication.ts";
import type { ShardRouter } from "./shard-watch.ts";

const neverCalled = async () => {
  throw new Error("no database is asked");
};

/** The service over a fixture's stores, as one that stands by answers: from the committed head row. */
function serve(fixture: AuditFixture) {
  const { election, stores } = fixture;
  const sealer = new ElectionSealer({
    election,
    stores,
    // It never runs, so it calls neither.
    router: {} as ShardRouter,
    publisher: {} as Publisher,
    limits: { headIntervalMs: 20, pollIntervalMs: 30, bufferRecords: 30_000 },
    metrics: auditMetrics(new Metrics({ service: "test" })),
    clock: systemClock,
    logger: silentLogger,
    signal: new AbortController().signal,
  });
  const service = auditService({ sealerOf: async () => sealer, stores, findRecords: neverCalled });
  const { electionId } = election;
  const contextOf = (method: keyof typeof AuditService.method) =>
    createHandlerContext({
      service: AuditService,
      method: AuditService.method[method],
      protocolName: "grpc",
      requestMethod: "POST",
      url: "https://test/",
    });
  const record = (name: { case: "index" | "voteId"; value: bigint }) =>
    service.getRecord(create(GetRecordRequestSchema, { electionId, record: name }), contextOf("getRecord"));
  return {
    record: ({ shard, sequence }: VoteRecord) =>
      record({ case: "voteId", value: BigInt(voteIdOf(shard, sequence, election.manifest.shards)) }),
    list: async () => {
      const request = create(ListRecordsRequestSchema, { electionId });
      for await (const _ of service.listRecords(request, contextOf("listRecords"))) {
        // All that is asked for here is how it ends.
      }
    },
    recordAt: (index: number) => record({ case: "index", value: BigInt(index) }),
    inclusion: async (index: number, size: number) => {
      const entry = { case: "index" as const, value: BigInt(index) };
      const request = { electionId, entry, treeSize: BigInt(size) };
      const answer = await service.getInclusionProof(
        create(GetInclusionProofRequestSchema, request),
        contextOf("getInclusionProof"),
      );
      return {
        entry: answer.entry ?? new Uint8Array(),
        root: asHash(answer.root ?? new Uint8Array()),
        proof: (answer.proof ?? []).map(asHash),
      };
    },
    consistency: async (oldSize: number, newSize: number) => {
      const request = { electionId, oldSize: BigInt(oldSize), newSize: BigInt(newSize) };
      const answer = await service.getConsistencyProof(
        create(GetConsistencyProofRequestSchema, request),
        contextOf("getConsistencyProof"),
      );
      return {
        newRoot: asHash(answer.newRoot ?? new Uint8Array()),
        proof: (answer.proof ?? []).map(asHash),
      };
    },
  };
}

/** A log of the manifest and a commit for each number of votes. */
async function grow(fixture: AuditFixture, commits: readonly number[]): Promise<ElectionLog> {
  const log = await fixture.open();
  await log.commit([{ type: "manifest", manifestHash: fixture.election.manifestHash }]);
  for (const votes of commits) await log.commit(asEntries(fixture.shards.cast(votes).flat()));
  return log;
}

function asEntries(records: readonly VoteRecord[]): SegmentEntry[] {
  return records.map((record) => ({ type: "vote", record }));
}

describe("proofs", () => {
  test("for every size of a log that grew in a few commits, whether or not it was a head's", async () => {
    await using fixture = await AuditFixture.create();
    const { treeSize: size } = (await grow(fixture, [5, 200, 320])).head;
    const { inclusion, consistency } = serve(fixture);
    const roots = [GrowingTree.empty().root()];
    const tree = GrowingTree.empty();
    for (let index = 0; index < size; index++) {
      tree.append((await inclusion(index, size)).entry);
      roots.push(tree.root());
    }
    for (let newSize = 1; newSize <= size; newSize++) {
      const [index, oldSize] = [17_389 % newSize, (newSize * 31) % (newSize + 1)];
      const { entry, root, proof } = await inclusion(index, newSize);
      expect(toHex(root)).toBe(toHex(roots[newSize] ?? new Uint8Array()));
      verifyInclusion({ leaf: leafHash(entry), index, size: newSize, proof, root });
      const { newRoot, proof: extension } = await consistency(oldSize, newSize);
      expect(toHex(newRoot)).toBe(toHex(root));
      const oldRoot = roots[oldSize] ?? root;
      verifyConsistency({ oldSize, oldRoot, newSize, newRoot, proof: extension });
    }
    await expect(inclusion(0, size + 1)).rejects.toMatchObject({ kind: "invalid-argument" });
    await expect(inclusion(300, 300)).rejects.toMatchObject({ kind: "invalid-argument" });
    await expect(consistency(301, 300)).rejects.toMatchObject({ kind: "invalid-argument" });
  });
});

test("answers that need evidence in a cold tier say so", async () => {
  await using fixture = await AuditFixture.create();
  await grow(fixture, [5]);
  vi.spyOn(fixture.evidence, "get").mockImplementation(async (key) => {
    throw new ObjectArchivedError(key);
  });
  const { recordAt, list } = serve(fixture);
  for (const answer of [() => recordAt(3), () => list()]) {
    await expect(answer()).rejects.toMatchObject({
      kind: "failed-precondition",
      reason: "EVIDENCE_ARCHIVED",
      message: expect.stringMatching(/is archived: restore it first$/),
    });
  }
});

test("answers that need tiles which are missing are unavailable, until they are there again", async () => {
  await using fixture = await AuditFixture.create();
  await grow(fixture, [300]);
  const { inclusion, consistency, recordAt } = serve(fixture);
  await rm(join(fixture.directory, "tiles"), { recursive: true });
  for (const answer of [() => inclusion(5, 301), () => consistency(5, 300), () => recordAt(5)]) {
    await expect(answer()).rejects.toMatchObject({ kind: "unavailable", reason: "TILES_MISSING" });
  }
  await fixture.open();
  for (const answer of [() => inclusion(5, 301), () => consistency(5, 300), () => recordAt(5)])
    await answer();
});

describe("records", () => {
  /** The log as another process holds it, at the same head. */
  async function another(fixture: AuditFixture, { head }: ElectionLog): Promise<ElectionLog> {
    const { election, stores } = fixture;
    const tree = await GrowingTree.load(head.treeSize, (path) =>
      stores.tiles.get(`${election.electionId}/${path}`),
    );
    const signal = new AbortController().signal;
    return new ElectionLog({ election, stores, head, tree, clock: hastyClock, logger: silentLogger, signal });
  }

  /**
   * Commits `votes`, and then has a process that lost its lease, and does not know it yet, write others at the same
   * place: segments that are in the evidence store, and not in the log.
   */
  async function commitBesideOrphans(
    fixture: AuditFixture,
    log: ElectionLog,
    orphans: SegmentEntry[],
    votes: SegmentEntry[],
  ) {
    const stale = await another(fixture, log);
    await log.commit(votes);
    await expect(stale.commit(orphans)).rejects.toThrow(HaltError);
  }

  /** Every step-th record is found by its vote id and by its index, and is the one that was sealed there. */
  async function checkRecords(fixture: AuditFixture, step: number) {
    const { record, recordAt } = serve(fixture);
    for (const chain of fixture.shards.records) {
      for (let at = 0; at < chain.length; at += step) {
        const sealed = chain[at];
        if (!sealed) break;
        const found = await record(sealed);
        expect(found).toMatchObject({ shard: sealed.shard, sequence: BigInt(sealed.sequence) });
        expect(toHex(found.hash ?? new Uint8Array())).toBe(toHex(sealed.hash));
        expect(await recordAt(Number(found.index))).toMatchObject({
          index: found.index,
          voteId: found.voteId,
          hash: found.hash,
        });
      }
    }
  }

  test("are found in a log of several blocks, by vote id and by index", async () => {
    await using fixture = await AuditFixture.create();
    await grow(fixture, [1, 700, 9_298, 10_000, 3, 1_500]);
    await checkRecords(fixture, 401);
    await expect(serve(fixture).recordAt(0)).rejects.toMatchObject({ kind: "invalid-argument" });
    await expect(serve(fixture).recordAt(30_000)).rejects.toMatchObject({ kind: "not-found" });
  });

  test("are those of the log, whatever segments a process without the lease has left beside them", async () => {
    await using fixture = await AuditFixture.create();
    const log = await grow(fixture, [300]);
    for (const [votes, orphans] of [
      [700, 2_900],
      [2_500, 400],
      [900, 2_500],
      [1_200, 700],
      [800, 1_900],
    ] as const) {
      const records = fixture.shards.cast(votes).flat();
      const later = new TestShards(fixture.election);
      later.continueFrom(fixture.shards.heads);
      // The same votes in another order of shards, and for some lengths more than the log had at that time.
      const others = [...records.toReversed(), ...later.cast(orphans).flat()].slice(0, orphans);
      await commitBesideOrphans(fixture, log, asEntries(others), asEntries(records));
    }
    await checkRecords(fixture, 97);
  });

  test("are found where an orphan has the log's own entries, cut elsewhere", async () => {
    await using fixture = await AuditFixture.create({ shards: 1 });
    const log = await grow(fixture, []);
    const entries = asEntries(fixture.shards.cast(1_400).flat());
    const stale = await another(fixture, log);
    await log.commit(entries.slice(0, 400));
    await log.commit(entries.slice(400));
    await expect(stale.commit(entries.slice(0, 1_200))).rejects.toThrow(HaltError);
    await checkRecords(fixture, 53);
  });

  test("are missed, and not made up, when their segment is gone or is no segment", async () => {
    await using fixture = await AuditFixture.create();
    await grow(fixture, [300, 400]);
    const key = segmentKey(fixture.election.electionId, 301, 700);
    const { record, recordAt } = serve(fixture);
    const sealed = fixture.shards.records[2]?.at(-1);
    if (!sealed) throw new Error("no votes");
    await fixture.evidence.put(segmentKey(fixture.election.electionId, 301, 500), new Uint8Array([1, 2, 3]));
    expect(await record(sealed)).toMatchObject({ segmentKey: key });
    await rm(join(fixture.directory, "evidence", key));
    await expect(record(sealed)).rejects.toMatchObject({ kind: "data-loss" });
    await expect(recordAt(400)).rejects.toMatchObject({ kind: "data-loss" });
  });

  test("are found where each is an object of its own, by reading that one alone", async () => {
    await using fixture = await AuditFixture.create({ layout: "object-per-vote" });
    const log = await grow(fixture, [1, 60]);
    const event = { kind: "worm-probe", at: 1, details: {} } as const;
    const note = new EventKey(new Uint8Array(32).fill(7)).sign(fixture.election.manifest, event);
    await log.commit([{ type: "event", note }]);
    await checkRecords(fixture, 1);

    const { record, recordAt } = serve(fixture);
    const { operations } = fixture.evidence;
    const sealed = fixture.shards.records[2]?.at(-1);
    if (!sealed) throw new Error("no votes");
    operations.length = 0;
    const { index } = await record(sealed);
    const [read, ...others] = operations.filter(({ key }) => key.includes("/vote_"));
    expect(others).toEqual([]);
    await expect(recordAt(62)).rejects.toMatchObject({
      kind: "invalid-argument",
      message: expect.stringMatching(/not a vote/),
    });

    const path = join(fixture.directory, "evidence", read?.key ?? "");
    const body = await readFile(path);
    await rm(path);
    await expect(record(sealed)).rejects.toMatchObject({ kind: "data-loss" });
    await writeFile(path, body.fill(0x20, 10, 20));
    await expect(recordAt(Number(index))).rejects.toMatchObject({ kind: "data-loss" });
  });
});

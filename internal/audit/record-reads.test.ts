import { rm } from "node:fs/promises";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { createHandlerContext } from "@connectrpc/connect";
import { describe, expect, test, vi } from "vitest";
import {
  AuditService,
  GetHistoryRequestSchema,
  GetTurnoutRequestSchema,
  ListRecordsRequestSchema,
} from "../../gen/ts/psephos/audit/v1/audit_pb.js";
import type { FindRecordsResponse } from "../../gen/ts/psephos/shard/v1/shard_pb.js";
import type { VoteRecord } from "../ballot/record.ts";
import { toHex } from "../core/bytes.ts";
import { type TreeSize, treeSize } from "../core/ids.ts";
import { encodeSegment } from "../evidence/segment.ts";
import type { SegmentEntry } from "../evidence/segment-line.ts";
import { TileReader } from "../tlog/tile-reader.ts";
import { ObjectCorruptError } from "../worm/object-store.ts";
import { AuditFixture } from "./audit-fixture.ts";
import { recordReads } from "./record-reads.ts";
import { segmentsTo } from "./stored-segments.ts";

type Find = (request: { readonly voterPseudonym?: Uint8Array; readonly afterRevision?: number }) => object;

/** The methods over what a fixture has committed. */
function serve(
  fixture: AuditFixture,
  options: { readonly find?: Find; readonly revoting?: "last-counts"; readonly treeSize?: TreeSize } = {},
) {
  const { election, stores } = fixture;
  const { electionId } = election;
  const manifest = { ...election.manifest, ...(options.revoting && { revoting: options.revoting }) };
  const reads = recordReads({
    // It answers in the types of the generated client.
    findRecords: async (request) => (options.find?.(request) ?? { records: [] }) as FindRecordsResponse,
    open: async () => {
      const head = await stores.heads.load(electionId);
      if (!head) throw new RangeError("no head");
      const tree = new TileReader({
        fetch: (path) => stores.tiles.get(`${electionId}/${path}`),
        size: options.treeSize ?? head.treeSize,
        root: head.root,
      });
      return {
        election: { ...election, manifest },
        head,
        log: { election: electionId, evidence: stores.evidence, tree },
      };
    },
  });
  const contextOf = (method: keyof typeof AuditService.method, signal?: AbortSignal) =>
    createHandlerContext({
      service: AuditService,
      method: AuditService.method[method],
      protocolName: "grpc",
      requestMethod: "POST",
      url: "https://test/",
      ...(signal && { requestSignal: signal }),
    });
  return {
    reads,
    contextOf,
    async list(firstIndex: number, limit = 0) {
      const request = create(ListRecordsRequestSchema, { electionId, firstIndex: BigInt(firstIndex), limit });
      const found = [];
      let next = firstIndex;
      for await (const { records = [], nextIndex } of reads.listRecords(request, contextOf("listRecords"))) {
        expect(records.length).toBeLessThanOrEqual(100);
        found.push(...records);
        next = Number(nextIndex);
      }
      return { records: found, next };
    },
    history: (voterPseudonym: Uint8Array, afterRevision = 0) =>
      reads.getHistory(
        create(GetHistoryRequestSchema, { electionId, voterPseudonym, afterRevision }),
        contextOf("getHistory"),
      ),
    async turnout(asOf: number, votesOnly = false) {
      const request = create(GetTurnoutRequestSchema, { electionId, asOfMicros: BigInt(asOf), votesOnly });
      const {
        shards = [],
        votes,
        voters,
        treeSize,
      } = await reads.getTurnout(request, contextOf("getTurnout"));
      return { shards: shards.map((shard) => Number(shard.votes)), votes: Number(votes), voters, treeSize };
    },
  };
}

async function grow(fixture: AuditFixture, commits: readonly number[]): Promise<void> {
  const log = await fixture.open();
  await log.commit([{ type: "manifest", manifestHash: fixture.election.manifestHash }]);
  for (const votes of commits) {
    for (let left = votes; left > 0; ) {
      const part = Math.min(left, log.room);
      await log.commit(asEntries(fixture.shards.cast(part).flat()));
      left -= part;
    }
    // Two commits of different times.
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

function asEntries(records: readonly VoteRecord[]): SegmentEntry[] {
  return records.map((record) => ({ type: "vote", record }));
}

describe("ListRecords", () => {
  test("streams the votes of a range in log order", async () => {
    await using fixture = await AuditFixture.create();
    await grow(fixture, [5, 250]);
    const { list } = serve(fixture);
    const { records, next } = await list(0);
    expect(next).toBe(256);
    expect(records.map(({ index }) => Number(index))).toEqual(Array.from({ length: 255 }, (_, i) => i + 1));
    const byHash = new Map(fixture.shards.records.flat().map((record) => [toHex(record.hash), record]));
    for (const record of records) {
      const { shard, castAt } = byHash.get(toHex(record.hash ?? new Uint8Array())) ?? {};
      expect([record.shard, Number(record.castAtMicros)]).toEqual([shard, castAt]);
    }
    const part = await list(4, 10);
    expect(part.next).toBe(14);
    expect(part.records).toEqual(records.slice(3, 13));
    expect(await list(256)).toEqual({ records: [], next: 256 });
    await expect(list(257)).rejects.toMatchObject({ kind: "invalid-argument" });
  });

  test("leaves out what is not the log's, and names what the evidence does not have", async () => {
    await using fixture = await AuditFixture.create();
    await grow(fixture, [20, 30]);
    const { list } = serve(fixture);
    const { records } = await list(0);
    const head = await fixture.heads.load(fixture.election.electionId);
    if (!head) throw new RangeError("no head");
    const [, , last] = await segmentsTo(fixture.evidence, fixture.election.electionId, head);
    if (!last) throw new RangeError("no segment");
    // The same places with other votes, and a name that comes first.
    const entries = last.segment.entries.slice(0, 20).reverse();
    const { firstIndex } = last.segment;
    const key = last.key.replace(/\d{10}\.nd/, `${String(firstIndex + 19).padStart(10, "0")}.nd`);
    await fixture.evidence.put(key, encodeSegment({ ...last.segment, entries }));
    // And one that is damaged where it lies.
    const damaged = key.replace(/\d{10}\.nd/, `${String(firstIndex + 18).padStart(10, "0")}.nd`);
    await fixture.evidence.put(damaged, encodeSegment(last.segment));
    const get = fixture.evidence.get.bind(fixture.evidence);
    vi.spyOn(fixture.evidence, "get").mockImplementation(async (key, versionId) => {
      if (key === damaged) throw new ObjectCorruptError(key, "has other bytes than were put");
      return get(key, versionId);
    });
    expect((await list(0)).records).toEqual(records);
    const [, , { sequence: place = 0n, shard = 0 } = {}] = records.slice(-30);
    const find: Find = () => ({ shard, records: [{ sequence: place, revision: 1 }] });
    const voter = records.find((each) => each.shard === shard && each.sequence === place)?.voterPseudonym;
    const { history } = serve(fixture, { find });
    expect((await history(voter ?? new Uint8Array())).records).toMatchObject([{ sequence: place }]);

    await rm(join(fixture.directory, "evidence", last.key));
    await expect(list(0)).rejects.toMatchObject({ kind: "data-loss" });
  });

  test("reads votes that are objects of their own some at a time, and lists none of them", async () => {
    await using fixture = await AuditFixture.create({ layout: "object-per-vote" });
    await grow(fixture, [120]);
    let [open, most] = [0, 0];
    const get = fixture.evidence.get.bind(fixture.evidence);
    vi.spyOn(fixture.evidence, "get").mockImplementation(async (key, versionId) => {
      most = Math.max(most, ++open);
      return get(key, versionId).finally(() => open--);
    });
    fixture.evidence.operations.length = 0;
    const { records } = await serve(fixture).list(0);
    expect(records.map(({ index }) => Number(index))).toEqual(Array.from({ length: 120 }, (_, i) => i + 1));
    expect(most).toBe(8);
    const prefixes = fixture.evidence.operations.filter(({ name }) => name === "list").map(({ key }) => key);
    expect(prefixes).toEqual([expect.stringMatching(/entries_$/)]);
  });

  test("and the others take a few calls at a time", async () => {
    await using fixture = await AuditFixture.create();
    await grow(fixture, [5]);
    const { reads, contextOf, list } = serve(fixture);
    const request = create(ListRecordsRequestSchema, { electionId: fixture.election.electionId });
    const open = Array.from({ length: 4 }, () =>
      reads.listRecords(request, contextOf("listRecords"))[Symbol.asyncIterator](),
    );
    for (const stream of open) await stream.next();
    await expect(list(0)).rejects.toMatchObject({ kind: "resource-exhausted", retryDelayMs: 1_000 });
    await open[0]?.return?.();
    expect((await list(0)).records).toHaveLength(5);
  });
});

describe("GetHistory", () => {
  test("returns from the evidence what the database says where to look for", async () => {
    await using fixture = await AuditFixture.create();
    await grow(fixture, [40]);
    const [record] = fixture.shards.records.flat();
    if (!record) throw new RangeError("nobody has voted");
    const { shard, sequence, voterPseudonym, hash } = record;
    const find: Find = ({ afterRevision = 0 }) => ({
      shard,
      records: afterRevision === 0 ? [{ sequence: BigInt(sequence), revision: 1 }] : [],
    });
    const { history } = serve(fixture, { find });
    const { records, more } = await history(voterPseudonym);
    expect(more).toBe(false);
    expect(records).toMatchObject([{ shard, sequence: BigInt(sequence), revision: 1 }]);
    expect(toHex(records?.[0]?.hash ?? new Uint8Array())).toBe(toHex(hash));
    expect(await history(voterPseudonym, 1)).toEqual({ records: [], more: false });
    await expect(history(new Uint8Array(31))).rejects.toMatchObject({ kind: "invalid-argument" });
    expect(await history(voterPseudonym, 2 ** 31 - 1)).toEqual({ records: [], more: false });
    await expect(history(voterPseudonym, 2 ** 31)).rejects.toMatchObject({
      kind: "invalid-argument",
      fields: [{ field: "after_revision" }],
    });
  });

  test("does not take the database's word", async () => {
    await using fixture = await AuditFixture.create();
    await grow(fixture, [40]);
    const [first, second] = fixture.shards.records.find((shard) => shard.length > 1) ?? [];
    if (!first || !second) throw new RangeError("no shard has two votes");
    const at =
      (sequence: number, revision = 1): Find =>
      () => ({
        shard: first.shard,
        records: [{ sequence: BigInt(sequence), revision }],
      });
    // Another voter's record, and a revision that the record is not.
    const wrong = serve(fixture, { find: at(second.sequence) });
    await expect(wrong.history(first.voterPseudonym)).rejects.toMatchObject({ kind: "data-loss" });
    const hidden = serve(fixture, { find: at(first.sequence, 2) });
    await expect(hidden.history(first.voterPseudonym, 1)).rejects.toMatchObject({ kind: "data-loss" });
    // Not sealed yet.
    const unsealed = serve(fixture, { find: at(10_000) });
    expect(await unsealed.history(first.voterPseudonym)).toEqual({ records: [], more: false });
  });
});

describe("GetTurnout", () => {
  test("counts a moment in each shard, over several blocks", async () => {
    await using fixture = await AuditFixture.create({ shards: 3 });
    await grow(fixture, [7, 9_980, 200, 1, 400]);
    const { turnout } = serve(fixture);
    const shards = fixture.shards.records;
    const times = [...new Set(shards.flat().map(({ castAt }) => castAt))];
    expect(times.length).toBeGreaterThan(4);
    const by = (moment: number) => shards.map((own) => own.filter(({ castAt }) => castAt <= moment).length);
    for (const moment of [1, ...times, Math.max(...times) - 1, Math.max(...times) + 1]) {
      const expected = by(moment);
      const total = expected.reduce((sum, votes) => sum + votes, 0);
      const found = await turnout(moment);
      expect(found).toMatchObject({ shards: expected, votes: total, voters: BigInt(total) });
    }
    expect(await turnout(0)).toMatchObject({ votes: 10_588, voters: 10_588n, treeSize: 10_589n });
  });

  test("counts voters by their first revisions where they may vote again", async () => {
    await using fixture = await AuditFixture.create();
    await grow(fixture, [30]);
    const { turnout } = serve(fixture, { revoting: "last-counts" });
    expect(await turnout(0)).toMatchObject({ votes: 30, voters: 30n });
    expect(await turnout(1)).toMatchObject({ votes: 0, voters: 0n });
    expect(await turnout(0, true)).toMatchObject({ votes: 30, voters: undefined });
  });

  test("refuses to count the voters of a large log before it reads anything", async () => {
    await using fixture = await AuditFixture.create();
    await grow(fixture, [30]);
    const { turnout } = serve(fixture, { revoting: "last-counts", treeSize: treeSize(100_001) });
    fixture.evidence.operations.length = 0;
    await expect(turnout(1)).rejects.toMatchObject({ kind: "resource-exhausted", reason: "TOO_MUCH_WORK" });
    expect(fixture.evidence.operations).toEqual([]);
  });
});

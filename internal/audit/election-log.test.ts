import { rm } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test, vi } from "vitest";
import { closingEntry } from "../ballot/entry.ts";
import { EVIDENCE_LAYOUTS, segmentKey } from "../evidence/layout.ts";
import type { SegmentEntry } from "../evidence/segment-line.ts";
import type { Fault, Operation } from "../worm/faulty-store.ts";
import { AuditFixture } from "./audit-fixture.ts";
import { readBlock } from "./block.ts";
import type { ElectionLog } from "./election-log.ts";
import { EventKey } from "./event-key.ts";
import { ContestedError, HaltError } from "./halt.ts";
import { blockEnds } from "./stored-segments.ts";

/** Everything the shards have beyond the log, as far as it fits into one commit. */
function unsealed({ shards }: AuditFixture, log: ElectionLog): SegmentEntry[] {
  return shards.records
    .flatMap((records, shard) => records.slice(log.head.shardHeads[shard]?.sequence ?? 0))
    .slice(0, log.room)
    .map((record) => ({ type: "vote", record }));
}

function manifestEntry({ election }: AuditFixture): SegmentEntry {
  return { type: "manifest", manifestHash: election.manifestHash };
}

async function sealAll(fixture: AuditFixture, log: ElectionLog): Promise<void> {
  for (let entries = unsealed(fixture, log); entries.length > 0; entries = unsealed(fixture, log)) {
    await log.commit(entries);
  }
}

/** Grows the log by so many entries: votes, or, where each vote is an object of its own, events, which are no objects. */
async function advance(fixture: AuditFixture, log: ElectionLog, entries: number): Promise<void> {
  if (fixture.layout !== "object-per-vote") {
    fixture.shards.cast(entries);
    return sealAll(fixture, log);
  }
  const key = new EventKey(new Uint8Array(32).fill(7));
  const note = key.sign(fixture.election.manifest, { kind: "reconciliation", at: 1, details: {} });
  for (let left = entries; left > 0; ) {
    const part = Math.min(left, log.room);
    await log.commit(Array.from({ length: part }, () => ({ type: "event", note })));
    left -= part;
  }
}

describe.each(EVIDENCE_LAYOUTS)("layout %s", (layout) => {
  describe("an election's log", () => {
    test("grows over segments and blocks, and is the same after each reopening", async () => {
      await using fixture = await AuditFixture.create({ layout });
      let log = await fixture.open();
      await log.commit([manifestEntry(fixture)]);
      for (const votes of [1, 40, 1_500]) {
        fixture.shards.cast(votes);
        await sealAll(fixture, log);
        await fixture.verify();
        log = await fixture.open();
      }
      await advance(fixture, log, 9_660);
      await fixture.verify();
      log = await fixture.open();
      await log.commit([closingEntry(log.head.shardHeads)]);
      const head = await fixture.verify();
      expect(head).toMatchObject({ treeSize: 1 + 11_201 + 1, closed: true });
      expect(
        await fixture.evidence.get(segmentKey(fixture.election.electionId, 9_000, 9_999)),
      ).toBeUndefined();
    });

    test("ends a commit at a block's end", async () => {
      await using fixture = await AuditFixture.create({ layout });
      const log = await fixture.open();
      await log.commit([manifestEntry(fixture)]);
      await advance(fixture, log, 9_700);
      fixture.shards.cast(350);
      expect(log.room).toBe(299);
      await log.commit(unsealed(fixture, log));
      expect(log.head.treeSize).toBe(10_000);
      await expect(log.commit([])).rejects.toThrow(RangeError);
      await sealAll(fixture, log);
      expect(log.head.treeSize).toBe(10_051);
      await fixture.verify();
    });

    // What one commit does: puts and reads back each segment, and before it the votes that are objects of their own; swaps;
    // puts the tiles. Of two segments, or of one of 30 votes.
    const votes = layout === "segments" ? 1_800 : 30;
    const operations: { name: string; inject: (fixture: AuditFixture, fault: Fault) => void }[] = [
      ...(layout === "segments"
        ? [
            { name: "segment 2 put", inject: onCall("evidence", "put", 2, "/entries_") },
            { name: "segment 2 read back", inject: onCall("evidence", "get", 2, "/entries_") },
            { name: "last tile put", inject: onCall("tiles", "put", 10) },
          ]
        : [
            { name: "first vote put", inject: onCall("evidence", "put", 1, "/vote_") },
            { name: "vote in the midst read back", inject: onCall("evidence", "get", 15, "/vote_") },
            { name: "last vote put", inject: onCall("evidence", "put", votes, "/vote_") },
            { name: "last tile put", inject: onCall("tiles", "put", 2) },
          ]),
      { name: "first segment put", inject: onCall("evidence", "put", 1, "/entries_") },
      { name: "first segment read back", inject: onCall("evidence", "get", 1, "/entries_") },
      { name: "tile put", inject: onCall("tiles", "put", 1) },
    ];

    function onCall(store: "evidence" | "tiles", name: Operation["name"], nth: number, keys = "") {
      return (fixture: AuditFixture, fault: Fault) => {
        let calls = 0;
        fixture[store].fault = (operation) =>
          operation.name === name && operation.key.includes(keys) && ++calls === nth ? fault : undefined;
      };
    }

    describe.each(operations)("when the $name", ({ inject }) => {
      test.each(["before", "after"] as const)("fails %s it happened, tries again", async (fault) => {
        await using fixture = await AuditFixture.create({ layout });
        const log = await fixture.open();
        await log.commit([manifestEntry(fixture)]);
        fixture.shards.cast(votes);
        inject(fixture, fault);
        await log.commit(unsealed(fixture, log));
        fixture.noFaults();
        expect((await fixture.verify()).treeSize).toBe(1 + votes);
      });

      test("is where the process dies, goes on with every record once", async () => {
        await using fixture = await AuditFixture.create({ layout });
        const first = new AbortController();
        const dying = await fixture.open(first.signal);
        await dying.commit([manifestEntry(fixture)]);
        fixture.shards.cast(votes);
        inject(fixture, "hang");
        const commit = dying.commit(unsealed(fixture, dying));
        await expect(Promise.race([commit, died(fixture)])).resolves.toBe("dead");
        first.abort();
        fixture.noFaults();

        // More votes came before the next process began: it must not deal those places out again.
        fixture.shards.cast(50);
        const log = await fixture.open();
        await sealAll(fixture, log);
        expect((await fixture.verify()).treeSize).toBe(1 + votes + 50);
        fixture.evidence.release();
        fixture.tiles.release();
        await expect(commit).rejects.toThrow();
        expect((await fixture.verify()).treeSize).toBe(1 + votes + 50);
      });
    });

    /** Resolves once the injected call hangs: nothing else is under way then. */
    async function died(fixture: AuditFixture): Promise<"dead"> {
      let before = -1;
      while (before !== fixture.evidence.operations.length + fixture.tiles.operations.length) {
        before = fixture.evidence.operations.length + fixture.tiles.operations.length;
        await new Promise((resolve) => setTimeout(resolve, 60));
      }
      return "dead";
    }

    test.each(["before", "after"] as const)("survives a swap that fails %s it happened", async (fault) => {
      await using fixture = await AuditFixture.create({ layout });
      const log = await fixture.open();
      await log.commit([manifestEntry(fixture)]);
      fixture.shards.cast(20);
      let swaps = 0;
      fixture.heads.fault = (operation) => (operation === "swap" && ++swaps === 1 ? fault : undefined);
      await log.commit(unsealed(fixture, log));
      expect((await fixture.verify()).treeSize).toBe(21);
    });

    test("halts when another process moved the head", async () => {
      await using fixture = await AuditFixture.create({ layout });
      const [one, other] = [await fixture.open(), await fixture.open()];
      await one.commit([manifestEntry(fixture)]);
      await expect(other.commit([manifestEntry(fixture)])).resolves.toMatchObject({ head: { treeSize: 1 } });
      fixture.shards.cast(20);
      await one.commit(unsealed(fixture, one));
      const stale = unsealed(fixture, other).slice(0, 5);
      await expect(other.commit(stale)).rejects.toThrow(HaltError);
      expect(fixture.heads.heads.get(fixture.election.electionId)?.treeSize).toBe(21);
    });

    test("halts when its segment's key has other bytes", async () => {
      await using fixture = await AuditFixture.create({ layout });
      const log = await fixture.open();
      await log.commit([manifestEntry(fixture)]);
      fixture.shards.cast(20);
      await fixture.evidence.put(segmentKey(fixture.election.electionId, 1, 20), new Uint8Array([1, 2, 3]));
      await expect(log.commit(unsealed(fixture, log))).rejects.toThrow(/other bytes/);
      expect(fixture.heads.heads.get(fixture.election.electionId)?.treeSize).toBe(1);
    });
  });

  // A process that lost its lease cannot call back what it has sent. What it began lands beside the winner's history.
  describe("a segment that lands after another process took over", () => {
    /** A log of one process, whose next segment is under way as another commits in its place. */
    async function overtaken(late: number, winner: number): Promise<AuditFixture> {
      const fixture = await AuditFixture.create({ layout });
      const stop = new AbortController();
      const loser = await fixture.open(stop.signal);
      await loser.commit([manifestEntry(fixture)]);
      fixture.shards.cast(100);
      const isLate = ({ name, key }: Operation) =>
        name === "put" && key.includes(`-${String(late).padStart(10, "0")}`);
      fixture.evidence.fault = (operation) => (isLate(operation) ? "late" : undefined);
      const lost = loser.commit(unsealed(fixture, loser).slice(0, late)).catch((error: unknown) => error);
      await vi.waitFor(() => expect(fixture.evidence.operations.some(isLate)).toBe(true));
      fixture.evidence.fault = () => undefined;

      const log = await fixture.open();
      await log.commit(unsealed(fixture, log).toSorted(byShardDescending).slice(0, winner));
      stop.abort();
      fixture.evidence.release();
      await lost;
      return fixture;
    }

    /** Another order than the loser's, and yet each shard's own. */
    function byShardDescending(a: SegmentEntry, b: SegmentEntry): number {
      if (a.type !== "vote" || b.type !== "vote") return 0;
      return b.record.shard - a.record.shard || a.record.sequence - b.record.sequence;
    }

    test.each([
      ["reaches further", 60, 30],
      ["ends before", 30, 60],
    ])("and %s is not the log's, neither now nor in a finished block", async (_, late, winner) => {
      await using fixture = await overtaken(late, winner);
      const { electionId } = fixture.election;
      const orphan = segmentKey(electionId, 1, late);
      expect(await fixture.evidence.get(orphan)).toBeDefined();
      let log = await fixture.open();
      expect(log.head.treeSize).toBe(1 + winner);

      await sealAll(fixture, log);
      await advance(fixture, log, 9_950);
      await fixture.verify();
      const end = (await blockEnds(fixture.evidence, electionId, 1, log.head))[0];
      if (!end) throw new Error("a block is finished");
      expect(end.treeSize).toBe(10_000);
      const block = await readBlock(fixture.evidence, electionId, end);
      expect(block.segments.map(({ key }) => key)).not.toContain(orphan);
      expect(block.segments[1]?.key).toBe(segmentKey(electionId, 1, winner));

      // The tiles and the head's tree can be made again all the same.
      for await (const key of fixture.tiles.list("")) await rm(join(fixture.directory, "tiles", key));
      log = await fixture.open();
      await fixture.verify();
    });

    test("where the winner is about to write is contested, and the log opens again with it", async () => {
      await using fixture = await AuditFixture.create({ layout });
      const winner = await fixture.open();
      await winner.commit([manifestEntry(fixture)]);
      fixture.shards.cast(100);
      const stop = new AbortController();
      const loser = await fixture.open(stop.signal);
      fixture.heads.fault = (operation) => (operation === "swap" ? "before" : undefined);
      const lost = loser.commit(unsealed(fixture, loser).toSorted(byShardDescending)).catch(() => "stopped");
      await vi.waitFor(async () =>
        expect(await fixture.evidence.get(segmentKey(fixture.election.electionId, 1, 100))).toBeDefined(),
      );
      stop.abort();
      expect(await lost).toBe("stopped");
      fixture.noFaults();
      await expect(winner.commit(unsealed(fixture, winner))).rejects.toThrow(ContestedError);
      expect((await fixture.open()).head.treeSize).toBe(101);
      await fixture.verify();
    });

    test("is one of two histories when the head row is lost as well", async () => {
      await using fixture = await overtaken(60, 30);
      fixture.heads.heads.clear();
      await expect(fixture.open()).rejects.toThrow(/are two histories/);
    });
  });

  describe("opening a log", () => {
    async function sealed(votes: number, more = 0): Promise<AuditFixture> {
      const fixture = await AuditFixture.create({ layout });
      const log = await fixture.open();
      await log.commit([manifestEntry(fixture)]);
      fixture.shards.cast(votes);
      await sealAll(fixture, log);
      await advance(fixture, log, more);
      return fixture;
    }

    test("rebuilds the head row from the evidence alone", async () => {
      await using fixture = await sealed(100, 10_900);
      const { root } = await fixture.verify();
      fixture.heads.heads.clear();
      const log = await fixture.open();
      expect(log.head).toMatchObject({ treeSize: 11_001, root });
      await fixture.verify();
    });

    test("goes on from the evidence when the head row is older", async () => {
      await using fixture = await sealed(500);
      const old = fixture.heads.heads.get(fixture.election.electionId);
      await advance(fixture, await fixture.open(), 2_500);
      if (old) fixture.heads.heads.set(old.electionId, old);
      expect((await fixture.open()).head.treeSize).toBe(3_001);
      await fixture.verify();
    });

    test("refuses evidence that ends before the head", async () => {
      await using fixture = await sealed(500);
      const other = await AuditFixture.create({ layout });
      await using _ = other;
      const head = fixture.heads.heads.get(fixture.election.electionId);
      if (head) other.heads.heads.set(head.electionId, head);
      await expect(other.open()).rejects.toThrow(/no segment in the evidence store leads to size 501/);
    });

    test("refuses two segments that begin at one index", async () => {
      await using fixture = await sealed(500);
      const id = fixture.election.electionId;
      const body = await fixture.evidence.get(segmentKey(id, 1, 500));
      await fixture.evidence.put(segmentKey(id, 1, 400), body ?? new Uint8Array());
      fixture.heads.heads.clear();
      await expect(fixture.open()).rejects.toThrow(/begin|overlaps|continues|holds/);
    });

    test("goes on in the other layout, whichever the log began with", async () => {
      await using fixture = await sealed(30);
      fixture.layout = layout === "segments" ? "object-per-vote" : "segments";
      const log = await fixture.open();
      fixture.shards.cast(30);
      await sealAll(fixture, log);
      expect((await fixture.verify()).treeSize).toBe(61);
      expect((await fixture.open()).head.treeSize).toBe(61);
    });
  });
});

import { describe, expect, test } from "vitest";
import { encodeEntry } from "../ballot/entry.ts";
import { toHex } from "../core/bytes.ts";
import { treeSize } from "../core/ids.ts";
import { decodeSegment, encodeSegment, keyOfSegment, logEntryOf, type Segment } from "../evidence/segment.ts";
import { GrowingTree } from "../tlog/growing-tree.ts";
import { flip, type MemoryStore, TestLog } from "../verify/test-log.ts";
import type { ObjectStore } from "../worm/object-store.ts";
import { openEvidence } from "./election-evidence.ts";
import { type KnownTree, verifyLog } from "./verify-log.ts";

function storeOf(evidence: MemoryStore): ObjectStore {
  return {
    get: (key) => evidence.read(key),
    list: (prefix) => evidence.list(prefix),
    put: () => Promise.reject(new Error("nothing is written here")),
    stat: () => Promise.reject(new Error("a restore asks for bytes alone")),
  };
}

async function verify({ evidence, electionId }: TestLog, known: readonly KnownTree[] = []) {
  const store = storeOf(evidence);
  let records = 0;
  const log = await verifyLog({
    store,
    evidence: await openEvidence(store, electionId),
    known,
    onRecords: async (some) => {
      records += some.length;
    },
    onProgress: () => {},
    signal: new AbortController().signal,
  });
  return { ...log, records };
}

/** The log's tree at a size. */
function treeAt({ evidence, segmentKeys }: TestLog, size: number, name = "the checkpoint"): KnownTree {
  const tree = GrowingTree.empty();
  for (const key of segmentKeys) {
    const { entries } = decodeSegment(evidence.get(key) ?? new Uint8Array());
    for (const entry of entries) if (tree.size < size) tree.append(encodeEntry(logEntryOf(entry)));
  }
  return { name, treeSize: treeSize(size), root: tree.root() };
}

/** Puts a segment with other entries beside the log's last one, as a process does that lost its lease. */
function contest(log: TestLog, key: string, count: number): string {
  const segment = decodeSegment(log.evidence.get(key) ?? new Uint8Array());
  const tree = GrowingTree.empty();
  for (const earlier of log.segmentKeys.filter((other) => other < key)) {
    const { entries } = decodeSegment(log.evidence.get(earlier) ?? new Uint8Array());
    for (const entry of entries) tree.append(encodeEntry(logEntryOf(entry)));
  }
  const entries = segment.entries.slice(0, count);
  for (const entry of entries) tree.append(encodeEntry(logEntryOf(entry)));
  const other: Segment = { ...segment, entries, rootAfter: tree.root() };
  log.evidence.set(keyOfSegment(other), encodeSegment(other));
  return keyOfSegment(other);
}

describe("an election's evidence", () => {
  test("of a closed log is verified to its end, signed blocks included", async () => {
    const log = await TestLog.create({ commits: [900, 9_500, 700] });
    const found = await verify(log, [treeAt(log, 11_102)]);
    expect(found).toMatchObject({ size: 11_102, closed: true, records: 11_100 });
    expect(found.blocks.map(({ size }) => size)).toEqual([10_000, 11_102]);
    expect(found.heads.map(({ sequence }) => sequence)).toEqual(log.records.map(({ length }) => length));
    expect(found.heads.map(({ castAt }) => castAt)).toEqual(log.records.map((run) => run.at(-1)?.castAt));
  });

  test("must be every tree that is known of it, also one that ends within a segment", async () => {
    const log = await TestLog.create({ commits: [20, 30], open: true });
    for (const size of [1, 15, 21, 40, 51]) {
      const known = treeAt(log, size);
      const newest = treeAt(log, 51);
      expect(await verify(log, [known, newest])).toMatchObject({ size: 51, closed: false });
      const other = { ...known, root: treeAt(log, size === 1 ? 2 : size - 1).root };
      await expect(verify(log, [newest, other])).rejects.toThrow(/another tree|leads to size/);
    }
  });

  test("that ends before a known tree is not complete", async () => {
    const log = await TestLog.create({ commits: [20, 30], open: true });
    const known = treeAt(log, 51);
    log.evidence.delete(log.segmentKeys.at(-1) ?? "");
    await expect(verify(log, [known])).rejects.toThrow(`leads to size 51 with root ${toHex(known.root)}`);
  });

  test("with a changed record, or a flipped bit anywhere, is refused", async () => {
    const whole = await TestLog.create({ commits: [20, 30] });
    const known = treeAt(whole, 52);
    const changed = whole.clone();
    changed.editSegment(changed.segmentOf(30), (segment) => ({
      ...segment,
      entries: segment.entries.map((entry, i) =>
        entry.type === "vote" && i === 4
          ? { ...entry, record: { ...entry.record, castAt: entry.record.castAt + 1 } }
          : entry,
      ),
    }));
    await expect(verify(changed, [known])).rejects.toThrow(/shard \d, sequence \d+/);
    for (const key of whole.evidence.keys()) {
      const damaged = whole.clone();
      damaged.evidence.edit(key, flip(-20));
      await expect(verify(damaged, [known]), key).rejects.toThrow();
    }
  });
});

describe("of segments that two processes wrote", () => {
  test("those count that lead to the known tree", async () => {
    const log = await TestLog.create({ commits: [20, 30], open: true });
    const known = treeAt(log, 33);
    contest(log, log.segmentKeys.at(-1) ?? "", 12);
    expect(await verify(log, [known])).toMatchObject({ size: 33 });
  });

  test("beyond the newest signed tree, nobody can say which were signed", async () => {
    const log = await TestLog.create({ commits: [20, 30], open: true });
    const last = log.segmentKeys.at(-1) ?? "";
    const other = contest(log, last, 12);
    for (const known of [[], [treeAt(log, 21)]]) {
      await expect(verify(log, known)).rejects.toThrow(
        `${other} and ${last} both continue the log at 21 entries`,
      );
    }
    const without = log.clone();
    without.evidence.delete(last);
    expect(await verify(without, [treeAt(log, 1)])).toMatchObject({ size: 33 });
  });

  test("beyond a tree after which nothing was signed, the first are taken, as AuditService takes them", async () => {
    const log = await TestLog.create({ commits: [20, 30], open: true });
    const known = { ...treeAt(log, 1), nothingSignedBeyond: true };
    const [middle, whole] = [treeAt(log, 21), treeAt(log, 51)];
    contest(log, log.segmentKeys.at(-1) ?? "", 12);
    expect(await verify(log, [known])).toMatchObject({ size: 33, records: 32 });
    expect(await verify(log, [known, middle])).toMatchObject({ size: 33 });
    expect(await verify(log, [known, whole])).toMatchObject({ size: 51 });
  });
});

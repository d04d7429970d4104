import fc from "fast-check";
import { expect, test } from "vitest";
import { concat, toHex } from "../core/bytes.ts";
import { treeSize } from "../core/ids.ts";
import { CompactRange, subtreesOf } from "./compact-range.ts";
import { GrowingTree } from "./growing-tree.ts";
import { countingEntries, countingEntry, OracleTree } from "./test-oracle.ts";
import { EMPTY_ROOT, leafHash } from "./tree.ts";

const SIZE = 700;
const oracle = new OracleTree(countingEntries(SIZE));
const leaves = (first: number, end: number) =>
  concat(...Array.from({ length: end - first }, (_, i) => leafHash(countingEntry(first + i))));

test("grown by runs of any length, it has the roots that RFC 6962 defines", () => {
  expect(toHex(CompactRange.empty().root())).toBe(toHex(EMPTY_ROOT));
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 90 }), { maxLength: 12 }), (runs) => {
      const tree = CompactRange.empty();
      for (const run of runs) {
        const end = Math.min(SIZE, tree.size + run);
        const before = tree.size;
        for (const subtree of subtreesOf(before, leaves(before, end))) tree.append(subtree);
        expect(tree.size).toBe(end);
        expect(toHex(tree.root())).toBe(toHex(oracle.root(end)));
      }
    }),
  );
});

test("it is what a growing tree comes down to, and can be written down and read", () => {
  const growing = GrowingTree.empty();
  for (let size = 0; size <= 300; size++) {
    const compact = growing.compact();
    expect(compact.hashes.length).toBeLessThanOrEqual(9);
    const read = CompactRange.of(treeSize(size), compact.hashes);
    expect(toHex(read.root())).toBe(toHex(growing.root()));
    for (const subtree of subtreesOf(size, leaves(size, size + 3))) read.append(subtree);
    expect(toHex(read.root())).toBe(toHex(oracle.root(size + 3)));
    growing.append(countingEntry(size));
  }
});

test("a copy grows alone", () => {
  const tree = CompactRange.empty();
  for (const subtree of subtreesOf(0, leaves(0, 5))) tree.append(subtree);
  const copy = tree.clone();
  for (const subtree of subtreesOf(5, leaves(5, 8))) copy.append(subtree);
  expect([tree.size, toHex(tree.root())]).toEqual([5, toHex(oracle.root(5))]);
  expect([copy.size, toHex(copy.root())]).toEqual([8, toHex(oracle.root(8))]);
});

test("a subtree that does not begin at the end, and hashes that are no tree of the size, are refused", () => {
  const tree = CompactRange.empty();
  for (const subtree of subtreesOf(0, leaves(0, 3))) tree.append(subtree);
  expect(() => tree.append({ height: 1, hash: EMPTY_ROOT })).toThrow(/no subtree of 2 entries begins at 3/);
  expect(() => CompactRange.of(treeSize(3), [EMPTY_ROOT])).toThrow(/2 complete subtrees, not 1/);
});

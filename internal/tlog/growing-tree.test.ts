import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { equalBytes, toHex } from "../core/bytes.ts";
import { treeSize } from "../core/ids.ts";
import { TlogError } from "./errors.ts";
import { GrowingTree } from "./growing-tree.ts";
import { countingEntries, countingEntry, flipBit, OracleTree, TileStore } from "./test-oracle.ts";
import { encodeEntryBundle, parseTilePath } from "./tile.ts";
import { EMPTY_ROOT } from "./tree.ts";
import vectors from "./vectors.json" with { type: "json" };

function grow(size: number): GrowingTree {
  const tree = GrowingTree.empty();
  for (let i = 0; i < size; i++) tree.append(countingEntry(i));
  return tree;
}

function sha256Hex(bytes: Uint8Array | string): string {
  return createHash("sha256").update(bytes).digest("hex");
}

const load = (store: TileStore, size: number) => GrowingTree.load(treeSize(size), store.fetch);

test("the root of every size up to 1,100 entries is the one RFC 6962 defines", () => {
  const oracle = new OracleTree(countingEntries(1_100));
  const tree = GrowingTree.empty();
  expect(toHex(tree.root())).toBe(toHex(EMPTY_ROOT));
  for (let size = 1; size <= 1_100; size++) {
    tree.append(countingEntry(size - 1));
    if (!equalBytes(tree.root(), oracle.root(size))) expect.fail(`size ${size}`);
  }
  expect(tree.size).toBe(1_100);
});

describe("vectors", () => {
  test("roots", () => {
    const tree = GrowingTree.empty();
    for (const { size, root } of vectors.countingTree.roots) {
      while (tree.size < size) tree.append(countingEntry(tree.size));
      expect(toHex(tree.root())).toBe(root);
    }
  });

  test.each(vectors.countingTree.tiles)("every tile and bundle of size $size", (expected) => {
    const objects = new Map(
      grow(expected.size)
        .takeTiles()
        .map(({ path, bytes }) => [path, sha256Hex(bytes)]),
    );
    const paths = [...objects.keys()].sort();
    for (const { path, sha256 } of expected.some) expect(objects.get(path), path).toBe(sha256);
    expect(objects.size).toBe(expected.objects);
    expect(sha256Hex(paths.map((path) => `${path} ${objects.get(path)}\n`).join(""))).toBe(
      expected.sha256OfList,
    );
    const full: Record<string, number> = {};
    for (const { level, width } of paths.map(parseTilePath)) {
      if (width === 256) full[level] = (full[level] ?? 0) + 1;
    }
    expect(full).toEqual(expected.full);
  });
});

test("takeTiles gives each full tile once and the partial ones every time", () => {
  const tree = grow(600);
  const paths = (tiles: { path: string }[]) => tiles.map(({ path }) => path).sort();
  const partials = ["tile/0/002.p/88", "tile/1/000.p/2", "tile/entries/002.p/88"];
  expect(paths(tree.takeTiles())).toEqual(
    [...partials, "tile/0/000", "tile/0/001", "tile/entries/000", "tile/entries/001"].sort(),
  );
  expect(paths(tree.takeTiles())).toEqual(partials);
  expect(GrowingTree.empty().takeTiles()).toEqual([]);
});

test("tiles that were taken do not change when the tree grows", () => {
  const tree = grow(200);
  const taken = tree.takeTiles();
  const before = taken.map(({ bytes }) => toHex(bytes));
  for (let i = 200; i < 600; i++) tree.append(countingEntry(i));
  tree.takeTiles();
  expect(taken.map(({ bytes }) => toHex(bytes))).toEqual(before);
});

test("an entry's bytes are copied", () => {
  const tree = GrowingTree.empty();
  const reused = new Uint8Array(8);
  for (let i = 0; i < 300; i++) {
    reused.set(countingEntry(i));
    tree.append(reused);
  }
  const [bundle] = tree.takeTiles();
  expect(toHex(bundle?.bytes ?? reused)).toBe(toHex(encodeEntryBundle(countingEntries(256))));
});

test("entries of any length, and too long a one changes nothing", () => {
  const lengths = [0, 65_535, 1, 20_000, 0, 40_000];
  const entries = lengths.map((length, i) => new Uint8Array(length).fill(i));
  const tree = GrowingTree.empty();
  for (const entry of entries) {
    const before = tree.clone();
    expect(() => tree.append(new Uint8Array(65_536))).toThrow(TlogError);
    expect(toHex(tree.root())).toBe(toHex(before.root()));
    tree.append(entry);
  }
  expect(toHex(tree.root())).toBe(toHex(new OracleTree(entries).root(entries.length)));
  const bundle = tree.takeTiles().find(({ path }) => path === "tile/entries/000.p/6");
  expect(bundle && equalBytes(bundle.bytes, encodeEntryBundle(entries))).toBe(true);
});

test("a clone and its original grow apart", () => {
  const contents = (tree: GrowingTree) =>
    tree.takeTiles().map(({ path, bytes }) => `${path} ${toHex(bytes)}`);
  for (const size of [0, 250, 700]) {
    const tree = grow(size);
    const clone = tree.clone();
    expect(clone.size).toBe(size);
    for (let i = size; i < size + 350; i++) clone.append(countingEntry(i));
    expect(toHex(tree.root())).toBe(toHex(grow(size).root()));
    for (let i = size; i < size + 350; i++) tree.append(countingEntry(i + 1));
    expect(toHex(clone.root())).toBe(toHex(grow(size + 350).root()));
    // Each has the tiles that nobody had taken when the clone was made.
    expect(contents(clone)).toEqual(contents(grow(size + 350)));
    expect(contents(tree).length).toBe(contents(grow(size + 350)).length);
  }
});

describe("load", () => {
  const store = new TileStore();
  const sizes = [0, 1, 2, 255, 256, 257, 300, 511, 512, 513, 600, 65_536, 66_000];
  const full = GrowingTree.empty();
  for (const size of sizes) {
    while (full.size < size) full.append(countingEntry(full.size));
    store.store(full);
  }

  test("a loaded tree goes on as if it had never stopped", async () => {
    for (const size of sizes) {
      const loaded = await load(store, size);
      const original = grow(size);
      expect(loaded.size).toBe(size);
      expect(toHex(loaded.root())).toBe(toHex(original.root()));
      original.takeTiles();
      for (const tree of [loaded, original]) {
        for (let i = size; i < size + 300; i++) tree.append(countingEntry(i));
      }
      expect(toHex(loaded.root())).toBe(toHex(original.root()));
      const tiles = original.takeTiles().map(({ path, bytes }) => `${path} ${toHex(bytes)}`);
      expect(loaded.takeTiles().map(({ path, bytes }) => `${path} ${toHex(bytes)}`)).toEqual(tiles);
    }
  });

  test("it reads the right edge only", async () => {
    store.fetched.length = 0;
    await load(store, 66_000);
    expect(store.fetched.sort()).toEqual([
      "tile/0/257.p/208",
      "tile/1/001.p/1",
      "tile/2/000.p/1",
      "tile/entries/257.p/208",
    ]);
  });

  test("partial tiles that are gone are read from the full ones", async () => {
    const fetch = store.withoutPartials().fetch;
    for (const size of [100, 256, 300, 512]) {
      const loaded = await GrowingTree.load(treeSize(size), fetch);
      expect(toHex(loaded.root())).toBe(toHex(grow(size).root()));
    }
    // Level 2 of this size is in no full tile yet.
    await expect(GrowingTree.load(treeSize(65_536), fetch)).rejects.toThrow("tile/2/000.p/1 is missing");
  });

  test("the expected root is compared", async () => {
    const root = grow(300).root();
    const size = treeSize(300);
    expect((await GrowingTree.load(size, store.fetch, root)).size).toBe(300);
    await expect(GrowingTree.load(size, store.fetch, flipBit(root, 9))).rejects.toMatchObject({
      kind: "unverified",
    });
    await expect(GrowingTree.load(treeSize(0), store.fetch, root)).rejects.toThrow(TlogError);
  });

  test("a changed byte in the edge is noticed: in the entries by the tile, in a tile by the root", async () => {
    const root = grow(66_000).root();
    const size = treeSize(66_000);
    for (const path of ["tile/0/257.p/208", "tile/1/001.p/1", "tile/2/000.p/1", "tile/entries/257.p/208"]) {
      const bytes = store.objects.get(path) ?? new Uint8Array();
      for (let bit = 0; bit < bytes.length * 8; bit += 1 + (bytes.length >> 1)) {
        const fetch = async (asked: string) => (asked === path ? flipBit(bytes, bit) : store.fetch(asked));
        await expect(GrowingTree.load(size, fetch, root), `${path} bit ${bit}`).rejects.toThrow(TlogError);
      }
    }
    const entries = store.objects.get("tile/entries/257.p/208") ?? new Uint8Array();
    const fetch = async (path: string) =>
      path.startsWith("tile/entries") ? flipBit(entries, 8 * 2 + 3) : store.fetch(path);
    await expect(GrowingTree.load(size, fetch)).rejects.toThrow(
      "tile/entries/257.p/208: entry 65792 is not the one in the level-0 tile",
    );
  });

  test.each(["tile/0/257.p/208", "tile/1/001.p/1", "tile/entries/257.p/208"])(
    "%s missing, cut, or longer",
    async (path) => {
      const bytes = store.objects.get(path) ?? new Uint8Array();
      const answers: [Uint8Array | undefined, string][] = [
        [undefined, "missing"],
        [bytes.subarray(0, -1), "malformed"],
        [bytes.subarray(0, -32), "malformed"],
        [new Uint8Array([...bytes, 0]), "malformed"],
        [new Uint8Array(), "malformed"],
      ];
      for (const [answer, kind] of answers) {
        const fetch = async (asked: string) => (asked === path ? answer : store.fetch(asked));
        await expect(GrowingTree.load(treeSize(66_000), fetch)).rejects.toMatchObject({
          name: "TlogError",
          kind,
        });
      }
    },
  );

  test("what fetch throws reaches the caller as it is", async () => {
    const failure = new Error("connection reset");
    const fetch = () => Promise.reject(failure);
    await expect(GrowingTree.load(treeSize(5), fetch)).rejects.toBe(failure);
  });
});

test("stopping and loading anywhere gives the same tree, tiles and root", async () => {
  const runs = fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1, maxLength: 6 });
  await fc.assert(
    fc.asyncProperty(runs, async (runs) => {
      const store = new TileStore();
      let tree = GrowingTree.empty();
      for (const run of runs) {
        for (let i = 0; i < run; i++) tree.append(countingEntry(tree.size));
        // Tiles written twice have the same bytes, which the store checks.
        store.store(tree);
        store.store(tree);
        tree = await GrowingTree.load(tree.size, store.fetch, tree.root());
      }
      const whole = grow(tree.size);
      expect(toHex(tree.root())).toBe(toHex(whole.root()));
      for (const { path, bytes } of whole.takeTiles()) {
        expect(toHex(store.objects.get(path) ?? new Uint8Array()), path).toBe(toHex(bytes));
      }
    }),
    { numRuns: 25 },
  );
});

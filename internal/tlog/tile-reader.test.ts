import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { equalBytes, toHex } from "../core/bytes.ts";
import { treeSize } from "../core/ids.ts";
import type { Hash } from "../core/sha256.ts";
import { TlogError } from "./errors.ts";
import { GrowingTree } from "./growing-tree.ts";
import { verifyConsistency, verifyInclusion } from "./proof.ts";
import { countingEntries, countingEntry, flipBit, OracleTree, TileStore } from "./test-oracle.ts";
import { type TileFetch, TileReader } from "./tile-reader.ts";
import { EMPTY_ROOT } from "./tree.ts";
import vectors from "./vectors.json" with { type: "json" };

const isSame = (a: readonly Hash[], b: readonly Hash[]) =>
  a.length === b.length && a.every((hash, i) => equalBytes(hash, b[i] ?? EMPTY_ROOT));

/** The tiles of the counting tree at each of `sizes`, with the roots. */
function build(sizes: readonly number[]): { store: TileStore; roots: Map<number, Hash> } {
  const store = new TileStore();
  const roots = new Map<number, Hash>();
  const tree = GrowingTree.empty();
  for (const size of sizes) {
    while (tree.size < size) tree.append(countingEntry(tree.size));
    store.store(tree);
    roots.set(size, tree.root());
  }
  return { store, roots };
}

const SMALL = 300;
const small = build(Array.from({ length: SMALL + 1 }, (_, size) => size));
const oracle = new OracleTree(countingEntries(SMALL));

function reader(
  built: { store: TileStore; roots: Map<number, Hash> },
  size: number,
  fetch: TileFetch = built.store.fetch,
) {
  return new TileReader({ fetch, size: treeSize(size), root: built.roots.get(size) ?? EMPTY_ROOT });
}

test("all proofs and entries of all trees up to 300 entries are the ones RFC 6962 defines", async () => {
  for (let size = 0; size <= SMALL; size++) {
    const tiles = reader(small, size);
    // Every index of trees around a full tile, and ever other ones elsewhere.
    const step = size < 20 || Math.abs(size - 256) < 3 ? 1 : 13;
    for (let index = size % step; index < size; index += step) {
      if (!isSame(await tiles.inclusionProof(index), oracle.inclusionProof(index, size))) {
        expect.fail(`inclusion of ${index} in ${size}`);
      }
      if (!isSame(await tiles.consistencyProof(index + 1), oracle.consistencyProof(index + 1, size))) {
        expect.fail(`consistency of ${index + 1} with ${size}`);
      }
      if (!equalBytes(await tiles.entry(index), countingEntry(index))) {
        expect.fail(`entry ${index} of ${size}`);
      }
    }
    expect(await tiles.consistencyProof(0)).toEqual([]);
    expect(await tiles.consistencyProof(size)).toEqual([]);
  }
});

test("and so are those of every older size, from the tiles of one head alone", async () => {
  const tiles = reader(build([SMALL]), SMALL);
  for (let size = 0; size <= SMALL; size++) {
    if (!equalBytes(await tiles.rootAt(size), oracle.root(size))) expect.fail(`root of ${size}`);
    for (let index = size % 7; index < size; index += 7) {
      if (!isSame(await tiles.inclusionProof(index, size), oracle.inclusionProof(index, size))) {
        expect.fail(`inclusion of ${index} in ${size}`);
      }
      if (!isSame(await tiles.consistencyProof(index + 1, size), oracle.consistencyProof(index + 1, size))) {
        expect.fail(`consistency of ${index + 1} with ${size}`);
      }
    }
  }
});

describe("70,000 entries", () => {
  const SIZE = 70_000;
  const large = build([65_536, 65_537, SIZE]);
  const root = large.roots.get(SIZE) ?? EMPTY_ROOT;

  test("vectors", async () => {
    for (const { size, index, proof } of vectors.countingTree.inclusion) {
      const built = large.roots.has(size) ? large : small;
      expect((await reader(built, size).inclusionProof(index)).map(toHex)).toEqual(proof);
    }
    for (const { oldSize, newSize, proof } of vectors.countingTree.consistency) {
      expect((await reader(large, newSize).consistencyProof(oldSize)).map(toHex)).toEqual(proof);
    }
  });

  test("any proof verifies and any entry is the right one", async () => {
    const oracle = new OracleTree(countingEntries(SIZE));
    const tiles = reader(large, SIZE);
    await fc.assert(
      fc.asyncProperty(fc.nat({ max: SIZE - 1 }), async (index) => {
        const leaf = oracle.leaf(index);
        verifyInclusion({ leaf, index, size: SIZE, proof: await tiles.inclusionProof(index), root });
        const oldSize = index + 1;
        const proof = await tiles.consistencyProof(oldSize);
        verifyConsistency({ oldSize, oldRoot: oracle.root(oldSize), newSize: SIZE, newRoot: root, proof });
        expect(toHex(await tiles.entry(index))).toBe(toHex(countingEntry(index)));
      }),
      { numRuns: 60 },
    );
  });

  test("any proof of any older size verifies", async () => {
    const oracle = new OracleTree(countingEntries(SIZE));
    const tiles = reader(build([SIZE]), SIZE);
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: SIZE }), fc.nat(), async (size, any) => {
        const index = any % size;
        const [leaf, root] = [oracle.leaf(index), await tiles.rootAt(size)];
        expect(toHex(root)).toBe(toHex(oracle.root(size)));
        verifyInclusion({ leaf, index, size, proof: await tiles.inclusionProof(index, size), root });
        const proof = await tiles.consistencyProof(index, size);
        verifyConsistency({
          oldSize: index,
          oldRoot: oracle.root(index),
          newSize: size,
          newRoot: root,
          proof,
        });
      }),
      { numRuns: 60 },
    );
  });

  test("it fetches what a proof needs, each once, however many ask", async () => {
    large.store.fetched.length = 0;
    const tiles = reader(large, SIZE);
    await Promise.all([tiles.inclusionProof(5), tiles.inclusionProof(7), tiles.entry(5), tiles.entry(6)]);
    await tiles.inclusionProof(200);
    expect(large.store.fetched.sort()).toEqual([
      "tile/0/000",
      "tile/0/273.p/112",
      "tile/1/000",
      "tile/1/001.p/17",
      "tile/2/000.p/1",
      "tile/entries/000",
    ]);
  });

  test("the caches are bounded", async () => {
    const options = {
      fetch: large.store.fetch,
      size: treeSize(SIZE),
      root,
      cachedTiles: 2,
      cachedBundles: 1,
    };
    const tiles = new TileReader(options);
    for (const index of [0, 256, 512]) await tiles.entry(index);
    large.store.fetched.length = 0;
    await tiles.entry(512);
    expect(large.store.fetched).toEqual([]);
    await tiles.entry(0);
    expect(large.store.fetched).toContain("tile/0/000");
    expect(large.store.fetched).toContain("tile/entries/000");
  });

  test("a bit changed in any object that is used: the tile is named, nothing is answered", async () => {
    const used = [
      "tile/0/005",
      "tile/1/000",
      "tile/0/273.p/112",
      "tile/1/001.p/17",
      "tile/2/000.p/1",
      "tile/entries/005",
    ];
    for (const path of used) {
      const bytes = large.store.objects.get(path) ?? new Uint8Array();
      for (const bit of [0, 13, (bytes.length * 8) >> 1, bytes.length * 8 - 1]) {
        const fetch: TileFetch = async (asked) =>
          asked === path ? flipBit(bytes, bit) : large.store.fetch(asked);
        const error = await reader(large, SIZE, fetch)
          .entry(5 * 256 + 9)
          .catch((error: unknown) => error);
        expect(error, `${path} bit ${bit}`).toBeInstanceOf(TlogError);
        expect((error as TlogError).message).toContain(path);
      }
    }
  });

  test("tiles of another tree of the same size are refused", async () => {
    const tree = GrowingTree.empty();
    for (let i = 0; i < SIZE; i++) tree.append(countingEntry(i === 69_999 ? 0 : i));
    const other = new TileStore();
    other.store(tree);
    await expect(reader(large, SIZE, other.fetch).entry(0)).rejects.toMatchObject({ kind: "unverified" });
  });
});

describe("a server that fails", () => {
  const root = small.roots.get(300) ?? EMPTY_ROOT;

  test.each(["tile/0/000", "tile/0/001.p/44", "tile/1/000.p/1", "tile/entries/000", "tile/entries/001.p/44"])(
    "%s missing, cut or longer",
    async (path) => {
      const bytes = small.store.objects.get(path) ?? new Uint8Array();
      for (const [answer, kind] of [
        [undefined, "missing"],
        [bytes.subarray(0, -1), "malformed"],
        [new Uint8Array([...bytes, ...bytes]), "malformed"],
        [new Uint8Array(), "malformed"],
      ] as const) {
        const fetch: TileFetch = async (asked) => (asked === path ? answer : small.store.fetch(asked));
        const tiles = reader(small, 300, fetch);
        const reads = Promise.all([tiles.entry(0), tiles.entry(299)]);
        await expect(reads).rejects.toMatchObject({ name: "TlogError", kind });
      }
    },
  );

  test("a failure is not remembered", async () => {
    let isDown = true;
    const failure = new Error("connection reset");
    const fetch: TileFetch = (path) => (isDown ? Promise.reject(failure) : small.store.fetch(path));
    const tiles = reader(small, 300, fetch);
    await expect(tiles.entry(3)).rejects.toBe(failure);
    await expect(tiles.inclusionProof(299)).rejects.toBe(failure);
    isDown = false;
    expect(toHex(await tiles.entry(3))).toBe(toHex(countingEntry(3)));
    verifyInclusion({
      leaf: oracle.leaf(299),
      index: 299,
      size: 300,
      proof: await tiles.inclusionProof(299),
      root,
    });
  });

  test("partial tiles that are gone are read from the full ones", async () => {
    const store = new TileStore();
    for (const [path, bytes] of build([600]).store.objects) {
      // Of 600 entries, level 1 has a partial tile only, which an older size cannot do without.
      if (!path.includes(".p/")) store.objects.set(path, bytes);
    }
    const levelOne = small.store.objects.get("tile/1/000.p/1");
    if (levelOne) store.objects.set("tile/1/000.p/1", levelOne);
    const tiles = reader(small, 300, store.fetch);
    expect(toHex(await tiles.entry(299))).toBe(toHex(countingEntry(299)));
    expect(isSame(await tiles.inclusionProof(4), oracle.inclusionProof(4, 300))).toBe(true);
  });

  test("what a caller does to an answer changes no later answer", async () => {
    const tiles = reader(small, 300);
    for (const hash of await tiles.inclusionProof(3)) hash.fill(0);
    (await tiles.entry(3)).fill(0xff);
    expect(isSame(await tiles.inclusionProof(3), oracle.inclusionProof(3, 300))).toBe(true);
    expect(toHex(await tiles.entry(3))).toBe(toHex(countingEntry(3)));
  });
});

test.each([-1, 0.5, 300, Number.NaN])("there is no entry %d", async (index) => {
  const tiles = reader(small, 300);
  await expect(tiles.entry(index)).rejects.toMatchObject({ kind: "out-of-range" });
  await expect(tiles.inclusionProof(index)).rejects.toMatchObject({ kind: "out-of-range" });
  await expect(tiles.consistencyProof(index < 0 ? index : index + 1)).rejects.toMatchObject({
    kind: "out-of-range",
  });
});

import { expect, test } from "vitest";
import { toHex } from "../core/bytes.ts";
import { GrowingTree } from "./growing-tree.ts";
import { type EntryRun, readEntries } from "./read-entries.ts";
import { countingEntry, TileStore } from "./test-oracle.ts";
import type { TileFetch } from "./tile-fetch.ts";

const SIZE = 2_000;
const tree = GrowingTree.empty();
for (let i = 0; i < SIZE; i++) tree.append(countingEntry(i));
const store = new TileStore();
store.store(tree);

async function collect(from: number, size: number, fetch: TileFetch = store.fetch): Promise<EntryRun[]> {
  const runs: EntryRun[] = [];
  for await (const run of readEntries(fetch, from, size)) runs.push(run);
  return runs;
}

test("every entry from anywhere, in order, with its index", async () => {
  for (const from of [0, 1, 255, 256, 257, 1_999, 2_000]) {
    const runs = await collect(from, SIZE);
    let next = from;
    for (const { first, entries } of runs) {
      expect(first).toBe(next);
      for (const entry of entries) expect(toHex(entry)).toBe(toHex(countingEntry(next++)));
    }
    expect(next).toBe(SIZE);
    expect(runs.every(({ entries }) => entries.length > 0)).toBe(true);
  }
});

test("an older size reads the beginning of full bundles", async () => {
  const runs = await collect(200, 300);
  expect(runs.map(({ first, entries }) => [first, entries.length])).toEqual([
    [200, 56],
    [256, 44],
  ]);
});

test("what was read, appended, gives the root and the tiles of the log", async () => {
  const again = GrowingTree.empty();
  for (const { entries } of await collect(0, SIZE)) for (const entry of entries) again.append(entry);
  expect(toHex(again.root())).toBe(toHex(tree.root()));
  for (const { path, bytes } of again.takeTiles())
    expect(toHex(bytes)).toBe(toHex(store.objects.get(path) ?? bytes.subarray(1)));
});

test("it reads ahead a little, and no further", async () => {
  store.fetched.length = 0;
  const runs = readEntries(store.fetch, 0, SIZE, { ahead: 2 });
  await runs.next();
  expect(store.fetched).toEqual(["tile/entries/000", "tile/entries/001", "tile/entries/002"]);
  await runs.return(undefined);
  expect(store.fetched.length).toBe(3);
});

test("a missing or malformed bundle ends it there, and what came before was given", async () => {
  for (const [answer, message] of [
    [undefined, "tile/entries/003 is missing"],
    [new Uint8Array(3), "tile/entries/003: an entry bundle ends within an entry's length"],
    [new Uint8Array(4), "tile/entries/003 holds 2 entries, not 256"],
  ] as const) {
    const fetch: TileFetch = async (path) => (path === "tile/entries/003" ? answer : store.fetch(path));
    const firsts: number[] = [];
    const read = async () => {
      for await (const { first } of readEntries(fetch, 0, SIZE)) firsts.push(first);
    };
    await expect(read()).rejects.toThrow(message);
    expect(firsts).toEqual([0, 256, 512]);
  }
});

test("a failure of a bundle nobody came to is nobody's", async () => {
  const fetch: TileFetch = async (path) => {
    if (path !== "tile/entries/000") throw new Error("connection reset");
    return store.fetch(path);
  };
  // An unhandled rejection would fail the test run.
  for await (const { first } of readEntries(fetch, 0, SIZE)) {
    expect(first).toBe(0);
    break;
  }
});

test.each([
  [-1, 5],
  [6, 5],
  [0.5, 5],
  [0, Number.NaN],
])("no entries from %d to %d", async (from, size) => {
  await expect(collect(from, size)).rejects.toMatchObject({ kind: "out-of-range" });
});

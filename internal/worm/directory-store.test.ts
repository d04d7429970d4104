import {
  chmod,
  link,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  utimes,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { utf8 } from "../core/bytes.ts";
import { DirectoryStore } from "./directory-store.ts";
import { keys, objectStoreContract } from "./object-store.contract.ts";
import { MAX_OBJECT_BYTES, ObjectCorruptError, ObjectKeyError } from "./object-store.ts";

async function newPlace() {
  const parent = await mkdtemp(join(tmpdir(), "psephos-worm-"));
  const directory = join(parent, "not", "there", "yet");
  return {
    parent,
    directory,
    open: (days?: number) => new DirectoryStore({ directory, ...(days ? { retention: { days } } : {}) }),
    [Symbol.asyncDispose]: () => rm(parent, { recursive: true, force: true }),
  };
}

objectStoreContract("DirectoryStore", async () => {
  const place = await newPlace();
  return { open: () => place.open(), [Symbol.asyncDispose]: place[Symbol.asyncDispose] };
});
objectStoreContract("DirectoryStore with retention", async () => {
  const place = await newPlace();
  return { open: () => place.open(30), [Symbol.asyncDispose]: place[Symbol.asyncDispose] };
});

test("an object is one read-only file at its key, with nothing left beside it", async () => {
  await using place = await newPlace();
  await place.open().put("e-1/votes/x.zst", utf8("bytes"));
  const file = join(place.directory, "e-1/votes/x.zst");
  expect(await readFile(file, "utf8")).toBe("bytes");
  const status = await stat(file);
  expect(status.mode & 0o777).toBe(0o444 & ~process.umask());
  expect(status.nlink).toBe(1);
  expect(await readdir(join(place.directory, ".tmp"))).toEqual([]);
  expect(await readdir(join(place.directory, "e-1/votes"))).toEqual(["x.zst"]);
});

test("reading makes nothing, not even the directory", async () => {
  await using place = await newPlace();
  const store = place.open();
  expect(await store.get("a/b")).toBeUndefined();
  expect(await keys(store, "")).toEqual([]);
  expect(await readdir(place.parent)).toEqual([]);
});

test("keys that climb create nothing outside the directory", async () => {
  await using place = await newPlace();
  const store = place.open();
  await store.put("inside", utf8("x"));
  for (const key of ["../up", "a/../../up", "..", "/etc/up", "a/..\\..\\up"]) {
    await expect(store.put(key, utf8("x"))).rejects.toThrow(ObjectKeyError);
    await expect(store.get(key)).rejects.toThrow(ObjectKeyError);
  }
  expect(await readdir(place.parent, { recursive: true })).toHaveLength(5); // not there yet .tmp inside
});

test("a key below another object's, or above, is refused and harms neither", async () => {
  await using place = await newPlace();
  const store = place.open();
  await store.put("a", utf8("file"));
  await store.put("b/c", utf8("file"));
  for (const key of ["a/x", "a/x/y", "a/x/y/z", "b"]) {
    await expect(store.put(key, utf8("file")), key).rejects.toThrow(ObjectKeyError);
  }
  expect(await keys(place.open(), "")).toEqual(["a", "b/c"]);
});

test("retention is counted from the put, in whole seconds, and stays as it was", async () => {
  await using place = await newPlace();
  const before = Math.floor(Date.now() / 1000) * 1000;
  const first = await place.open(30).put("a", utf8("x"));
  const until = first.retainUntil?.getTime() ?? 0;
  expect(until % 1000).toBe(0);
  expect(until - 30 * 86_400_000).toBeGreaterThanOrEqual(before);
  expect(until - 30 * 86_400_000).toBeLessThanOrEqual(Date.now());
  // A repetition after the setting changed must not answer another date: the date is hashed into checkpoint.json.
  expect(await place.open(60).put("a", utf8("x"))).toEqual(first);
  expect((await place.open().put("b", utf8("x"))).retainUntil).toBeNull();
});

test.each([0, -1, 1.5, Number.NaN, 36_501])("a retention of %d days is a mistake", (days) => {
  expect(() => new DirectoryStore({ directory: "x", retention: { days } })).toThrow(RangeError);
});

test("bytes changed behind the store's back are told from the version that was put", async () => {
  await using place = await newPlace();
  const object = await place.open().put("a/b", utf8("true"));
  const file = join(place.directory, "a/b");
  await chmod(file, 0o644);
  await writeFile(file, "fake");
  await expect(place.open().get("a/b", object.versionId)).rejects.toThrow(ObjectCorruptError);
  expect(await place.open().get("a/b")).toEqual(utf8("fake"));
  await rm(file);
  expect(await place.open().get("a/b", object.versionId)).toBeUndefined();
});

test("a file too large to be an object is not read into memory", async () => {
  await using place = await newPlace();
  await mkdir(place.directory, { recursive: true });
  await writeFile(join(place.directory, "huge"), new Uint8Array(MAX_OBJECT_BYTES + 1));
  await expect(place.open().get("huge")).rejects.toThrow(ObjectCorruptError);
});

test("what a dead writer left unfinished is not listed, and is removed once it is old", async () => {
  await using place = await newPlace();
  await place.open().put("a", utf8("x"));
  const left = join(place.directory, ".tmp", "left-behind");
  await writeFile(left, "half an obj");
  await utimes(left, new Date(0), new Date(0)); // Age is the inode's, which nobody can set.
  await place.open().put("b", utf8("x"));
  expect(await keys(place.open(), "")).toEqual(["a", "b"]);
  expect(await readdir(join(place.directory, ".tmp"))).toEqual(["left-behind"]);

  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 2 * 60 * 60 * 1000 });
  try {
    await place.open().put("c", utf8("x"));
  } finally {
    vi.useRealTimers();
  }
  expect(await readdir(join(place.directory, ".tmp"))).toEqual([]);
  expect(await keys(place.open(), "")).toEqual(["a", "b", "c"]);
});

test("a writer that died right after link left a whole object, and its put can be repeated", async () => {
  await using place = await newPlace();
  await place.open(30).put("first", utf8("x"));
  const temporary = join(place.directory, ".tmp", "of-the-dead");
  await writeFile(temporary, "whole", { mode: 0o444 });
  await utimes(temporary, new Date(), new Date(2_000_000_000_000));
  await mkdir(join(place.directory, "votes"));
  await link(temporary, join(place.directory, "votes/second"));
  const store = place.open(30);
  expect(await keys(store, "")).toEqual(["first", "votes/second"]);
  expect(await store.put("votes/second", utf8("whole"))).toMatchObject({
    retainUntil: new Date(2_000_000_000_000),
  });
});

test("files that no put made are not objects", async () => {
  await using place = await newPlace();
  const store = place.open();
  await store.put("a/b", utf8("x"));
  await mkdir(join(place.directory, "lost+found"));
  await writeFile(join(place.directory, "lost+found/c"), "x");
  await writeFile(join(place.directory, "README.md"), "x");
  await writeFile(join(place.directory, ".DS_Store"), "x");
  expect(await keys(store, "")).toEqual(["a/b"]);
});

/** Ways in which folders go away under an open store. */
const deletions: [string, (place: { directory: string; parent: string }) => Promise<void>][] = [
  ["all of it", ({ parent }) => rm(join(parent, "not"), { recursive: true })],
  ["what is in it", ({ directory }) => rm(join(directory, "e-1"), { recursive: true })],
  ["the folder of an object", ({ directory }) => rm(join(directory, "e-1/tile/0"), { recursive: true })],
  ["the store's own folder", ({ directory }) => rm(join(directory, ".tmp"), { recursive: true })],
];

test.each(deletions)("a store that lost %s makes it again at the next puts", async (_, remove) => {
  await using place = await newPlace();
  const store = place.open();
  await store.put("e-1/tile/0/000", utf8("x"));
  await remove(place);
  const names = Array.from({ length: 20 }, (_, i) => `e-1/tile/${i % 3}/${100 + i}`);
  await Promise.all(names.map((name) => store.put(name, utf8(name))));
  for (const name of names) expect(await store.get(name)).toEqual(utf8(name));
  expect(await keys(place.open(), "e-1/tile/0/1")).toHaveLength(7);
  expect(await readdir(join(place.directory, ".tmp"))).toEqual([]);
});

test.each(deletions)("a store with retention that lost %s refuses to go on", async (_, remove) => {
  await using place = await newPlace();
  const store = place.open(30);
  await store.put("e-1/tile/0/000", utf8("x"));
  await remove(place);
  for (const name of ["e-1/tile/0/001", "e-1/tile/0/001"]) {
    await expect(store.put(name, utf8("x"))).rejects.toThrow(ObjectCorruptError);
  }
});

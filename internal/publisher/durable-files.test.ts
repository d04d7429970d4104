import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { utf8 } from "../core/bytes.ts";
import { DurableFiles } from "./durable-files.ts";
import { failure, TestDirectories } from "./test-publisher.ts";

let directories: TestDirectories;
let root: string;
let files: DurableFiles;

beforeEach(async () => {
  directories = await TestDirectories.create({ inMemory: true });
  root = join(directories.root, "a/b");
  files = await DurableFiles.open({ root });
});

afterEach(async () => {
  files[Symbol.dispose]();
  await directories[Symbol.asyncDispose]();
});

const file = (path: string, text: string) => ({ path, bytes: utf8(text) });

test("creates files with their folders, and leaves nothing else", async () => {
  await files.createAll([file("x", "1"), file("y/z/x", "2"), file("y/w", "")]);
  expect(await readFile(join(root, "x"), "utf8")).toBe("1");
  expect(await readFile(join(root, "y/z/x"), "utf8")).toBe("2");
  expect(await readFile(join(root, "y/w"), "utf8")).toBe("");
  expect(await readdir(join(root, ".staging"))).toEqual([]);
  expect((await files.list()).sort()).toEqual(["x", "y"]);
});

test("creates what is there already with the same bytes, beside what is not", async () => {
  await files.createAll([file("x", "1")]);
  await files.createAll([file("x", "1"), file("y", "2")]);
  expect(await files.read("y")).toEqual(Buffer.from("2"));
});

test("writes none when one is there with other bytes", async () => {
  await files.createAll([file("x", "1")]);
  const many = Array.from({ length: 20 }, (_, index) => file(`new/${index}`, "2"));
  const error = await failure(files.createAll([...many, file("x", "2"), ...many]));
  expect(error).toMatchObject({ name: "FileConflictError", path: "x" });
  expect(await files.list()).toEqual(["x"]);
  expect(await readFile(join(root, "x"), "utf8")).toBe("1");
});

test("replaces a file for readers at once", async () => {
  const texts = ["a".repeat(50_000), "b".repeat(70_000)];
  await files.replace(file("x", texts[0] ?? ""));
  let writing = true;
  const writer = (async () => {
    for (let round = 1; round < 60; round++) await files.replace(file("x", texts[round % 2] ?? ""));
    writing = false;
  })();
  while (writing) expect(texts).toContain(String(await files.read("x")));
  await writer;
});

test("reads what is not there as nothing, and passes other failures on", async () => {
  await files.createAll([file("x", "1")]);
  expect(await files.read("y")).toBeUndefined();
  expect(await files.read("x/y")).toBeUndefined();
  await mkdir(join(root, "folder"));
  expect(await failure(files.read("folder"))).toMatchObject({ code: "EISDIR" });
});

test("has one writer at a time", async () => {
  expect(await failure(DurableFiles.open({ root }))).toMatchObject({ name: "DirectoryLockedError" });
  files[Symbol.dispose]();
  files = await DurableFiles.open({ root });
});

test("clears away what a crash left in flight, and not what another process has in flight", async () => {
  await writeFile(join(root, ".staging/7"), "half");
  await failure(DurableFiles.open({ root }));
  expect(await readdir(join(root, ".staging"))).toEqual(["7"]);
  files[Symbol.dispose]();
  files = await DurableFiles.open({ root });
  expect(await readdir(join(root, ".staging"))).toEqual([]);
});

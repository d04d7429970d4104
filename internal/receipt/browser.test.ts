// A web page verifies promises and receipts with this folder, so that nothing it needs may be Node's alone.
import { readdir, readFile } from "node:fs/promises";
import { afterEach, expect, test, vi } from "vitest";
import { parseManifest } from "../ballot/manifest.ts";
import { utf8 } from "../core/bytes.ts";
import { sha256 } from "../core/sha256.ts";
import { TestReceipts, voteEntry } from "./test-receipts.ts";
import vectors from "./vectors.json" with { type: "json" };

const MANIFEST = utf8(vectors.manifest.canonical);
const ELECTION = { manifest: parseManifest(MANIFEST), manifestHash: sha256(MANIFEST) };
const isSource = (name: string) => name.endsWith(".ts") && !/\.test\.ts$|^test-/.test(name);
const sources = (await readdir(new URL("./", import.meta.url))).filter(isSource);

/** The files that a file of ours imports, types left out, and theirs, with what they import from elsewhere. */
async function closure(
  file: URL,
  files = new Map<string, string>(),
  packages = new Set<string>(),
): Promise<{ readonly files: ReadonlyMap<string, string>; readonly packages: ReadonlySet<string> }> {
  if (files.has(file.href)) return { files, packages };
  const code = (await readFile(file, "utf8")).replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, "");
  files.set(file.href, code);
  for (const [, from = ""] of code.matchAll(
    /^(?:import|export)\s(?!type\s)(?:[^;"]*?\sfrom\s)?"([^"]+)"/gm,
  )) {
    if (from.startsWith(".")) await closure(new URL(from, file), files, packages);
    else packages.add(from);
  }
  return { files, packages };
}

test.each(sources)("%s and all that it imports", async (name) => {
  const { files, packages } = await closure(new URL(name, import.meta.url));
  expect([...packages].filter((from) => !/^@noble\/(ed25519|hashes)|^@scure\/base$/.test(from))).toEqual([]);
  for (const [path, code] of files) {
    // sha256.ts asks for node:crypto where it is, and does without where it is not.
    const own = path.endsWith("/core/sha256.ts") ? "" : code;
    expect(own.match(/\b(?:Buffer|process|require|__dirname|setImmediate)\b|node:/g), path).toBeNull();
  }
});

test("the sources are all here, and their imports are found", async () => {
  expect(sources).toContain("promise.ts");
  const { files } = await closure(new URL("promise-fate.ts", import.meta.url));
  const names = [...files.keys()].map((path) => path.slice(path.lastIndexOf("/internal/")));
  expect(names).toContain("/internal/ballot/entry.ts");
  expect(names).toContain("/internal/tlog/tile-tree.ts");
});

afterEach(() => {
  vi.unstubAllGlobals();
  vi.resetModules();
});

test("without node:crypto and Buffer, the same promises and receipts verify", async () => {
  const receipt = await new TestReceipts([voteEntry(3, 1)]).receipt(1);
  vi.resetModules();
  vi.stubGlobal("process", { ...process, getBuiltinModule: undefined });
  vi.stubGlobal("Buffer", undefined);
  const { parsePromise, verifyPromise } = await import("./promise.ts");
  const { NoteVerifier } = await import("../tlog/note-verifier.ts");
  for (const { file, size } of vectors.promises) {
    expect(verifyPromise({ promise: parsePromise(file), ...ELECTION }).batchSize).toBe(size);
  }
  const { verifyReceipt } = await import("./receipt.ts");
  const log = NoteVerifier.parse(vectors.log_key);
  expect(verifyReceipt({ receipt, log })).toMatchObject({ index: 1, entry: { shard: 3, sequence: 1 } });
});

// This folder is also what a web page verifies with, so it asks for nothing that only Node has.
import { readdir, readFile } from "node:fs/promises";
import { afterEach, describe, expect, test, vi } from "vitest";
import { fromHex } from "../core/bytes.ts";
import vectors from "./vectors.json" with { type: "json" };

const folder = new URL("./", import.meta.url);
const sources = (await readdir(folder)).filter(
  (name) => name.endsWith(".ts") && !/\.test\.ts$|^test-/.test(name),
);

describe.each(sources)("%s", async (name) => {
  const source = await readFile(new URL(name, folder), "utf8");
  const code = source.replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, "");

  test("imports core, its neighbours and noble only", () => {
    const imports = [...code.matchAll(/\bfrom\s+"([^"]+)"|\bimport\s*\(?\s*"([^"]+)"/g)].map(
      (match) => match[1] ?? match[2],
    );
    const allowed = /^(?:\.\/|\.\.\/core\/|@noble\/(?:ed25519|hashes)(?:\/|$))/;
    expect(imports.filter((path) => !allowed.test(path ?? ""))).toEqual([]);
    expect(imports.filter((path) => /\/test-/.test(path ?? ""))).toEqual([]);
  });

  test("uses no global of Node", () => {
    const globals = /\b(?:Buffer|process|require|__dirname|__filename|setImmediate|global)\b|node:/g;
    expect(code.match(globals)).toBeNull();
  });
});

test("the sources are all here", () => {
  expect(sources).toContain("tile-reader.ts");
  expect(sources.length).toBeGreaterThanOrEqual(12);
});

describe("without node:crypto and Buffer", () => {
  afterEach(() => {
    vi.unstubAllGlobals();
    vi.resetModules();
  });

  test("trees, tiles and notes are the same", async () => {
    vi.resetModules();
    vi.stubGlobal("process", { ...process, getBuiltinModule: undefined });
    vi.stubGlobal("Buffer", undefined);
    const { GrowingTree } = await import("./growing-tree.ts");
    const { openNote } = await import("./note.ts");
    const { NoteVerifier } = await import("./note-verifier.ts");
    const { toHex } = await import("../core/bytes.ts");

    const tree = GrowingTree.empty();
    for (const entry of vectors.tree.entries) tree.append(fromHex(entry));
    expect(toHex(tree.root())).toBe(vectors.tree.roots.at(-1));
    expect(tree.root().constructor).toBe(Uint8Array);
    for (const { note, verifierKeys, text } of vectors.notes.valid) {
      expect(openNote(note, verifierKeys.map(NoteVerifier.parse)).text).toBe(text);
    }
  });
});

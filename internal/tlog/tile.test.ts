import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { equalBytes, fromHex, toHex } from "../core/bytes.ts";
import { TlogError } from "./errors.ts";
import { attempt } from "./test-fuzz.ts";
import {
  decodeEntryBundle,
  encodeEntryBundle,
  hashesAtLevel,
  parseTilePath,
  rightEdge,
  type TileLevel,
  tilePath,
  tileWidthAt,
} from "./tile.ts";
import vectors from "./vectors.json" with { type: "json" };

describe("paths", () => {
  test.each(vectors.tilePaths.valid)("$path", ({ path, level, index, width }) => {
    // A JSON import has no type finer than string.
    expect(tilePath(level as TileLevel, index, width)).toBe(path);
    expect(parseTilePath(path)).toEqual({ level, index, width });
  });

  test.each(vectors.tilePaths.refused)("refused: $path", ({ path }) => {
    expect(() => parseTilePath(path)).toThrow(TlogError);
  });

  test("a path and its parts stand for each other", () => {
    const level = fc.oneof(fc.nat({ max: 63 }), fc.constant("entries" as const));
    fc.assert(
      fc.property(level, fc.maxSafeNat(), fc.integer({ min: 1, max: 256 }), (level, index, width) => {
        expect(parseTilePath(tilePath(level, index, width))).toEqual({ level, index, width });
      }),
    );
  });

  test("a path with a character changed is refused, or it is the path of what it then says", () => {
    fc.assert(
      fc.property(
        fc.nat({ max: 5_000_000 }),
        fc.integer({ min: 1, max: 256 }),
        fc.nat(),
        fc.constantFrom(..."0123456789x/.p- "),
        (index, width, at, character) => {
          const path = tilePath(0, index, width);
          const changed = path.slice(0, at % path.length) + character + path.slice((at % path.length) + 1);
          const parsed = attempt(() => parseTilePath(changed));
          return parsed === undefined || tilePath(parsed.level, parsed.index, parsed.width) === changed;
        },
      ),
    );
  });

  test.each([
    [64, 0, 256],
    [-1, 0, 256],
    [0.5, 0, 256],
    [0, -1, 256],
    [0, 2 ** 53, 256],
    [0, 0, 0],
    [0, 0, 257],
    [0, 0, 1.5],
  ])("no path for level %d, index %d, width %d", (level, index, width) => {
    expect(() => tilePath(level, index, width)).toThrow(TlogError);
  });
});

describe("which tiles a tree has", () => {
  test("256 entries: a full level-0 tile, and a level-1 tile of width 1", () => {
    expect(rightEdge(256)).toEqual([{ level: 1, index: 0, width: 1 }]);
    expect(tileWidthAt(256, 0, 0)).toBe(256);
    expect(tileWidthAt(256, 0, 1)).toBe(0);
  });

  test("70,000 entries, the specification's example", () => {
    expect([hashesAtLevel(70_000, 0), hashesAtLevel(70_000, 1), hashesAtLevel(70_000, 2)]).toEqual([
      70_000, 273, 1,
    ]);
    expect(rightEdge(70_000)).toEqual([
      { level: 0, index: 273, width: 112 },
      { level: 1, index: 1, width: 17 },
      { level: 2, index: 0, width: 1 },
    ]);
  });

  test("none, and as many as there are", () => {
    expect(rightEdge(0)).toEqual([]);
    expect(rightEdge(2 ** 53 - 1).map(({ level, width }) => [level, width])).toEqual([
      [0, 255],
      [1, 255],
      [2, 255],
      [3, 255],
      [4, 255],
      [5, 255],
      [6, 31],
    ]);
  });
});

describe("entry bundles", () => {
  test.each(vectors.entryBundles.valid)("$bytes", ({ entries, bytes }) => {
    expect(toHex(encodeEntryBundle(entries.map(fromHex)))).toBe(bytes);
    expect(decodeEntryBundle(fromHex(bytes)).map(toHex)).toEqual(entries);
  });

  test.each(vectors.entryBundles.refused)("refused: $why", ({ bytes }) => {
    expect(() => decodeEntryBundle(fromHex(bytes))).toThrow(TlogError);
  });

  const anyEntries = fc.array(fc.uint8Array({ maxLength: 300 }), { minLength: 1, maxLength: 256 });

  test("entries come back as they were", () => {
    fc.assert(
      fc.property(anyEntries, (entries) => {
        const decoded = decodeEntryBundle(encodeEntryBundle(entries));
        expect(decoded.length).toBe(entries.length);
        expect(decoded.every((entry, i) => equalBytes(entry, entries[i] ?? new Uint8Array()))).toBe(true);
      }),
      { numRuns: 50 },
    );
  });

  test("any bytes are refused, or are what their entries encode to", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => {
        // Small lengths, so that some of them are bundles.
        const sparse = bytes.map((byte, i) => (i % 2 === 0 ? 0 : byte % 8));
        const entries = attempt(() => decodeEntryBundle(sparse));
        return entries === undefined || equalBytes(encodeEntryBundle(entries), sparse);
      }),
    );
  });

  test("a bundle that lies within a larger buffer", () => {
    const buffer = fromHex("ffff00010aff");
    expect(decodeEntryBundle(buffer.subarray(2, 5)).map(toHex)).toEqual(["0a"]);
  });

  test("limits: 1 to 256 entries of at most 65,535 bytes", () => {
    const longest = new Uint8Array(65_535).fill(7);
    expect(decodeEntryBundle(encodeEntryBundle([longest]))[0]?.length).toBe(65_535);
    expect(() => encodeEntryBundle([new Uint8Array(65_536)])).toThrow(TlogError);
    expect(() => encodeEntryBundle([])).toThrow(TlogError);
    expect(() => encodeEntryBundle(new Array(257).fill(new Uint8Array()))).toThrow(TlogError);
  });
});

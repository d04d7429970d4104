import { equalBytes } from "../core/bytes.ts";
import { messageOf } from "../core/errors.ts";
import type { Hash } from "../core/sha256.ts";
import { BLOCK_ENTRIES } from "../evidence/layout.ts";
import type { Checkpoint } from "../tlog/checkpoint.ts";
import { TlogError } from "../tlog/errors.ts";
import { GrowingTree } from "../tlog/growing-tree.ts";
import { readEntries } from "../tlog/read-entries.ts";
import { parseTilePath, TILE_WIDTH, type Tile, tilePath } from "../tlog/tile.ts";
import { TileReader } from "../tlog/tile-reader.ts";
import { bundlePath, EntrySequence, type EntrySequenceOptions } from "./entry-sequence.ts";
import { type PublicSource, SourceError, SourceGoneError } from "./http-source.ts";
import { VerificationReport } from "./report.ts";

export interface VerifyTreeOptions extends Omit<EntrySequenceOptions, "size"> {
  readonly source: PublicSource;
  readonly checkpoint: Checkpoint;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

export interface VerifiedTree {
  readonly closing: EntrySequence["closing"];
  /** The roots at the ends of blocks, as the entries give them; none when not all entries could be verified. */
  readonly blockRoots: ReadonlyMap<number, Hash>;
}

/** How many objects are on their way at once. */
const AHEAD = 16;

/**
 * Verifies every entry and every tile up to the signed root.
 *
 * First from below: the entries alone give a tree, and if its root is the signed one, they are all right, and each tile
 * must be that tree's own, byte for byte. So one changed tile is named and leaves everything else verified. Otherwise
 * from above: each tile is hashed in the one over it, and the entries in their tile, so that what was changed shows.
 */
export async function verifyTree(options: VerifyTreeOptions): Promise<VerifiedTree> {
  const report = new VerificationReport();
  const verified = await readFromBelow({ ...options, report });
  if (!verified) return readFromAbove(options);
  options.report.add(report);
  return verified;
}

/** Undefined when the entries do not lead to the signed root: what was reported on the way there means nothing. */
async function readFromBelow(options: VerifyTreeOptions): Promise<VerifiedTree | undefined> {
  const { checkpoint, report, onProgress } = options;
  const source = counting(options);
  const sequence = new EntrySequence({ ...options, size: checkpoint.size });
  const tree = GrowingTree.empty();
  const blockRoots = new Map<number, Hash>();
  try {
    for await (const { entries } of readEntries(source, 0, checkpoint.size, { ahead: AHEAD })) {
      for (const entry of entries) {
        sequence.accept(tree.size, entry);
        tree.append(entry);
        if (tree.size % BLOCK_ENTRIES > 0) continue;
        // Here the log was signed, and its partial tiles served: they are compared like the full ones.
        blockRoots.set(tree.size, tree.root());
        await compareTiles(tree.takeTiles(), source, report);
      }
      report.checked.entries += entries.length;
      onProgress?.(tree.size, checkpoint.size);
    }
  } catch (error) {
    if (error instanceof TlogError || error instanceof SourceError) return undefined;
    throw error;
  }
  if (!equalBytes(tree.root(), checkpoint.root)) return undefined;
  blockRoots.set(tree.size, tree.root());
  await compareTiles(tree.takeTiles(), source, report);
  return { closing: sequence.closing, blockRoots };
}

async function compareTiles(
  tiles: readonly Tile[],
  source: PublicSource,
  report: VerificationReport,
): Promise<void> {
  const compare = async ({ path, bytes }: Tile) => {
    try {
      const problem = await problemWith({ path, bytes }, source);
      if (problem) report.problem({ object: path }, problem);
    } catch (error) {
      if (!(error instanceof SourceError)) throw error;
      report.problem({ object: path }, error.message);
    }
  };
  for (let i = 0; i < tiles.length; i += AHEAD) await Promise.all(tiles.slice(i, i + AHEAD).map(compare));
}

/** What is wrong with a tile as it is served, if anything. */
export async function problemWith({ path, bytes }: Tile, source: PublicSource): Promise<string | undefined> {
  const { level, index, width } = parseTilePath(path);
  // The entries were read from these.
  if (level === "entries" && width === TILE_WIDTH) return undefined;
  const served = await source(path);
  if (served) return equalBytes(served, bytes) ? undefined : "is not what the log's entries give";
  // A partial tile may go once the full one is there, which begins with the same bytes (tlog-tiles, "Partial Tiles").
  const full = width < TILE_WIDTH ? await source(tilePath(level, index)) : undefined;
  return full && equalBytes(full.subarray(0, bytes.length), bytes) ? undefined : "is missing";
}

/** A bundle that fails is reported, once for each tile that is to blame, and the next one is tried. */
async function readFromAbove(options: VerifyTreeOptions): Promise<VerifiedTree> {
  const { checkpoint, report, onProgress } = options;
  const { size, root } = checkpoint;
  const reader = new TileReader({ fetch: counting(options), size, root });
  const sequence = new EntrySequence({ ...options, size });
  const blamed = new Set<string>();
  const unread = new Ranges();
  for await (const { first, last, entries, error } of readBundles(reader)) {
    const isHopeless = error instanceof SourceGoneError || report.full;
    if (error) {
      const object = (error instanceof TlogError && error.path) || bundlePath(first, size);
      if (!blamed.has(object)) report.problem({ object, index: first }, messageOf(error));
      blamed.add(object);
      unread.add(first, isHopeless ? size - 1 : last);
      sequence.skip();
    }
    if (isHopeless) break;
    for (const [offset, entry] of entries.entries()) sequence.accept(first + offset, entry);
    report.checked.entries += entries.length;
    onProgress?.(last + 1, size);
  }
  for (const [first, last] of unread) report.unchecked(`public entries ${first} to ${last}`);
  return { closing: sequence.closing, blockRoots: new Map() };
}

/** Ranges of integers, added in ascending order; those that touch become one. */
class Ranges {
  readonly #ranges: [first: number, last: number][] = [];

  add(first: number, last: number): void {
    const previous = this.#ranges.at(-1);
    if (previous && previous[1] + 1 === first) previous[1] = last;
    else this.#ranges.push([first, last]);
  }

  [Symbol.iterator](): Iterator<readonly [first: number, last: number]> {
    return this.#ranges[Symbol.iterator]();
  }
}

interface Bundle {
  readonly first: number;
  readonly last: number;
  readonly entries: readonly Uint8Array[];
  /** Why there are no entries. */
  readonly error?: unknown;
}

/** Every bundle of the log in order, some of them fetched ahead. */
async function* readBundles(reader: TileReader): AsyncGenerator<Bundle, void, undefined> {
  const bundles = Math.ceil(reader.size / TILE_WIDTH);
  const pending: Promise<Bundle>[] = [];
  for (let next = 0; next < bundles || pending.length > 0; ) {
    while (next < bundles && pending.length < AHEAD) pending.push(readBundle(reader, next++));
    const bundle = await pending.shift();
    if (bundle) yield bundle;
  }
}

async function readBundle(reader: TileReader, index: number): Promise<Bundle> {
  const first = index * TILE_WIDTH;
  const last = Math.min(first + TILE_WIDTH, reader.size) - 1;
  try {
    const indices = Array.from({ length: last - first + 1 }, (_, offset) => first + offset);
    return { first, last, entries: await Promise.all(indices.map((i) => reader.entry(i))) };
  } catch (error) {
    return { first, last, entries: [], error };
  }
}

function counting({ source, report }: VerifyTreeOptions): PublicSource {
  return async (path) => {
    const bytes = await source(path);
    if (bytes) report.checked.tiles++;
    report.checked.bytes += bytes?.length ?? 0;
    return bytes;
  };
}

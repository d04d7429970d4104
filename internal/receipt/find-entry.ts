// Where a vote's entry is in a log, by its shard and sequence. The log has no index of them: its order is the only help.
import { decodeEntry, encodeEntry, type LogEntry, type VoteEntry } from "../ballot/entry.ts";
import { FormatError } from "../ballot/format-error.ts";
import { equalBytes, toHex } from "../core/bytes.ts";
import type { Checkpoint } from "../tlog/checkpoint.ts";
import { CompactRange } from "../tlog/compact-range.ts";
import { unverified } from "../tlog/errors.ts";
import { readEntries } from "../tlog/read-entries.ts";
import { TILE_WIDTH } from "../tlog/tile.ts";
import type { TileFetch } from "../tlog/tile-fetch.ts";
import type { TileReader } from "../tlog/tile-reader.ts";
import { leafHash } from "../tlog/tree.ts";

/** `0x02 ‖ u16 shard ‖ u64 sequence`: what all entries of one place begin with. */
const PLACE_SIZE = 11;

export type Place = Pick<VoteEntry, "shard" | "sequence">;

/** An entry of a log, which was verified to be there. */
export interface FoundEntry {
  readonly index: number;
  readonly entry: VoteEntry;
}

/**
 * By halving, since a shard's sequences only rise along a log: some twenty bundles of a log of 300 million. In a log that
 * breaks that rule it may find nothing; that an entry is not there, only `scanForEntry` can say.
 */
export async function findEntry(reader: TileReader, place: Place): Promise<FoundEntry | undefined> {
  let low = 0;
  let high = Math.ceil(reader.size / TILE_WIDTH);
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    const found = await firstOfShard(reader, place, middle, high);
    if (found.votes.length === 0) {
      high = middle;
      continue;
    }
    const there = found.votes.find(({ entry }) => entry.sequence === place.sequence);
    if (there) return there;
    const last = found.votes.at(-1)?.entry.sequence ?? 0;
    if (last < place.sequence) low = found.bundle + 1;
    else high = middle;
  }
  return undefined;
}

/** The votes of the place's shard in the first bundle, from `from` and before `end`, that has any. */
async function firstOfShard(
  reader: TileReader,
  { shard }: Place,
  from: number,
  end: number,
): Promise<{ readonly bundle: number; readonly votes: readonly FoundEntry[] }> {
  for (let bundle = from; bundle < end; bundle++) {
    const first = bundle * TILE_WIDTH;
    const width = Math.min(TILE_WIDTH, reader.size - first);
    const entries = await Promise.all(Array.from({ length: width }, (_, i) => reader.entry(first + i)));
    const votes: FoundEntry[] = [];
    entries.forEach((bytes, i) => {
      const entry = readEntry(bytes);
      if (entry?.type === "vote" && entry.shard === shard) votes.push({ index: first + i, entry });
    });
    if (votes.length > 0) return { bundle, votes };
  }
  return { bundle: end, votes: [] };
}

export interface ScanOptions {
  readonly fetch: TileFetch;
  /** Its signature was verified. */
  readonly checkpoint: Checkpoint;
  readonly place: Place;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/**
 * Reads every entry of a signed log, at one hash each: the only proof that one is not there. What is answered, found or
 * not, the whole of the log was read and hashes to the signed root; otherwise it throws a TlogError. Undefined means that
 * the signed log has no such entry.
 */
export async function scanForEntry(options: ScanOptions): Promise<FoundEntry | undefined> {
  const { fetch, checkpoint, place, onProgress } = options;
  const { size, root } = checkpoint;
  const looked = placeBytes(place);
  const tree = CompactRange.empty();
  let found: { readonly index: number; readonly bytes: Uint8Array } | undefined;
  for await (const { entries } of readEntries(fetch, 0, size, { ahead: 8 })) {
    for (const bytes of entries) {
      if (equalBytes(bytes.subarray(0, PLACE_SIZE), looked)) found ??= { index: tree.size, bytes };
      tree.append({ height: 0, hash: leafHash(bytes) });
    }
    onProgress?.(tree.size, size);
  }
  if (!equalBytes(tree.root(), root)) {
    throw unverified(
      `the log's entries lead to the root ${toHex(tree.root())}, not to ${toHex(root)} of size ${size}`,
    );
  }
  const entry = found && readEntry(found.bytes);
  return found && entry?.type === "vote" ? { index: found.index, entry } : undefined;
}

/** Undefined for bytes that are no entry. A log should have none such, but what to think of it is not decided here. */
export function readEntry(bytes: Uint8Array): LogEntry | undefined {
  try {
    return decodeEntry(bytes);
  } catch (error) {
    if (error instanceof FormatError) return undefined;
    throw error;
  }
}

function placeBytes(place: Place): Uint8Array {
  const recordHash = leafHash(new Uint8Array(0)); // Any hash: it is cut off.
  return encodeEntry({ type: "vote", ...place, recordHash }).subarray(0, PLACE_SIZE);
}

// Which of the segments of a block are the log's. A process that was no longer the active one may have left others
// beside them, and immutable objects stay. docs/spec.md, "Evidence layout".
import { equalBytes } from "../core/bytes.ts";
import type { Hash } from "../core/sha256.ts";
import { firstIndexOf, parseSegmentKey } from "../evidence/layout.ts";
import { decodeSegmentLines, type SegmentLines } from "../evidence/segment.ts";
import type { VoteCheckpoint } from "../evidence/vote-checkpoint.ts";
import type { ObjectStore } from "../worm/object-store.ts";
import { faultOf } from "./fault.ts";

export interface LogSegmentsOptions {
  readonly store: Pick<ObjectStore, "get">;
  readonly number: number;
  /** The block's segments, in order of key. */
  readonly keys: readonly string[];
  /** The block's vote checkpoint, if it has one. */
  readonly checkpoint: VoteCheckpoint | undefined;
  /** A signed tree that the evidence must lead to. */
  readonly known?: { readonly size: number; readonly root: Hash } | undefined;
}

export interface LogSegments {
  /** The keys of the log's own segments. */
  readonly keys: readonly string[];
  /** The log index from which on nothing tells yet which segments are the log's. */
  readonly undecided: number | undefined;
}

/**
 * The log's own segments: those the block's vote checkpoint names, and any in whose place it names none that is there;
 * without a checkpoint, those that lead to the signed tree, and what comes after it up to the first two that overlap,
 * between which the next signature decides. Where nothing signed is known, all of them: two that overlap are then two
 * histories.
 */
export async function logSegments(options: LogSegmentsOptions): Promise<LogSegments> {
  const { keys, checkpoint, known, number } = options;
  if (checkpoint) {
    const names = new Set(checkpoint.segments.map(({ key }) => key));
    const named = keys.filter((key) => names.has(key));
    const ofLog = keys.filter((key) => names.has(key) || !named.some((other) => overlap(key, other)));
    return { keys: ofLog, undecided: undefined };
  }
  if (!known || !keys.some((key, i) => overlap(key, keys[i - 1] ?? "")))
    return { keys, undecided: undefined };
  const path = known.size <= firstIndexOf(number) ? [] : await pathTo(options, known);
  if (!path) return { keys, undecided: undefined };
  const unsigned = beforeOverlap(keys.filter((key) => firstOf(key) >= known.size));
  return { ...unsigned, keys: [...path, ...unsigned.keys] };
}

/** Those of keys in order that come before the first two that overlap. */
function beforeOverlap(keys: readonly string[]): LogSegments {
  const index = keys.findIndex((key, i) => overlap(key, keys[i - 1] ?? ""));
  if (index < 0) return { keys, undecided: undefined };
  return { keys: keys.slice(0, index - 1), undecided: firstOf(keys[index - 1] ?? "") };
}

function firstOf(key: string): number {
  return parseSegmentKey(key)?.first ?? 0;
}

function overlap(key: string, other: string): boolean {
  const [a, b] = [parseSegmentKey(key), parseSegmentKey(other)];
  return a !== undefined && b !== undefined && a.first <= b.last && b.first <= a.last;
}

/** Goes back from the signed tree by the roots that segments name, to the block's first entry. */
async function pathTo(
  { store, keys, number }: LogSegmentsOptions,
  end: { readonly size: number; readonly root: Hash },
): Promise<string[] | undefined> {
  const path: string[] = [];
  for (let { size, root } = end; size > firstIndexOf(number); ) {
    const ending = keys.filter((key) => parseSegmentKey(key)?.last === size - 1);
    const segments = await Promise.all(ending.map(async (key) => ({ key, segment: await read(store, key) })));
    const found = segments.find(({ segment }) => segment && equalBytes(segment.rootAfter, root));
    if (!found?.segment) return undefined;
    path.unshift(found.key);
    size = found.segment.firstIndex;
    root = found.segment.rootBefore;
  }
  return path;
}

/** Whoever verifies the segment says what is wrong with it. */
async function read(store: Pick<ObjectStore, "get">, key: string): Promise<SegmentLines | undefined> {
  try {
    return decodeSegmentLines((await store.get(key)) ?? new Uint8Array());
  } catch (error) {
    faultOf(error);
    return undefined;
  }
}

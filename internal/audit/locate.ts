import { setImmediate } from "node:timers/promises";
import { decodeEntry, encodeEntry } from "../ballot/entry.ts";
import { FormatError } from "../ballot/format-error.ts";
import type { VoteRecord } from "../ballot/record.ts";
import { equalBytes } from "../core/bytes.ts";
import { ServiceError } from "../core/errors.ts";
import { type ElectionId, type Sequence, type ShardId, voteIdOf } from "../core/ids.ts";
import {
  blockSegmentsPrefix,
  checkpointNumberOf,
  firstIndexOf,
  parseSegmentKey,
  segmentPrefix,
} from "../evidence/layout.ts";
import { readEntry } from "../evidence/read-segment.ts";
import { logEntryOf, type OpenSegment, openSegment } from "../evidence/segment.ts";
import type { SegmentEntry, SegmentHeader, SegmentLine } from "../evidence/segment-line.ts";
import type { TileReader } from "../tlog/tile-reader.ts";
import { ObjectCorruptError, type ObjectStore } from "../worm/object-store.ts";
import { lastBlockOf } from "./stored-segments.ts";

// A record is looked up in the process that seals, so nothing here keeps its event loop for long. And what lies in the
// evidence store need not be in the log: a process that lost its lease may have left segments of a commit that never
// came to its swap. What is in the log, the log's own tree says.

/** A log, as of its committed head, with the evidence behind it. */
export interface SealedLog {
  readonly election: ElectionId;
  readonly evidence: ObjectStore;
  readonly tree: TileReader;
}

/** A sealed record and where it lies. */
export interface LocatedRecord {
  readonly index: number;
  readonly record: VoteRecord;
  readonly segmentKey: string;
}

/** Where a record stands in the chains. */
export interface RecordPlace {
  readonly shard: ShardId;
  readonly sequence: Sequence;
}

/** Lines of a segment that are read in one go: about a millisecond. */
const LINES_AT_ONCE = 100;

/**
 * The record behind a log index; undefined when the entry there is not a vote. Throws a ServiceError of kind data-loss
 * when the evidence store does not have it.
 */
export async function recordAt(log: SealedLog, index: number): Promise<LocatedRecord | undefined> {
  const { election, evidence, tree } = log;
  if (decodeEntry(await tree.entry(index)).type !== "vote") return undefined;
  for (const key of await keysFrom(evidence, blockSegmentsPrefix(election, checkpointNumberOf(index)))) {
    if (!hasIndex(key, index)) continue;
    const segment = await openStored(evidence, key);
    const entry = segment && (await entryAt(log, segment, index));
    if (entry?.type === "vote") return { index, record: entry.record, segmentKey: key };
  }
  throw lost(`log index ${index}`);
}

/**
 * A sealed record by its place in its shard; the same error. There is no index of these, and none is needed: every
 * segment says where each shard stood before it, which only grows along the log, so that blocks and then segments can
 * be halved.
 */
export async function recordOf(log: SealedLog, place: RecordPlace): Promise<LocatedRecord> {
  const { election, evidence, tree } = log;
  const { shard, sequence } = place;

  /** Whether a segment begins before the record; undefined for one that is not in the log. */
  async function beginsBefore(key: string): Promise<boolean | undefined> {
    const header = (await openStored(evidence, key))?.header;
    if (!header || !(await isInLog(tree, header))) return undefined;
    return (header.shardHeads[shard]?.sequence ?? 0) < sequence;
  }

  const blocks = Array.from({ length: lastBlockOf(tree.size) }, (_, i) => i + 1);
  const block = await lastWhere(blocks, async (number) => {
    for (const key of await keysFrom(evidence, segmentPrefix(election, firstIndexOf(number)))) {
      const begins = await beginsBefore(key);
      if (begins !== undefined) return begins;
    }
    return undefined;
  });
  const keys = block === undefined ? [] : await keysFrom(evidence, blockSegmentsPrefix(election, block));
  const last = await lastWhere(keys, beginsBefore);
  // An orphan with the very entries of the log, cut elsewhere, may end before the record: then another one reaches it.
  for (const key of last ? reaching(keys, last) : []) {
    const found = await findIn(log, key, place);
    if (found) return found;
  }
  throw lost(`shard ${shard}, sequence ${sequence}`);
}

/** Those of `keys` that have the log index with which the segment `last` begins; `last` is the first of them. */
function reaching(keys: readonly string[], last: string): string[] {
  const index = parseSegmentKey(last)?.first ?? 0;
  const others = keys.filter((key) => key !== last && hasIndex(key, index));
  return [last, ...others];
}

/** Whether a segment's key says that it has an entry. */
export function hasIndex(key: string, index: number): boolean {
  const range = parseSegmentKey(key);
  return range !== undefined && range.first <= index && index <= range.last;
}

/** The record in a segment, if it is there and in the log. */
async function findIn(log: SealedLog, key: string, place: RecordPlace): Promise<LocatedRecord | undefined> {
  const segment = await openStored(log.evidence, key);
  if (!segment) return undefined;
  const { firstIndex, count } = segment.header;
  for (let position = 0; position < count; position++) {
    if (position % LINES_AT_ONCE === LINES_AT_ONCE - 1) await setImmediate();
    const line = lineOf(segment, position);
    if (!line || !isVoteAt(line, place, segment.header)) continue;
    const index = firstIndex + position;
    const entry = await entryAt(log, segment, index);
    return entry?.type === "vote" ? { index, record: entry.record, segmentKey: key } : undefined;
  }
  return undefined;
}

/** A segment is in the log if the root it leads to is the log's there: that root covers every entry up to its last. */
async function isInLog(tree: TileReader, { firstIndex, count, rootAfter }: SegmentHeader): Promise<boolean> {
  const end = firstIndex + count;
  return end <= tree.size && equalBytes(rootAfter, await tree.rootAt(end));
}

/**
 * The last of `items` that passes a test which a first part of them passes. Those of which the test says undefined count
 * as not being there.
 */
export async function lastWhere<T>(
  items: readonly T[],
  test: (item: T) => Promise<boolean | undefined>,
): Promise<T | undefined> {
  const left = [...items];
  // Before `low` all pass, after `high` none.
  let low = 0;
  let high = left.length - 1;
  while (low <= high) {
    const middle = Math.floor((low + high) / 2);
    // It is there: low ≤ middle ≤ high.
    const passes = await test(left[middle] as T);
    if (passes === undefined) {
      left.splice(middle, 1);
      high--;
    } else if (passes) low = middle + 1;
    else high = middle - 1;
  }
  return left[low - 1];
}

/** Undefined for an object that is no segment, or is not there: neither can be one of the log's. */
export async function openStored(evidence: ObjectStore, key: string): Promise<OpenSegment | undefined> {
  try {
    const body = await evidence.get(key);
    return body && (await openSegment(body));
  } catch (error) {
    return orMalformed(error);
  }
}

/**
 * The entry that a segment has for a log index. Undefined where the log has another one there, and where the line, or
 * the object it refers to, cannot be read or is not what it should be.
 */
export async function entryAt(
  { evidence, tree }: SealedLog,
  segment: OpenSegment,
  index: number,
): Promise<SegmentEntry | undefined> {
  if (index >= tree.size) return undefined;
  const position = index - segment.header.firstIndex;
  const line = lineOf(segment, position);
  const entry = line && (await readEntry(evidence, segment.header, position, line).catch(orMalformed));
  return entry && equalBytes(encodeEntry(logEntryOf(entry)), await tree.entry(index)) ? entry : undefined;
}

/** Undefined for a line that cannot be read. */
function lineOf(segment: OpenSegment, position: number): SegmentLine | undefined {
  try {
    return segment.line(position);
  } catch (error) {
    return orMalformed(error);
  }
}

/** Whether a line is that vote's, or refers to it. */
function isVoteAt(
  line: SegmentLine,
  { shard, sequence }: RecordPlace,
  { shardHeads }: SegmentHeader,
): boolean {
  if (line.type === "vote-ref") return line.id === voteIdOf(shard, sequence, shardHeads.length);
  return line.type === "vote" && line.record.shard === shard && line.record.sequence === sequence;
}

function orMalformed(error: unknown): undefined {
  if (!(error instanceof FormatError || error instanceof ObjectCorruptError)) throw error;
}

/** The keys of the segments that begin with `prefix`, in order of first index. */
export async function keysFrom(evidence: ObjectStore, prefix: string): Promise<string[]> {
  const keys: string[] = [];
  for await (const key of evidence.list(prefix)) if (parseSegmentKey(key)) keys.push(key);
  return keys;
}

function lost(place: string): ServiceError {
  return new ServiceError("data-loss", `the evidence store does not have the record of ${place}`);
}

// Which of the segments in the evidence store are the log's. A process that lost its lease may still have a segment
// under way, and nothing can call it back: it comes to lie beside those of the process that took over. The committed
// head says which history counts, and since each segment names the roots it leads from and to, the log's own are found
// by going back from there. What no head leads to is unreferenced, and stays so.
import { equalBytes, toHex } from "../core/bytes.ts";
import { type ElectionId, type TreeSize, treeSize } from "../core/ids.ts";
import {
  blockSegmentsPrefix,
  checkpointKey,
  checkpointNumberOf,
  firstIndexOf,
  parseSegmentKey,
} from "../evidence/layout.ts";
import { type FoundSegment, readSegment as readStored } from "../evidence/read-segment.ts";
import type { Segment } from "../evidence/segment.ts";
import { parseVoteCheckpoint, type VoteCheckpoint } from "../evidence/vote-checkpoint.ts";
import { ObjectArchivedError, type ObjectStore } from "../worm/object-store.ts";
import { HaltError } from "./halt.ts";
import type { LogEnd } from "./head.ts";

/** The number of the block a log of this size ends in; 0 for the empty log. */
export function lastBlockOf(size: TreeSize): number {
  return size === 0 ? 0 : checkpointNumberOf(size - 1);
}

/** The segments of the block that `end` is in, from its first entry on, that lead there. */
export async function segmentsTo(
  evidence: ObjectStore,
  election: ElectionId,
  end: LogEnd,
): Promise<FoundSegment[]> {
  const number = lastBlockOf(end.treeSize);
  const keys = await segmentKeys(evidence, election, number);
  const path: FoundSegment[] = [];
  for (let { treeSize: size, root } = end; size > firstIndexOf(number); ) {
    const ending = keys.filter((key) => parseSegmentKey(key)?.last === size - 1);
    const found = await firstWhere(evidence, ending, ({ rootAfter }) => equalBytes(rootAfter, root));
    if (!found) {
      throw new HaltError(`no segment in the evidence store leads to size ${size} with root ${toHex(root)}`);
    }
    path.unshift(found);
    size = treeSize(found.segment.firstIndex);
    root = found.segment.rootBefore;
  }
  return path;
}

/**
 * Where each block ends, from number `first` to the one that `end` is in. A vote checkpoint says it of its block; of
 * one that has none yet, the segments after it do.
 */
export async function blockEnds(
  evidence: ObjectStore,
  election: ElectionId,
  first: number,
  end: LogEnd,
): Promise<LogEnd[]> {
  const ends: LogEnd[] = [];
  let next = end;
  for (let number = lastBlockOf(end.treeSize); number >= first; number--) {
    ends.unshift(next);
    if (number > first) next = await endBefore(evidence, election, next);
  }
  return ends;
}

async function endBefore(evidence: ObjectStore, election: ElectionId, end: LogEnd): Promise<LogEnd> {
  const number = lastBlockOf(end.treeSize) - 1;
  const checkpoint = await voteCheckpoint(evidence, election, number);
  if (checkpoint) return { treeSize: checkpoint.treeSize, root: checkpoint.treeRoot };
  const [first] = await segmentsTo(evidence, election, end);
  if (!first) throw new RangeError("a block has at least one entry");
  return { treeSize: treeSize(first.segment.firstIndex), root: first.segment.rootBefore };
}

/** Of a block's segments, those that continue the log at `end`: more than one only where two processes were active. */
export async function segmentsAfter(
  evidence: ObjectStore,
  block: readonly string[],
  end: LogEnd,
): Promise<FoundSegment[]> {
  const found: FoundSegment[] = [];
  for (const key of block) {
    if (parseSegmentKey(key)?.first !== end.treeSize) continue;
    const candidate = await readSegment(evidence, key);
    if (equalBytes(candidate.segment.rootBefore, end.root)) found.push(candidate);
  }
  return found;
}

/**
 * The keys of the segments a block has, in order: those its vote checkpoint names, or all while it has none, or none
 * that can be read now.
 */
export async function segmentKeys(
  evidence: ObjectStore,
  election: ElectionId,
  number: number,
): Promise<string[]> {
  const checkpoint = await voteCheckpoint(evidence, election, number).catch((error: unknown) => {
    if (!(error instanceof ObjectArchivedError)) throw error;
  });
  if (checkpoint) return checkpoint.segments.map(({ key }) => key);
  const keys: string[] = [];
  for await (const key of evidence.list(blockSegmentsPrefix(election, number))) keys.push(key);
  return keys;
}

/** A segment by its key. Throws a HaltError when it is not there or is another one. */
export async function readSegment(evidence: ObjectStore, key: string): Promise<FoundSegment> {
  const found = await readStored(evidence, key);
  if (!found) throw new HaltError(`${key} is listed by the evidence store and cannot be read from it`);
  return found;
}

async function firstWhere(
  evidence: ObjectStore,
  keys: readonly string[],
  test: (segment: Segment) => boolean,
): Promise<FoundSegment | undefined> {
  for (const key of keys) {
    const found = await readSegment(evidence, key);
    if (test(found.segment)) return found;
  }
  return undefined;
}

async function voteCheckpoint(
  evidence: ObjectStore,
  election: ElectionId,
  number: number,
): Promise<VoteCheckpoint | undefined> {
  const body = await evidence.get(checkpointKey(election, number));
  return body && parseVoteCheckpoint(body);
}

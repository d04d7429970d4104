// Which segments of an evidence store are an election's log, from its first entry to its last.

import type { LogEnd } from "../audit/head.ts";
import { blockEnds, segmentKeys, segmentsAfter, segmentsTo } from "../audit/stored-segments.ts";
import { toHex } from "../core/bytes.ts";
import { type ElectionId, treeSize } from "../core/ids.ts";
import { checkpointNumberOf } from "../evidence/layout.ts";
import type { FoundSegment } from "../evidence/read-segment.ts";
import { EMPTY_ROOT } from "../tlog/tree.ts";
import type { ObjectStore } from "../worm/object-store.ts";

const EMPTY: LogEnd = { treeSize: treeSize(0), root: EMPTY_ROOT };

/**
 * The segments up to the newest signed tree are those that lead there. Beyond it nobody has seen a head, so that what
 * continues it is the log; where a process that lost its lease left others beside them, either is as good, and the one
 * with more votes is taken. One block is in memory, and the next on its way.
 */
export async function* segmentsOfLog(
  evidence: ObjectStore,
  election: ElectionId,
  signed: LogEnd = EMPTY,
): AsyncGenerator<FoundSegment, void, undefined> {
  const ends = signed.treeSize > 0 ? await blockEnds(evidence, election, 1, signed) : [];
  let next = ends[0] && ahead(segmentsTo(evidence, election, ends[0]));
  for (const index of ends.keys()) {
    const block = await next;
    const following = ends[index + 1];
    next = following && ahead(segmentsTo(evidence, election, following));
    yield* block ?? [];
  }
  yield* segmentsBeyond(evidence, election, signed);
}

/** A promise that is awaited later must not be reported as unhandled meanwhile. */
function ahead<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {});
  return promise;
}

async function* segmentsBeyond(
  evidence: ObjectStore,
  election: ElectionId,
  signed: LogEnd,
): AsyncGenerator<FoundSegment, void, undefined> {
  let end = signed;
  let block: Block | undefined;
  while (true) {
    const number = checkpointNumberOf(end.treeSize);
    if (block?.number !== number) {
      block = { number, evidence, keys: await segmentKeys(evidence, election, number), reach: new Map() };
    }
    const found = await furthest(block, end);
    if (!found) return;
    yield found;
    end = endOf(found);
  }
}

interface Block {
  readonly number: number;
  readonly evidence: ObjectStore;
  readonly keys: readonly string[];
  /** How far segments go on from a tree within this block, by its size and root. */
  readonly reach: Map<string, number>;
}

async function furthest(block: Block, end: LogEnd): Promise<FoundSegment | undefined> {
  const candidates = await segmentsAfter(block.evidence, block.keys, end);
  if (candidates.length < 2) return candidates[0];
  const reaches = await Promise.all(candidates.map((candidate) => reachOf(block, endOf(candidate))));
  return candidates[reaches.indexOf(Math.max(...reaches))];
}

async function reachOf(block: Block, end: LogEnd): Promise<number> {
  const name = `${end.treeSize} ${toHex(end.root)}`;
  const known = block.reach.get(name);
  if (known !== undefined) return known;
  let reach: number = end.treeSize;
  if (checkpointNumberOf(end.treeSize) === block.number) {
    for (const found of await segmentsAfter(block.evidence, block.keys, end)) {
      reach = Math.max(reach, await reachOf(block, endOf(found)));
    }
  }
  block.reach.set(name, reach);
  return reach;
}

function endOf({ segment }: FoundSegment): LogEnd {
  return { treeSize: treeSize(segment.firstIndex + segment.entries.length), root: segment.rootAfter };
}

// Which segments of an evidence store are an election's log, from its first entry to its last.

import type { LogEnd } from "../audit/head.ts";
import { blockEnds, segmentKeys, segmentsAfter, segmentsTo } from "../audit/stored-segments.ts";
import { type ElectionId, treeSize } from "../core/ids.ts";
import { checkpointNumberOf } from "../evidence/layout.ts";
import type { FoundSegment } from "../evidence/read-segment.ts";
import { EMPTY_ROOT } from "../tlog/tree.ts";
import type { ObjectStore } from "../worm/object-store.ts";
import { RestoreRefusedError } from "./errors.ts";

const EMPTY: KnownEnd = { treeSize: treeSize(0), root: EMPTY_ROOT, nothingSignedBeyond: false };

/** The newest tree that is known to have been this log. */
export interface KnownEnd extends LogEnd {
  /**
   * Whether nothing beyond it can have been signed, as of the head row, which is committed first, and of the Publisher's
   * own memory. Somebody else's newest checkpoint may not be the newest there was.
   */
  readonly nothingSignedBeyond: boolean;
}

/**
 * The segments up to the newest known tree are those that lead there. Beyond it, a process that lost its lease may have
 * left others beside the log's own. Where nothing there was signed, either is as good, and the first is taken, as
 * AuditService does when it opens a log. Otherwise one of them may be the signed history, and nobody can say which: throws
 * a RestoreRefusedError. One block is in memory, and the next on its way.
 */
export async function* segmentsOfLog(
  evidence: ObjectStore,
  election: ElectionId,
  known: KnownEnd = EMPTY,
): AsyncGenerator<FoundSegment, void, undefined> {
  const ends = known.treeSize > 0 ? await blockEnds(evidence, election, 1, known) : [];
  let next = ends[0] && ahead(segmentsTo(evidence, election, ends[0]));
  for (const index of ends.keys()) {
    const block = await next;
    const following = ends[index + 1];
    next = following && ahead(segmentsTo(evidence, election, following));
    yield* block ?? [];
  }
  yield* segmentsBeyond(evidence, election, known);
}

/** A promise that is awaited later must not be reported as unhandled meanwhile. */
function ahead<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {});
  return promise;
}

async function* segmentsBeyond(
  evidence: ObjectStore,
  election: ElectionId,
  known: KnownEnd,
): AsyncGenerator<FoundSegment, void, undefined> {
  let end: LogEnd = known;
  let block: { readonly number: number; readonly keys: readonly string[] } | undefined;
  while (true) {
    const number = checkpointNumberOf(end.treeSize);
    if (block?.number !== number) block = { number, keys: await segmentKeys(evidence, election, number) };
    const [found, other] = await segmentsAfter(evidence, block.keys, end);
    if (!found) return;
    if (other && !known.nothingSignedBeyond) {
      throw new RestoreRefusedError(
        `${found.key} and ${other.key} both continue the log at ${end.treeSize} entries, and no known checkpoint says ` +
          "which of them is the log: a newer public checkpoint does (--checkpoint, --public), or the Publisher's state (--publisher)",
      );
    }
    yield found;
    const { firstIndex, entries, rootAfter } = found.segment;
    end = { treeSize: treeSize(firstIndex + entries.length), root: rootAfter };
  }
}

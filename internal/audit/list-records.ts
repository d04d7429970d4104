import { setImmediate } from "node:timers/promises";
import { ServiceError } from "../core/errors.ts";
import { mapConcurrently } from "../core/map-concurrently.ts";
import { blockSegmentsPrefix, checkpointNumberOf } from "../evidence/layout.ts";
import { entryAt, hasIndex, keysFrom, type LocatedRecord, openStored, type SealedLog } from "./locate.ts";

/** Consecutive log entries, and those of them that are votes. */
export interface RecordRun {
  readonly records: readonly LocatedRecord[];
  /** The log index after the last entry. */
  readonly next: number;
}

/** Entries of a run. Reading them takes about a millisecond, after which the process does what else it has to. */
const RUN_ENTRIES = 100;
/** Votes of a run that are objects of their own are read so many at a time. */
const READS_AT_ONCE = 8;

/**
 * The records behind the log indices from `first` to before `end`, in runs. Each entry is looked up in the log's tree:
 * beside the log's own segments there may be others. Throws a ServiceError of kind data-loss where the evidence ends.
 */
export async function* listRecords(log: SealedLog, first: number, end: number): AsyncGenerator<RecordRun> {
  const { election, evidence } = log;
  let next = first;
  while (next < end) {
    const block = checkpointNumberOf(next);
    const keys = await keysFrom(evidence, blockSegmentsPrefix(election, block));
    while (next < end && checkpointNumberOf(next) === block) {
      const before = next;
      for (const key of keys.filter((key) => hasIndex(key, before))) {
        for await (const run of runsOf(log, key, next, end)) {
          yield run;
          next = run.next;
        }
        if (next > before) break;
      }
      if (next === before) {
        throw new ServiceError(
          "data-loss",
          `the evidence store does not have the record of log index ${next}`,
        );
      }
    }
  }
}

/** What a segment has of the log from an index on, as far as its entries are the log's. */
async function* runsOf(log: SealedLog, key: string, first: number, end: number): AsyncGenerator<RecordRun> {
  // One that is not the log's, or damaged: another one may have the entries.
  const segment = await openStored(log.evidence, key);
  if (!segment) return;
  const { firstIndex, count } = segment.header;
  const last = Math.min(end, firstIndex + count);
  for (let next = first; next < last; await setImmediate()) {
    const indices = Array.from({ length: Math.min(RUN_ENTRIES, last - next) }, (_, i) => next + i);
    const found = await mapConcurrently(indices, READS_AT_ONCE, (index) => entryAt(log, segment, index));
    const missing = found.indexOf(undefined);
    const entries = missing < 0 ? found : found.slice(0, missing);
    const records = entries.flatMap((entry, i) =>
      entry?.type === "vote" ? [{ index: next + i, record: entry.record, segmentKey: key }] : [],
    );
    next += entries.length;
    if (entries.length > 0) yield { records, next };
    if (missing >= 0) return;
  }
}

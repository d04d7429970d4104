import { setImmediate } from "node:timers/promises";
import { encodeEntry } from "../ballot/entry.ts";
import { FormatError } from "../ballot/format-error.ts";
import { equalBytes } from "../core/bytes.ts";
import { ServiceError } from "../core/errors.ts";
import { blockPrefix, checkpointNumberOf, parseSegmentKey } from "../evidence/layout.ts";
import { readEntry } from "../evidence/read-segment.ts";
import { logEntryOf, openSegment } from "../evidence/segment.ts";
import type { LocatedRecord, SealedLog } from "./locate.ts";

/** Consecutive log entries, and those of them that are votes. */
export interface RecordRun {
  readonly records: readonly LocatedRecord[];
  /** The log index after the last entry. */
  readonly next: number;
}

/** Entries of a run. Reading them takes about a millisecond, after which the process does what else it has to. */
const RUN_ENTRIES = 100;

/**
 * The records behind the log indices from `first` to before `end`, in runs. Each entry is looked up in the log's tree:
 * beside the log's own segments there may be others. Throws a ServiceError of kind data-loss where the evidence ends.
 */
export async function* listRecords(log: SealedLog, first: number, end: number): AsyncGenerator<RecordRun> {
  const { election, evidence } = log;
  let next = first;
  while (next < end) {
    const block = checkpointNumberOf(next);
    const keys: string[] = [];
    for await (const key of evidence.list(blockPrefix(election, block)))
      if (parseSegmentKey(key)) keys.push(key);
    while (next < end && checkpointNumberOf(next) === block) {
      const before = next;
      for (const key of keys.filter((key) => holds(key, before))) {
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
async function* runsOf(
  { evidence, tree }: SealedLog,
  key: string,
  first: number,
  end: number,
): AsyncGenerator<RecordRun> {
  try {
    const body = await evidence.get(key);
    if (!body) return;
    const segment = await openSegment(body);
    const { firstIndex, count } = segment.header;
    const last = Math.min(end, firstIndex + count);
    for (let next = first; next < last; await setImmediate()) {
      const records: LocatedRecord[] = [];
      const until = Math.min(last, next + RUN_ENTRIES);
      let isLogs = true;
      for (; next < until && isLogs; next++) {
        const position = next - firstIndex;
        const entry = await readEntry(evidence, segment.header, position, segment.line(position));
        isLogs = equalBytes(encodeEntry(logEntryOf(entry)), await tree.entry(next));
        if (!isLogs) break;
        if (entry.type === "vote") records.push({ index: next, record: entry.record, segmentKey: key });
      }
      yield { records, next };
      if (!isLogs) return;
    }
  } catch (error) {
    // Not one of the log's, or damaged: another one may have the entries.
    if (!(error instanceof FormatError)) throw error;
  }
}

function holds(key: string, index: number): boolean {
  const range = parseSegmentKey(key);
  return range !== undefined && range.first <= index && index <= range.last;
}

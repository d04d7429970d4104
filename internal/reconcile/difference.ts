import type { Sequence, ShardId } from "../core/ids.ts";

/**
 * How one of two places differs from the evidence.
 * - `missing`: a sealed record that the database does not have.
 * - `changed`: a row with another content than the sealed record.
 * - `moved`: a row that is another of the shard's sealed records.
 * - `duplicate`: more than one row under a sequence, or the same record under a second one.
 * - `unsealed`: a row after the sealed ones that does not continue them, or that a closed log cannot have.
 * - `voter`: a row after the sealed ones with a vote that the one-vote rule forbids.
 * - `stream`: a record on the stream that the evidence has otherwise, or not at all.
 */
export type DifferenceKind = "missing" | "changed" | "moved" | "duplicate" | "unsealed" | "voter" | "stream";

/** A place where the database or the stream is not what the evidence says. It never names a voter or a choice. */
export interface Difference {
  readonly kind: DifferenceKind;
  readonly shard: ShardId;
  readonly sequence: Sequence;
  /** The last of a run of the same; absent for one alone. */
  readonly lastSequence?: Sequence | undefined;
  /** The log index of the first, where it is sealed. */
  readonly index?: number | undefined;
  /** The vote checkpoint that covers it. */
  readonly checkpoint?: number | undefined;
  readonly problem: string;
}

/** What was compared. */
export interface Compared {
  /** Sealed records that were looked for in the databases. */
  sealed: number;
  /** Rows that the databases gave. */
  rows: number;
  streamMessages: number;
  streamRecords: number;
}

/** More would say no more. */
const MAX_DIFFERENCES = 1_000;

/** What a reconciliation found. Runs of sequences in one shard with one problem are one difference. */
export class Differences {
  readonly compared: Compared = { sealed: 0, rows: 0, streamMessages: 0, streamRecords: 0 };
  readonly list: Difference[] = [];
  /** Beyond those listed. */
  more = 0;

  get none(): boolean {
    return this.list.length === 0;
  }

  add(difference: Difference): void {
    const last = this.list.findLast(
      ({ shard, kind }) => shard === difference.shard && kind === difference.kind,
    );
    if (last && continues(last, difference)) {
      const lastSequence = difference.lastSequence ?? difference.sequence;
      this.list[this.list.indexOf(last)] = { ...last, lastSequence };
    } else if (this.list.length < MAX_DIFFERENCES) this.list.push(difference);
    else this.more++;
  }
}

/** Where more than one row is gone, the next one tells nothing new; where rows are changed, each does. */
function continues(last: Difference, { kind, sequence, problem }: Difference): boolean {
  return (
    kind === "missing" && last.problem === problem && (last.lastSequence ?? last.sequence) + 1 === sequence
  );
}

export function describeDifference({
  shard,
  sequence,
  lastSequence,
  index,
  checkpoint,
  problem,
}: Difference): string {
  const sequences =
    lastSequence === undefined ? `sequence ${sequence}` : `sequences ${sequence} to ${lastSequence}`;
  const sealed =
    checkpoint === undefined
      ? ""
      : ` (checkpoint ${checkpoint}${index === undefined ? "" : `, index ${index}`})`;
  return `shard ${shard}, ${sequences}${sealed}: ${problem}`;
}

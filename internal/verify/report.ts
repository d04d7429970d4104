import type { Sequence, ShardId } from "../core/ids.ts";

/** Where something is wrong, as exactly as is known. */
export interface Place {
  /** An object of the evidence store, or a path of the public log. */
  readonly object?: string | undefined;
  /** A log index. */
  readonly index?: number | undefined;
  readonly shard?: ShardId | undefined;
  readonly sequence?: Sequence | undefined;
}

export interface Problem extends Place {
  readonly problem: string;
}

/** What was looked at, and how often. */
export interface Checked {
  /** Signatures verified with the log's key. */
  notes: number;
  /** Public entries found in the tree of the signed root. */
  entries: number;
  /** Entry bundles and hash tiles. */
  tiles: number;
  segments: number;
  /** Records whose hash and place in their shard's chain were computed again. */
  records: number;
  /** Vote checkpoints of the evidence store. */
  checkpoints: number;
  bytes: number;
}

/** More would say no more: a broken store breaks everywhere. */
const MAX_PROBLEMS = 1_000;

/** What a verification found. It is as much about what was not checked as about what was. */
export class VerificationReport {
  readonly checked: Checked = {
    notes: 0,
    entries: 0,
    tiles: 0,
    segments: 0,
    records: 0,
    checkpoints: 0,
    bytes: 0,
  };
  readonly problems: Problem[] = [];
  readonly notChecked: string[] = [];
  /** Problems beyond those listed. */
  moreProblems = 0;

  get ok(): boolean {
    return this.problems.length === 0;
  }

  problem(place: Place, problem: string): void {
    if (this.problems.length < MAX_PROBLEMS) this.problems.push({ ...place, problem });
    else this.moreProblems++;
  }

  /** Says, once, what could not be checked and why. */
  unchecked(what: string): void {
    if (!this.notChecked.includes(what)) this.notChecked.push(what);
  }
}

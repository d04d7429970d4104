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
  /** Segments of the evidence store, read and decoded. */
  segments: number;
  /** Records of the evidence store whose hash and place in their shard's chain were computed again. */
  records: number;
  /** Event documents of the evidence store: their form, and their signature where the key is known. */
  events: number;
  /** Vote checkpoints of the evidence store. */
  checkpoints: number;
  /** Objects whose retention, mode and date, was asked for and compared. */
  locks: number;
  /** Records of the shards' databases whose hash and place in their chain were computed again. */
  rows: number;
  bytes: number;
}

/** An object in a cold tier. It is not lost, and not checked. */
export interface ArchivedObject {
  readonly key: string;
  /** Where it is known. */
  readonly versionId?: string | undefined;
  /** "archived" needs a restore request, "restoring" has one. */
  readonly access: "archived" | "restoring";
}

/** What a report consists of: a VerificationReport, or one that came from another thread or a file. */
export interface Findings {
  readonly checked: Readonly<Checked>;
  readonly problems: readonly Problem[];
  readonly warnings: readonly Problem[];
  readonly notChecked: readonly string[];
  readonly unreferenced: readonly string[];
  readonly archived: readonly ArchivedObject[];
  readonly moreProblems: number;
  readonly moreArchived: number;
}

/** More would say no more: a broken store breaks everywhere. */
const MAX_PROBLEMS = 1_000;

/** What a verification found. It is as much about what was not checked as about what was. */
export class VerificationReport implements Findings {
  readonly checked: Checked = {
    notes: 0,
    entries: 0,
    tiles: 0,
    segments: 0,
    records: 0,
    events: 0,
    checkpoints: 0,
    locks: 0,
    rows: 0,
    bytes: 0,
  };
  readonly problems: Problem[] = [];
  /** What somebody did around the evidence, which is all there nevertheless. */
  readonly warnings: Problem[] = [];
  readonly notChecked: string[] = [];
  /** Segments that are no part of the log: what a process wrote that was no longer the active one. */
  readonly unreferenced: string[] = [];
  /** Objects that cannot be read before they are restored. */
  readonly archived: ArchivedObject[] = [];
  /** Problems beyond those listed. */
  moreProblems = 0;
  moreArchived = 0;

  /** Whether nothing is wrong, and all of it could be read: no one counts, shows or restores from less. */
  get ok(): boolean {
    return this.result === "ok";
  }

  /** "incomplete" when what could be read is right, and objects are archived. */
  get result(): "ok" | "failed" | "incomplete" {
    if (this.problems.length > 0) return "failed";
    return this.archived.length > 0 ? "incomplete" : "ok";
  }

  /** Whether further problems are only counted. Whoever reads what a stranger serves stops here. */
  get full(): boolean {
    return this.problems.length === MAX_PROBLEMS;
  }

  problem(place: Place, problem: string): void {
    if (this.full) this.moreProblems++;
    else this.problems.push({ ...place, problem: withoutPlace(place, problem) });
  }

  warn(place: Place, problem: string): void {
    if (this.warnings.length < MAX_PROBLEMS) this.warnings.push({ ...place, problem });
  }

  /** Lists an object that could not be read because it is in a cold tier. */
  archive(object: ArchivedObject): void {
    if (this.archived.length < MAX_PROBLEMS) this.archived.push(object);
    else this.moreArchived++;
  }

  /** Says, once, what could not be checked and why. */
  unchecked(what: string): void {
    if (!this.notChecked.includes(what)) this.notChecked.push(what);
  }

  /** Lists a segment that the log does not have. It takes nothing from the log, and says nothing about it. */
  unreferencedSegment(key: string): void {
    if (this.unreferenced.length < MAX_PROBLEMS) this.unreferenced.push(key);
  }

  /** All that it says, after which it says nothing. */
  take(): Findings {
    const taken = new VerificationReport();
    taken.add(this);
    for (const list of [this.problems, this.warnings, this.notChecked, this.unreferenced, this.archived]) {
      list.length = 0;
    }
    for (const what of Object.keys(this.checked)) this.checked[what as keyof Checked] = 0; // its own keys
    this.moreProblems = 0;
    this.moreArchived = 0;
    return taken;
  }

  /** Takes over all that another report says. */
  add(other: Findings): void {
    for (const [what, count] of Object.entries(other.checked)) this.checked[what as keyof Checked] += count; // its own keys
    for (const { problem, ...place } of other.problems) this.problem(place, problem);
    for (const { problem, ...place } of other.warnings) this.warn(place, problem);
    for (const what of other.notChecked) this.unchecked(what);
    for (const key of other.unreferenced) this.unreferencedSegment(key);
    for (const object of other.archived) this.archive(object);
    this.moreProblems += other.moreProblems;
    this.moreArchived += other.moreArchived;
  }
}

/** Errors of the chain and of tiles begin with where they are, which need not be said twice. */
function withoutPlace({ object, shard, sequence }: Place, problem: string): string {
  for (const place of [object, `shard ${shard}, sequence ${sequence}`]) {
    if (place !== undefined && problem.startsWith(place))
      return problem.slice(place.length).replace(/^:? /, "");
  }
  return problem;
}

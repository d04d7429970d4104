// What the page and the worker that verifies a whole log say to each other.
import type { ElectionId } from "../core/ids.ts";
import type { Problem } from "../verify/report.ts";

export interface VerifyJob {
  readonly base: string;
  readonly election: ElectionId;
  readonly logKey: string;
}

export interface VerifyOutcome {
  readonly ok: boolean;
  readonly entries: number;
  readonly seconds: number;
  readonly problems: readonly Problem[];
  /** Problems beyond those. */
  readonly moreProblems: number;
  readonly notChecked: readonly string[];
}

export type VerifyMessage =
  | { readonly kind: "progress"; readonly done: number; readonly total: number }
  | { readonly kind: "done"; readonly outcome: VerifyOutcome }
  | { readonly kind: "failed"; readonly reason: string };

// Verdicts, from what was seen and not from what a server answered: a version that is gone is gone, whether its deletion
// was said to be refused or not.
import type { RetentionMode } from "../object-store.ts";

/** held: as expected. not-supported: there is nothing there that could be tried. error: it could not be found out. */
export type Verdict = "held" | "broken" | "not-supported" | "error";

export interface Judgement {
  readonly verdict: Verdict;
  /** For people. */
  readonly observed: string;
}

/** What a server said to an attempt. */
export type Answer =
  | { readonly kind: "done" }
  | { readonly kind: "refused"; readonly code: string; readonly reason: "permission" | "request" }
  /** It failed, or no answer came: it may have been done. */
  | { readonly kind: "unknown"; readonly detail: string };

export interface Lock {
  readonly mode: RetentionMode;
  readonly until: Date;
}

/** What is seen of a version, read by its id. */
export interface Sight {
  readonly content: "same" | "other" | "gone";
  readonly lock: Lock | null;
  readonly at: Date;
}

/** What an attempt on a locked version came to. */
export function judgeVersion(
  lock: Lock | null,
  { content, lock: now, at }: Sight,
  answer: Answer,
): Judgement {
  if (lock !== null && at >= lock.until) {
    return { verdict: "error", observed: "it took longer than the lock was to last" };
  }
  const said = describeAnswer(answer);
  if (content === "gone") return { verdict: "broken", observed: `${said}; the version is gone` };
  if (content === "other") return { verdict: "broken", observed: `${said}; the version has other bytes` };
  if (now === null) return { verdict: "broken", observed: `${said}; the version has no lock` };
  if (lock !== null && isWeaker(now, lock)) {
    return { verdict: "broken", observed: `${said}; the lock is now ${describeLock(now)}` };
  }
  if (answer.kind === "unknown") return { verdict: "error", observed: said };
  return { verdict: "held", observed: `${said}; the version is as it was` };
}

/** The lock that a PUT asked for, and the one that is shown. A weaker one than was asked for is none of ours. */
export function judgeStored(lock: Lock, sight: Sight): Judgement {
  if (sight.content !== "same" || sight.lock === null || isWeaker(sight.lock, lock)) {
    const shown = sight.lock === null ? "no lock" : describeLock(sight.lock);
    const bytes = sight.content === "same" ? "" : ", and not the bytes";
    return {
      verdict: "broken",
      observed: `stored with ${describeLock(lock)}; the version shows ${shown}${bytes}`,
    };
  }
  return { verdict: "held", observed: `the version shows ${describeLock(lock)}` };
}

/** What a deletion came to that something else than a lock of its own was to prevent. */
export function judgePresence({ content }: Pick<Sight, "content">, answer: Answer): Judgement {
  const said = describeAnswer(answer);
  if (content === "gone") return { verdict: "broken", observed: `${said}; the version is gone` };
  if (content === "other") return { verdict: "broken", observed: `${said}; the version has other bytes` };
  if (answer.kind === "unknown") return { verdict: "error", observed: said };
  return { verdict: "held", observed: `${said}; the version is there` };
}

/** How many versions a name got, of `expected`. */
export function judgeVersions(versions: number, expected: number, answer: Answer): Judgement {
  const observed = `${describeAnswer(answer)}; the name has ${versions} ${versions === 1 ? "version" : "versions"}`;
  if (versions > expected) return { verdict: "broken", observed };
  // Fewer: what was to be there first is not, and nothing was tried.
  return { verdict: answer.kind === "unknown" || versions < expected ? "error" : "held", observed };
}

/** Whether a setting changed that these credentials were not to change. */
export function judgeSetting(changed: boolean, answer: Answer): Judgement {
  if (changed) return { verdict: "broken", observed: `${describeAnswer(answer)}; it was changed` };
  if (answer.kind === "unknown") return { verdict: "error", observed: describeAnswer(answer) };
  return { verdict: "held", observed: `${describeAnswer(answer)}; it is as it was` };
}

const BADNESS: readonly Verdict[] = ["held", "not-supported", "error", "broken"];

/** Of several, the one that counts. */
export function worst(first: Judgement, ...others: readonly Judgement[]): Judgement {
  return others.reduce((a, b) => (BADNESS.indexOf(b.verdict) > BADNESS.indexOf(a.verdict) ? b : a), first);
}

/** Where all that kept a lock from being tried may be the rights of who tried: nothing is known of the lock. */
export function withDoubt(judgement: Judgement, ...answers: readonly Answer[]): Judgement {
  if (judgement.verdict !== "held" || !answers.every(isDenied)) return judgement;
  return { ...judgement, observed: `${judgement.observed}; not proved: perhaps these credentials may not` };
}

/** In words that a lock and a missing permission share: AWS says AccessDenied of both. */
export function isDenied(answer: Answer): boolean {
  return answer.kind === "refused" && answer.reason === "permission";
}

/** An answer by its code alone. */
export function refusedWith(code = "Error"): Answer {
  return { kind: "refused", code, reason: code === "AccessDenied" ? "permission" : "request" };
}

export function describeAnswer(answer: Answer): string {
  switch (answer.kind) {
    case "done":
      return "accepted";
    case "refused":
      return `refused (${answer.code})`;
    case "unknown":
      return `no clear answer (${answer.detail})`;
  }
}

/** A COMPLIANCE lock is never weaker than a GOVERNANCE one; the later end is the stronger. */
function isWeaker(now: Lock, before: Lock): boolean {
  return (before.mode === "COMPLIANCE" && now.mode !== "COMPLIANCE") || now.until < before.until;
}

function describeLock({ mode, until }: Lock): string {
  return `${mode} until ${until.toISOString()}`;
}

// What a voter was given, checked step by step: a receipt (`.tlog-proof`) or a promise (`.promise`).
import type { VoteEntry } from "../ballot/entry.ts";
import type { Manifest } from "../ballot/manifest.ts";
import { messageOf } from "../core/errors.ts";
import type { Hash } from "../core/sha256.ts";
import { parsePromise, verifyPromise } from "../receipt/promise.ts";
import { judgePromise, type PromiseFate } from "../receipt/promise-fate.ts";
import { MAX_RECEIPT_BYTES, type ReceiptStep, verifyReceipt } from "../receipt/receipt.ts";
import type { OpenedCheckpoint } from "../tlog/checkpoint.ts";
import { TlogError } from "../tlog/errors.ts";
import type { LogKeys } from "../tlog/log-keys.ts";
import type { NoteVerifier } from "../tlog/note-verifier.ts";
import type { TileFetch } from "../tlog/tile-fetch.ts";
import { TileReader } from "../tlog/tile-reader.ts";
import { requireExtends } from "./require-extends.ts";

export { MAX_RECEIPT_BYTES };

export type StepName = ReceiptStep | "extends" | "promiseForm" | "promiseSignature" | "promiseKept";

export interface Step {
  readonly name: StepName;
  /** "unknown": it could not be asked. */
  readonly outcome: "passed" | "failed" | "unknown" | "not-reached";
  /** Why it failed. */
  readonly reason?: string;
}

export type Verdict =
  | "good"
  /** Good by itself; whether the log still has the vote could not be asked. */
  | "good-offline"
  | "forged"
  /** Good, and contradicted by the log as it is now. */
  | "rewritten"
  | "promise-kept"
  | "promise-pending"
  | "promise-broken"
  | "promise-offline"
  /** A promise, in an election that makes none. */
  | "no-promises";

export interface CheckedReceipt {
  readonly verdict: Verdict;
  readonly steps: readonly Step[];
  readonly entry?: VoteEntry;
  /** Where the vote is in the log. */
  readonly index?: number;
  /** Of the checkpoint that a receipt refers to. */
  readonly size?: number;
  /** The names of the witnesses that signed it. */
  readonly cosigners?: readonly string[];
  /** Until when a promise is to be kept: milliseconds since 1970. */
  readonly dueAt?: number;
}

export interface CheckReceiptOptions {
  readonly text: string;
  readonly log: NoteVerifier | LogKeys;
  readonly manifest: Pick<Manifest, "electionId" | "shards" | "promises">;
  readonly manifestHash: Hash;
  readonly witnesses: readonly NoteVerifier[];
  /** The newest checkpoint that is known; undefined while there is none. */
  readonly newest: OpenedCheckpoint | undefined;
  readonly fetch: TileFetch;
  readonly nowMs: number;
  readonly onProgress?: (done: number, total: number) => void;
}

const RECEIPT_STEPS: readonly StepName[] = ["form", "entry", "checkpoint", "inclusion", "extends"];
const PROMISE_STEPS: readonly StepName[] = ["promiseForm", "promiseSignature", "promiseKept"];

export function checkReceipt(options: CheckReceiptOptions): Promise<CheckedReceipt> {
  return options.text.startsWith("psephos/promise") ? checkPromise(options) : checkProof(options);
}

async function checkProof(options: CheckReceiptOptions): Promise<CheckedReceipt> {
  const { text, log, witnesses, newest, fetch } = options;
  const steps = new Steps(RECEIPT_STEPS);
  let verified: ReturnType<typeof verifyReceipt>;
  try {
    verified = verifyReceipt({ receipt: text, log, witnesses, onStep: (step) => steps.pass(step) });
  } catch (error) {
    return { verdict: "forged", steps: steps.fail(error) };
  }
  const { entry, index, checkpoint, cosignatures } = verified;
  const found = {
    entry,
    index,
    size: checkpoint.size,
    cosigners: cosignatures.map(({ verifier }) => verifier.name),
  };
  try {
    if (!newest) throw new Error("the log's present checkpoint is not known");
    // A receipt may be newer than what this page has seen: then it is the receipt that has to extend that.
    const [older, newer] =
      checkpoint.size <= newest.checkpoint.size
        ? [checkpoint, newest.checkpoint]
        : [newest.checkpoint, checkpoint];
    await requireExtends(new TileReader({ fetch, ...newer }), older);
    steps.pass("extends");
    return { verdict: "good", steps: steps.all(), ...found };
  } catch (error) {
    return isDenial(error)
      ? { verdict: "rewritten", steps: steps.fail(error), ...found }
      : { verdict: "good-offline", steps: steps.leave(error), ...found };
  }
}

async function checkPromise(options: CheckReceiptOptions): Promise<CheckedReceipt> {
  const { text, manifest, manifestHash, newest, fetch, nowMs, onProgress } = options;
  const steps = new Steps(PROMISE_STEPS);
  let promise: ReturnType<typeof verifyPromise>;
  try {
    const parsed = parsePromise(text);
    steps.pass("promiseForm");
    if (!manifest.promises) return { verdict: "no-promises", steps: steps.all() };
    promise = verifyPromise({ promise: parsed, manifest, manifestHash });
    steps.pass("promiseSignature");
  } catch (error) {
    return { verdict: "forged", steps: steps.fail(error) };
  }
  const found = { entry: promise.entry, dueAt: promise.dueAt / 1000 };
  try {
    if (!newest) throw new Error("the log's present checkpoint is not known");
    const fate = await judgePromise({ promise, opened: newest, fetch, nowMicros: nowMs * 1000, onProgress });
    return { ...fateOf(fate, steps), ...found };
  } catch (error) {
    return { verdict: "promise-offline", steps: steps.leave(error), ...found };
  }
}

function fateOf(fate: PromiseFate, steps: Steps): CheckedReceipt {
  switch (fate.fate) {
    case "kept":
      steps.pass("promiseKept");
      return { verdict: "promise-kept", steps: steps.all(), index: fate.index };
    case "not-due":
      return { verdict: "promise-pending", steps: steps.all() };
    case "broken":
      return { verdict: "promise-broken", steps: steps.fail(new Error(BREACHES[fate.breach.kind])) };
  }
}

const BREACHES = {
  "other-record": "the log has another record in the vote's place",
  closed: "the log is closed and does not have the entry",
  witnessed: "a witness saw the log without the entry after it was due",
  "own-clock": "by this browser's clock it is past due, and the log does not have the entry",
};

/** Whether the log's own, signed hashes say otherwise; anything else is trouble in reading them. */
function isDenial(error: unknown): boolean {
  return error instanceof TlogError && error.kind === "unverified" && error.path === undefined;
}

/** Which steps there are, in their order, and how far one got. */
class Steps {
  readonly #names: readonly StepName[];
  #passed = 0;

  constructor(names: readonly StepName[]) {
    this.#names = names;
  }

  pass(name: StepName): void {
    if (this.#names[this.#passed] !== name) throw new RangeError(`${name} is not the next step`);
    this.#passed++;
  }

  all(): Step[] {
    return this.#list("not-reached");
  }

  /** The next step failed. */
  fail(error: unknown): Step[] {
    return this.#list("failed", messageOf(error));
  }

  /** The next step could not be taken. */
  leave(error: unknown): Step[] {
    return this.#list("unknown", messageOf(error));
  }

  #list(next: Step["outcome"], reason?: string): Step[] {
    return this.#names.map((name, place) => {
      if (place < this.#passed) return { name, outcome: "passed" };
      if (place > this.#passed) return { name, outcome: "not-reached" };
      return { name, outcome: next, ...(reason === undefined ? {} : { reason }) };
    });
  }
}

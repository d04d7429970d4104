import { ChainError } from "../ballot/chain.ts";
import { FormatError } from "../ballot/format-error.ts";
import { type ErrorKind, ServiceError } from "../core/errors.ts";
import type { TreeSize } from "../core/ids.ts";
import { ObjectConflictError, ObjectCorruptError, ObjectKeyError } from "../worm/object-store.ts";

/**
 * What this election's log must not go on from: a lost swap, an object with other bytes, a chain that does not verify.
 * Sealing stops until a human has looked; votes are still taken and kept. The message goes to operators and names
 * objects, shards and sequences, never a voter.
 */
export class HaltError extends Error {
  override readonly name: string = "HaltError";
}

/**
 * Another process has written where this one was about to: the head moved, or the place in the evidence is taken. What
 * is stored is sound; this process's view of it is not. Opening the log again shows how it stands.
 */
export class ContestedError extends HaltError {
  override readonly name = "ContestedError";
  /** Where the log stood for this process. */
  readonly treeSize: TreeSize;

  constructor(treeSize: TreeSize, message: string, options?: ErrorOptions) {
    super(message, options);
    this.treeSize = treeSize;
  }
}

const FATAL = [
  HaltError,
  ChainError,
  FormatError,
  ObjectConflictError,
  ObjectCorruptError,
  ObjectKeyError,
  // Mistakes of this program: the same step would make them again.
  TypeError,
  RangeError,
];

/** What another service, or the database, has looked at and refused. The others may pass with time or a repair. */
const REFUSALS: readonly ErrorKind[] = [
  "invalid-argument",
  "not-found",
  "already-exists",
  "failed-precondition",
  "data-loss",
];

/** Whether trying again can only make things worse. */
export function isFatal(error: unknown): boolean {
  if (error instanceof ServiceError) return REFUSALS.includes(error.kind);
  return FATAL.some((type) => error instanceof type);
}

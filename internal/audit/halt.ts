import { ChainError } from "../ballot/chain.ts";
import { FormatError } from "../ballot/format-error.ts";
import { ObjectConflictError, ObjectCorruptError, ObjectKeyError } from "../worm/object-store.ts";

/**
 * What this election's log must not go on from: a lost swap, an object with other bytes, a chain that does not verify.
 * Sealing stops until a human has looked; votes are still taken and kept. The message goes to operators and names
 * objects, shards and sequences, never a voter.
 */
export class HaltError extends Error {
  override readonly name = "HaltError";
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

/** Whether trying again can only make things worse. */
export function isFatal(error: unknown): boolean {
  return FATAL.some((type) => error instanceof type);
}

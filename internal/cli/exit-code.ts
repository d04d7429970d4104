import { FormatError } from "../ballot/format-error.ts";
import { type ErrorKind, ServiceError } from "../core/errors.ts";
import { SqlError } from "../query/sql-error.ts";
import { TlogError } from "../tlog/errors.ts";
import { SourceError } from "../verify/http-source.ts";
import {
  ObjectArchivedError,
  ObjectLockError,
  ObjectStoreError,
  type StoreFailure,
} from "../worm/object-store.ts";

/** What a command's exit status says. Documented in `psephos --help`. */
export const ExitCode = {
  ok: 0,
  /** The check was made, and failed: something does not verify, or counts do not match. */
  failed: 1,
  /** The command line, a file or a request is wrong; nothing was changed. */
  usage: 2,
  /** A service or a file could not be reached, or is not ready; trying again may help. */
  unavailable: 3,
  /** Anything else. */
  internal: 4,
  /** The check was made, and nothing critical failed, but something serious. */
  weak: 5,
  /** A signal came before the command was done: 128 and the number of SIGINT, as shells have it. */
  interrupted: 130,
} as const;

export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode];

/** A mistake in how a command is used, with what to do about it. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** A service that is not there, or what it has not made yet, with what to do about it. */
export class UnreachableError extends Error {
  override readonly name = "UnreachableError";
}

/** Something was checked and is not what it should be. */
export class CheckFailedError extends Error {
  override readonly name = "CheckFailedError";
}

/** The command was told to stop. */
export class InterruptedError extends Error {
  override readonly name = "InterruptedError";
}

const UNAVAILABLE: readonly ErrorKind[] = [
  "unavailable",
  "aborted",
  "deadline-exceeded",
  "resource-exhausted",
  "cancelled",
];

/** An evidence store that may be back in a while; the others need another command line, file or permission. */
const STORE_UNAVAILABLE: readonly StoreFailure[] = ["unreachable", "throttled", "failed"];

export function exitCodeOf(error: unknown): ExitCode {
  if (error instanceof InterruptedError) return ExitCode.interrupted;
  if (error instanceof UsageError || error instanceof FormatError || error instanceof SqlError)
    return ExitCode.usage;
  if (error instanceof CheckFailedError || error instanceof TlogError) return ExitCode.failed;
  if (error instanceof UnreachableError || error instanceof SourceError) return ExitCode.unavailable;
  if (error instanceof ServiceError) {
    if (UNAVAILABLE.includes(error.kind)) return ExitCode.unavailable;
    return error.kind === "internal" || error.kind === "data-loss" ? ExitCode.internal : ExitCode.usage;
  }
  // No such bucket, or one that does not lock: another has to be named.
  if (error instanceof ObjectLockError) return ExitCode.usage;
  if (error instanceof ObjectArchivedError) return ExitCode.unavailable;
  if (error instanceof ObjectStoreError) {
    return STORE_UNAVAILABLE.includes(error.failure) ? ExitCode.unavailable : ExitCode.usage;
  }
  // A system call that failed: a disk that is full, a file that may not be read.
  return error instanceof Error && "syscall" in error ? ExitCode.unavailable : ExitCode.internal;
}

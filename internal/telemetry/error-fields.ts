import { ServiceError } from "../core/errors.ts";

/** An error as it is written to the log. */
export interface ErrorFields {
  readonly type: string;
  readonly message: string;
  /** The code of a system call, of Postgres (SQLSTATE) or of a library. */
  readonly code?: string | number;
  /** Of a `ServiceError`. */
  readonly kind?: string;
  readonly reason?: string;
  readonly stack?: string;
  readonly cause?: ErrorFields;
  /** The parts of an `AggregateError`. */
  readonly errors?: readonly ErrorFields[];
}

/** A chain longer than this is a cycle or a mistake; what is below it adds nothing. */
const MAX_DEPTH = 8;
const MAX_ERRORS = 10;

/**
 * The fields of an error worth logging. They are picked by name: an error's other properties are not ours to publish,
 * and Postgres puts the values of a violated key, here a voter's pseudonym, into `detail`.
 */
export function errorFields(error: unknown, depth = 0): ErrorFields {
  if (!(error instanceof Error)) return { type: typeof error, message: String(error) };
  const code = "code" in error ? error.code : undefined;
  const deeper = depth + 1 < MAX_DEPTH;
  return {
    type: error.name,
    message: error.message,
    ...(typeof code === "string" || typeof code === "number" ? { code } : {}),
    ...(error instanceof ServiceError ? { kind: error.kind } : {}),
    ...(error instanceof ServiceError && error.reason !== undefined ? { reason: error.reason } : {}),
    ...(error.stack !== undefined ? { stack: error.stack } : {}),
    ...(error.cause !== undefined && deeper ? { cause: errorFields(error.cause, depth + 1) } : {}),
    ...(error instanceof AggregateError && deeper
      ? { errors: error.errors.slice(0, MAX_ERRORS).map((part) => errorFields(part, depth + 1)) }
      : {}),
  };
}

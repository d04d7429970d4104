/** What went wrong, in the words of gRPC's status codes (grpc/statuscodes.md), so that one table maps them. */
export type ErrorKind =
  | "invalid-argument"
  | "not-found"
  | "already-exists"
  | "permission-denied"
  | "failed-precondition"
  | "resource-exhausted"
  | "aborted"
  | "unavailable"
  | "deadline-exceeded"
  | "cancelled"
  | "data-loss"
  | "internal";

/** A field of a request that was refused, and why. `field` is a path such as `votes[3].voter_id`. */
export interface FieldViolation {
  readonly field: string;
  readonly description: string;
}

export interface ServiceErrorOptions {
  /** A constant a program can match on, such as `ALREADY_VOTED`. UPPER_SNAKE_CASE. */
  readonly reason?: string;
  readonly fields?: readonly FieldViolation[];
  /** When a retry is worth trying, in milliseconds from now. */
  readonly retryDelayMs?: number;
  /** What happened underneath. It goes to the log and never over the wire. */
  readonly cause?: unknown;
}

/**
 * An error whose message is safe to show the caller: it names no voter, no choice and no secret. Whatever else is
 * thrown reaches the caller as INTERNAL without text.
 */
export class ServiceError extends Error {
  override readonly name = "ServiceError";
  readonly kind: ErrorKind;
  readonly reason: string | undefined;
  readonly fields: readonly FieldViolation[];
  readonly retryDelayMs: number | undefined;

  constructor(kind: ErrorKind, message: string, options: ServiceErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.kind = kind;
    this.reason = options.reason;
    this.fields = options.fields ?? [];
    this.retryDelayMs = options.retryDelayMs;
  }
}

/** A request that one named field makes wrong. */
export function invalidField(field: string, description: string): ServiceError {
  return new ServiceError("invalid-argument", `${field}: ${description}`, {
    reason: "INVALID_FIELD",
    fields: [{ field, description }],
  });
}

/** The message of anything thrown. For logs and for operators at a terminal, not for the wire. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

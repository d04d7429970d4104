// Errors as HTTP knows them: application/problem+json (RFC 9457).
import { type OutgoingHttpHeaders, type ServerResponse, STATUS_CODES } from "node:http";
import { type ErrorKind, type FieldViolation, ServiceError } from "../core/errors.ts";
import { sendJson } from "./send-json.ts";

/** A refusal that only HTTP can express, such as a method that is not allowed. */
export class HttpError extends Error {
  override readonly name = "HttpError";
  readonly status: number;
  readonly headers: OutgoingHttpHeaders;

  constructor(status: number, message: string, headers: OutgoingHttpHeaders = {}) {
    super(message);
    this.status = status;
    this.headers = headers;
  }
}

/** RFC 9457 section 3.1, and two members of our own (section 3.2). */
export interface Problem {
  /** "about:blank": the status code says what kind of problem it is, and `title` is its phrase (section 4.2.1). */
  readonly type: "about:blank";
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  /** A constant a program can match on, such as `ALREADY_VOTED`: the reason of the gRPC error. */
  readonly reason?: string;
  readonly fields?: readonly FieldViolation[];
}

const STATUS: Readonly<Record<ErrorKind, number>> = {
  "invalid-argument": 400,
  "not-found": 404,
  "already-exists": 409,
  "permission-denied": 403,
  // The request is right, but not in the election's present state.
  "failed-precondition": 409,
  "resource-exhausted": 429,
  aborted: 409,
  unavailable: 503,
  // The client may repeat the request with the same Idempotency-Key, as after any other 503.
  "deadline-exceeded": 503,
  cancelled: 503,
  "data-loss": 500,
  internal: 500,
};

/** Whether anything thrown is a fault of this process, to be logged, rather than an answer to its caller. */
export function isFault(error: unknown): boolean {
  return problemOf(error).status === 500;
}

/** What the caller is told. Of an error that was not made for callers: nothing. */
export function problemOf(error: unknown): Problem {
  if (error instanceof HttpError) return problem(error.status, error.message);
  const known = error instanceof ServiceError ? error : undefined;
  const status = known === undefined ? 500 : STATUS[known.kind];
  if (known === undefined || status === 500) return problem(500, "internal error");
  return {
    ...problem(status, known.message),
    ...(known.reason === undefined ? {} : { reason: known.reason }),
    ...(known.fields.length === 0 ? {} : { fields: known.fields }),
  };
}

export function sendProblem(response: ServerResponse, error: unknown): void {
  const body = problemOf(error);
  sendJson(response, body.status, body, {
    ...(error instanceof HttpError ? error.headers : {}),
    ...retryAfter(error, body.status),
    "Content-Type": "application/problem+json",
  });
}

function problem(status: number, detail: string): Problem {
  return { type: "about:blank", title: STATUS_CODES[status] ?? "Error", status, detail };
}

/** RFC 9110 section 10.2.3. Whole seconds are the finest it has. */
function retryAfter(error: unknown, status: number): OutgoingHttpHeaders {
  if (status !== 429 && status !== 503) return {};
  const delayMs = error instanceof ServiceError ? (error.retryDelayMs ?? 0) : 0;
  return { "Retry-After": Math.max(1, Math.ceil(delayMs / 1_000)) };
}

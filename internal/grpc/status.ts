// The one table between what went wrong here and what a caller on the wire is told: gRPC codes, which Connect shares,
// and the details of google/rpc/error_details.proto. It needs no gRPC library, so that answers inside a stream and the
// HTTP edge use it too.
import { create, type DescMessage, type MessageInitShape } from "@bufbuild/protobuf";
import { anyPack, anyUnpack } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  RetryInfoSchema,
} from "../../gen/ts/google/rpc/error_details_pb.js";
import { type Status, StatusSchema } from "../../gen/ts/google/rpc/status_pb.js";
import { type ErrorKind, type FieldViolation, ServiceError } from "../core/errors.ts";

/** Whose reasons they are: `ErrorInfo.domain`. */
export const ERROR_DOMAIN = "psephos";

const CODES: Record<ErrorKind, Code> = {
  "invalid-argument": Code.InvalidArgument,
  "not-found": Code.NotFound,
  "already-exists": Code.AlreadyExists,
  "permission-denied": Code.PermissionDenied,
  "failed-precondition": Code.FailedPrecondition,
  "resource-exhausted": Code.ResourceExhausted,
  aborted: Code.Aborted,
  unavailable: Code.Unavailable,
  "deadline-exceeded": Code.DeadlineExceeded,
  cancelled: Code.Canceled,
  "data-loss": Code.DataLoss,
  internal: Code.Internal,
};

const KINDS = new Map<number, ErrorKind>([
  ...Object.entries(CODES).map(([kind, code]) => [code, kind as ErrorKind] as const), // CODES has only these keys
  [Code.OutOfRange, "invalid-argument"],
  [Code.Unauthenticated, "permission-denied"],
]);

/** Details travel in a trailer, and peers commonly refuse more than 8 KiB of those. */
const MAX_VIOLATIONS = 24;
const MAX_TEXT = 200;

export function codeOf(kind: ErrorKind): Code {
  return CODES[kind];
}

/** The kind of a code. UNKNOWN, UNIMPLEMENTED and numbers that are no code are the callee's fault: internal. */
export function kindOf(code: number): ErrorKind {
  return KINDS.get(code) ?? "internal";
}

/** Anything thrown, as what may be shown: a ServiceError as it is, everything else as INTERNAL without its text. */
export function presentable(error: unknown): ServiceError {
  return error instanceof ServiceError
    ? error
    : new ServiceError("internal", "internal error", { cause: error });
}

export interface ErrorDetail {
  readonly desc: DescMessage;
  readonly value: MessageInitShape<DescMessage>;
}

/** ErrorInfo, BadRequest and RetryInfo, each only where the error has something to put there. */
export function detailsOf(error: ServiceError): ErrorDetail[] {
  const details: ErrorDetail[] = [];
  if (error.reason !== undefined) {
    details.push(detail(ErrorInfoSchema, { reason: error.reason, domain: ERROR_DOMAIN }));
  }
  if (error.fields.length > 0) {
    details.push(detail(BadRequestSchema, { fieldViolations: shortened(error.fields) }));
  }
  if (error.retryDelayMs !== undefined) {
    const seconds = Math.floor(error.retryDelayMs / 1000);
    const nanos = Math.round((error.retryDelayMs - seconds * 1000) * 1_000_000);
    details.push(detail(RetryInfoSchema, { retryDelay: { seconds: BigInt(seconds), nanos } }));
  }
  return details;
}

/** The google.rpc.Status of anything thrown. */
export function statusOf(error: unknown): Status {
  const shown = presentable(error);
  return create(StatusSchema, {
    code: CODES[shown.kind],
    message: shortText(shown.message, 5 * MAX_TEXT),
    details: detailsOf(shown).map(({ desc, value }) => anyPack(desc, create(desc, value))),
  });
}

/** The error a Status stands for; the inverse of `statusOf` but for what was shortened and the cause. */
export function errorFromStatus(status: Status, cause?: unknown): ServiceError {
  let reason: string | undefined;
  let retryDelayMs: number | undefined;
  const fields: FieldViolation[] = [];
  for (const any of status.details) {
    const info = anyUnpack(any, ErrorInfoSchema);
    // Only our own reasons are constants a program of ours may match on.
    if (info?.domain === ERROR_DOMAIN) reason = info.reason;
    for (const violation of anyUnpack(any, BadRequestSchema)?.fieldViolations ?? []) {
      fields.push({ field: violation.field, description: violation.description });
    }
    const delay = anyUnpack(any, RetryInfoSchema)?.retryDelay;
    if (delay !== undefined) retryDelayMs = Number(delay.seconds) * 1000 + delay.nanos / 1_000_000;
  }
  return new ServiceError(kindOf(status.code), status.message, {
    ...(reason !== undefined && { reason }),
    ...(retryDelayMs !== undefined && { retryDelayMs }),
    fields,
    cause,
  });
}

function detail<M extends DescMessage>(desc: M, value: MessageInitShape<M>): ErrorDetail {
  return { desc, value };
}

function shortened(fields: readonly FieldViolation[]): FieldViolation[] {
  const shown = fields.slice(0, MAX_VIOLATIONS).map(({ field, description }) => ({
    field: shortText(field, MAX_TEXT),
    description: shortText(description, MAX_TEXT),
  }));
  const more = fields.length - shown.length;
  if (more > 0) shown.push({ field: "", description: `and ${more} more` });
  return shown;
}

/** `text`, cut and well-formed: gRPC percent-encodes messages with encodeURI, which throws on a lone surrogate. */
function shortText(text: string, limit: number): string {
  return (text.length <= limit ? text : `${text.slice(0, limit - 1)}…`).toWellFormed();
}

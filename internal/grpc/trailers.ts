// An error on the wire: the status code and message that every gRPC implementation knows, and beside them the whole
// google.rpc.Status (https://grpc.io/docs/guides/error/#richer-error-model).
import { fromBinary } from "@bufbuild/protobuf";
import { status as Codes, Metadata, type StatusObject } from "@grpc/grpc-js";
import { type Status, StatusSchema } from "../../gen/ts/google/rpc/status_pb.js";
import { type ErrorKind, ServiceError } from "../core/errors.ts";
import { codeName } from "./call-metrics.ts";
import { encode } from "./codec.ts";
import { errorFromStatus, kindOf, statusOf } from "./status.ts";

const DETAILS = "grpc-status-details-bin";

/** The status that ends a call because of `error`. */
export function statusObjectOf(error: ServiceError): StatusObject {
  const status = statusOf(error);
  const metadata = new Metadata();
  metadata.set(DETAILS, encode(StatusSchema, status));
  // gRFC A6: a client that retries by its service config waits this long instead of what the config says.
  if (error.retryDelayMs !== undefined) {
    metadata.set("grpc-retry-pushback-ms", String(Math.ceil(error.retryDelayMs)));
  }
  return { code: status.code, details: status.message, metadata };
}

/** What to tell of a failure that no peer has worded, by the name of the peer it concerns. */
const UNWORDED: Partial<Record<ErrorKind, string>> = {
  unavailable: "cannot be reached",
  "deadline-exceeded": "did not answer in time",
  "resource-exhausted": "is overloaded, or a message is too large",
  "permission-denied": "refused the caller",
};

/**
 * The error of a call to `peer` that ended with `status`. A status without details is not from our servers' code but
 * from a library on the way: its text, which may have addresses in it, becomes the cause and is not shown on.
 */
export function errorOfCall(status: StatusObject, peer: string): ServiceError {
  const cause = new Error(`${codeName(status.code)}: ${status.details}`);
  const worded = detailsIn(status);
  if (worded !== undefined) return errorFromStatus(worded, cause);
  // The caller's own cancelling is known before it comes to this: the connection was cut off at the other end.
  const kind = status.code === Codes.CANCELLED ? "unavailable" : kindOf(status.code);
  return new ServiceError(kind, `${peer} ${UNWORDED[kind] ?? "could not answer"}`, { cause });
}

function detailsIn(status: StatusObject): Status | undefined {
  const [bytes] = status.metadata.get(DETAILS);
  if (!(bytes instanceof Buffer)) return undefined;
  try {
    const details = fromBinary(StatusSchema, bytes);
    return details.code === status.code ? details : undefined;
  } catch {
    return undefined;
  }
}

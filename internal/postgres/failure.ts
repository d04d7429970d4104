import { DatabaseError } from "pg";
import { ServiceError } from "../core/errors.ts";

/**
 * What a failure of Postgres means to whoever asked, by kind:
 *
 * - `unavailable`: the server cannot be reached, cannot work, is a standby, or its answer was lost. Whether the
 *   statement took effect is not known.
 * - `aborted`: rolled back for a reason that passes: a deadlock, a lock or a statement that took too long.
 * - `failed-precondition`: a constraint refused the data.
 * - `resource-exhausted`: all connections of the pool are busy.
 * - `internal`: anything else.
 */
export function failureOf(instance: string, cause: unknown): ServiceError {
  if (cause instanceof ServiceError) return cause;
  if (cause instanceof DatabaseError) return refusalOf(instance, cause);
  // What pg and Node throw about a connection are plain Errors; subclasses of these two are mistakes in a program.
  if (cause instanceof TypeError || cause instanceof RangeError) {
    return new ServiceError("internal", `instance ${instance} gave an unexpected answer`, { cause });
  }
  // pg-pool's words when no connection came free in time. A new connection's timeout reads otherwise.
  if (cause instanceof Error && cause.message === "timeout exceeded when trying to connect") {
    return new ServiceError("resource-exhausted", `instance ${instance} has too many queries waiting`, {
      cause,
    });
  }
  return unreachable(instance, cause);
}

export function unreachable(instance: string, cause: unknown): ServiceError {
  return new ServiceError("unavailable", `instance ${instance} cannot be reached`, {
    reason: "INSTANCE_UNREACHABLE",
    retryDelayMs: 1_000,
    cause,
  });
}

/** By SQLSTATE: PostgreSQL documentation, appendix A. */
function refusalOf(instance: string, cause: DatabaseError): ServiceError {
  const code = cause.code ?? "";
  switch (code) {
    case "57P01": // admin_shutdown
    case "57P02": // crash_shutdown
    case "57P03": // cannot_connect_now: starting up or shutting down
    case "57P05": // idle_session_timeout
    case "25006": // read_only_sql_transaction: a standby
    case "25P03": // idle_in_transaction_session_timeout
      return unreachable(instance, cause);
    case "57014": // query_canceled: statement_timeout
    case "55P03": // lock_not_available
      return aborted(instance, cause);
  }
  switch (code.slice(0, 2)) {
    case "08": // connection exception
    case "53": // insufficient resources: disk full, too many connections
    case "58": // system error: input and output
      return unreachable(instance, cause);
    case "40": // transaction rollback: deadlock, serialization failure
      return aborted(instance, cause);
    case "23": // integrity constraint violation
      return new ServiceError("failed-precondition", `instance ${instance} refused the data`, {
        reason: "CONSTRAINT_VIOLATED",
        cause,
      });
    default:
      return new ServiceError("internal", `instance ${instance} failed`, { cause });
  }
}

function aborted(instance: string, cause: unknown): ServiceError {
  return new ServiceError("aborted", `instance ${instance} rolled the transaction back`, { cause });
}

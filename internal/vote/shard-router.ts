import type { Client } from "@connectrpc/connect";
import type { ShardRouterService } from "../../gen/ts/psephos/shard/v1/shard_pb.js";
import { ServiceError } from "../core/errors.ts";

/**
 * What this service needs of ShardRouter. A Connect client of ShardRouterService fits it as it is; its failures are
 * ServiceErrors.
 */
export type ShardRouter = Pick<
  Client<typeof ShardRouterService>,
  "append" | "heads" | "readChain" | "createElection" | "getElection" | "listElections" | "closeElection"
>;

/** How long a caller should wait before it tries again what failed because ShardRouter cannot be reached. */
export const OUTAGE_RETRY_MS = 1_000;

export function unknownElection(): ServiceError {
  return new ServiceError("not-found", "there is no such election", { reason: "UNKNOWN_ELECTION" });
}

/** A failure of ShardRouter as this service's own caller may see it. */
export function upstreamError(error: unknown): ServiceError {
  if (error instanceof ServiceError) {
    switch (error.kind) {
      // All that ShardRouter does not find are elections, and its text names them: with whatever the caller put there.
      case "not-found":
        return unknownElection();
      // ShardRouter's word on the caller's request.
      case "invalid-argument":
      case "already-exists":
      case "failed-precondition":
      case "resource-exhausted":
      case "aborted":
        return error;
      case "unavailable":
      case "deadline-exceeded":
      case "cancelled":
        return new ServiceError("unavailable", "the vote store cannot be reached", {
          reason: "ROUTER_UNAVAILABLE",
          retryDelayMs: error.retryDelayMs ?? OUTAGE_RETRY_MS,
          cause: error,
        });
      // A mistake of ours, such as a certificate that ShardRouter does not allow.
      default:
    }
  }
  return new ServiceError("internal", "internal error", { cause: error });
}

/**
 * Makes calls to ShardRouter on behalf of a call of our own. What must not reach the caller is thrown as a plain Error,
 * which whoever serves that call logs.
 */
export async function askRouter<T>(ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    const shown = upstreamError(error);
    throw shown.kind === "internal" ? new Error("a call to ShardRouter failed", { cause: error }) : shown;
  }
}

// What ShardRouter's answers mean to whoever cast the vote.
import { AppendOutcome } from "../../gen/ts/psephos/shard/v1/shard_pb.js";
import { ServiceError } from "../core/errors.ts";
import { OUTAGE_RETRY_MS } from "./shard-router.ts";
import { electionClosed } from "./validation.ts";

/** How long a caller should wait before it tries a busy service again. */
export const BUSY_RETRY_MS = 250;

/** The error for a vote that was not recorded, or that nobody can say was. */
export function refusalOf(outcome: AppendOutcome): Error {
  switch (outcome) {
    case AppendOutcome.ALREADY_VOTED:
      return new ServiceError("already-exists", "the voter has already voted", { reason: "ALREADY_VOTED" });
    case AppendOutcome.CLOSED:
      return electionClosed();
    case AppendOutcome.UNAVAILABLE:
      return unreachable();
    case AppendOutcome.OVERLOADED:
      return overloaded();
    default:
      return new Error(`ShardRouter answered with outcome ${outcome}`);
  }
}

export function overloaded(): ServiceError {
  return new ServiceError("resource-exhausted", "too many votes are waiting", {
    reason: "OVERLOADED",
    retryDelayMs: BUSY_RETRY_MS,
  });
}

/** The vote was sent and its answer never came. */
export function unreachable(cause?: unknown): ServiceError {
  return new ServiceError(
    "unavailable",
    "the vote's shard cannot be reached; whether the vote is recorded is not known: repeat it with the same request id",
    { reason: "SHARD_UNAVAILABLE", retryDelayMs: OUTAGE_RETRY_MS, cause },
  );
}

/** The vote waited for its deadline without being sent, or since it was `sent` without a usable answer. */
export function expired(sent: boolean): ServiceError {
  const message = sent
    ? "no answer in time; whether the vote is recorded is not known: repeat it with the same request id"
    : "the vote was not recorded in time";
  return new ServiceError("deadline-exceeded", message, { retryDelayMs: BUSY_RETRY_MS });
}

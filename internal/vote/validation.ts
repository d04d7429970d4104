// What can be refused by looking at a request, and at the election it names, alone. No message here repeats a value:
// error texts travel to logs and screens where a voter id must not appear.
import type { CastVoteRequest } from "../../gen/ts/psephos/vote/v1/vote_pb.js";
import { isClientSealedChoice, SEALED_CHOICE_SIZE } from "../ballot/sealed-choice.ts";
import { type FieldViolation, ServiceError } from "../core/errors.ts";
import { type ElectionId, isElectionId } from "../core/ids.ts";

export const MAX_ID_BYTES = 256;

/** What is wrong with an opaque id (voter, request, candidate); undefined when nothing is. */
export function idProblem(value: string): string | undefined {
  if (value === "") return "must not be empty";
  // No UTF-16 unit takes more than three bytes of UTF-8, so nearly every id is measured by its length alone.
  if (value.length * 3 > MAX_ID_BYTES && Buffer.byteLength(value) > MAX_ID_BYTES) {
    return `must be at most ${MAX_ID_BYTES} bytes of UTF-8`;
  }
  // Lenient decoders turn bytes that are not UTF-8 into U+FFFD, and encoders do so to lone surrogates. Two voters
  // whose ids differ only in such places would become one.
  if (value.includes("\ufffd") || !value.isWellFormed()) return "must be valid UTF-8";
  return undefined;
}

/** The id of the election a request names; `field` is where the request has it. */
export function checkElectionId(value: string, field = "election_id"): ElectionId {
  if (!isElectionId(value)) throw invalidFields([{ field, description: electionIdProblem(value) }]);
  return value;
}

/** Refuses a vote that no election could take, naming every field that is wrong. */
export function checkVoteForm(
  vote: CastVoteRequest,
): asserts vote is CastVoteRequest & { electionId: ElectionId } {
  // The list is made only when there is something to put on it: this runs for every vote.
  let problems: FieldViolation[] | undefined;
  const refuse = (field: string, description: string | undefined) => {
    if (description === undefined) return;
    problems ??= [];
    problems.push({ field, description });
  };
  if (!isElectionId(vote.electionId)) refuse("election_id", electionIdProblem(vote.electionId));
  refuse("voter_id", idProblem(vote.voterId));
  refuse("request_id", idProblem(vote.requestId));
  if (vote.choice.case === "candidateId") refuse("candidate_id", idProblem(vote.choice.value));
  else if (vote.choice.case === "sealedChoice")
    refuse("sealed_choice", sealedChoiceProblem(vote.choice.value));
  else refuse("choice", "must be a candidate_id or a sealed_choice");
  if (problems !== undefined) throw invalidFields(problems);
}

/** When an election takes votes, as far as this service knows, in microseconds since 1970. */
export interface VotingPeriod {
  readonly opensAt: number;
  /** null when only CloseElection ends it. */
  readonly closesAt: number | null;
  /** When this process learned that CloseElection has begun; null while it has not. */
  readonly closingSince: number | null;
}

/**
 * For so long after its closing an election's votes still go to their shards, to be refused there: a late one may be
 * the retry of a vote that was recorded in time and whose answer was lost, and only the shard can tell.
 */
const RETRY_WINDOW_MICROS = 60_000_000;

/** Refuses what no shard needs to look at. The lock on a shard's head has the last word on the rest. */
export function checkOpen({ opensAt, closesAt, closingSince }: VotingPeriod, nowMicros: number): void {
  const closedAt = Math.min(closesAt ?? Number.POSITIVE_INFINITY, closingSince ?? Number.POSITIVE_INFINITY);
  if (nowMicros >= closedAt + RETRY_WINDOW_MICROS) throw electionClosed();
  if (nowMicros < opensAt) {
    throw new ServiceError("failed-precondition", "the election has not opened yet", {
      reason: "NOT_OPEN_YET",
    });
  }
}

export function electionClosed(): ServiceError {
  return new ServiceError("failed-precondition", "the election is closed", { reason: "CLOSED" });
}

/** Every field that makes a request wrong, in one error. */
export function invalidFields(fields: readonly FieldViolation[]): ServiceError {
  const message = fields.map(({ field, description }) => `${field}: ${description}`).join("; ");
  return new ServiceError("invalid-argument", message, { reason: "INVALID_FIELD", fields });
}

function electionIdProblem(value: string): string {
  return idProblem(value) ?? "must be 1 to 63 of a-z, 0-9 and inner hyphens";
}

function sealedChoiceProblem(value: Uint8Array): string | undefined {
  return isClientSealedChoice(value) ? undefined : `must be ${SEALED_CHOICE_SIZE} bytes of format 0x02`;
}

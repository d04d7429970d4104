// Between the messages of shard.proto and this service's own types.
import {
  AppendOutcome,
  type AppendRequest,
  ElectionState as WireState,
} from "../../gen/ts/psephos/shard/v1/shard_pb.js";
import type { ChainHead } from "../ballot/chain.ts";
import { PSEUDONYM_SIZE } from "../ballot/record.ts";
import { SEALED_CHOICE_SIZE } from "../ballot/sealed-choice.ts";
import { shardOf } from "../ballot/voter-key.ts";
import { type FieldViolation, invalidField, ServiceError } from "../core/errors.ts";
import { type ElectionId, isElectionId, type ShardId, shardId, voteIdOf } from "../core/ids.ts";
import type { Hash } from "../core/sha256.ts";
import type { Answer, PendingVote } from "./decide.ts";
import type { Election } from "./elections.ts";
import type { ElectionState, StoredElection, StoredHead } from "./ports.ts";

/** The most votes of one Append. */
export const MAX_BATCH_VOTES = 1_000;
const REQUEST_TOKEN_SIZE = 16;
/** The first ones tell what is wrong; a thousand do not fit an error. */
const MAX_PROBLEMS = 20;

const STATES: Readonly<Record<ElectionState, WireState>> = {
  creating: WireState.UNSPECIFIED, // Never sent.
  open: WireState.OPEN,
  closing: WireState.CLOSING,
  closed: WireState.CLOSED,
};

const OUTCOMES: Readonly<Record<Answer["outcome"], AppendOutcome>> = {
  recorded: AppendOutcome.RECORDED,
  "already-voted": AppendOutcome.ALREADY_VOTED,
  closed: AppendOutcome.CLOSED,
  unavailable: AppendOutcome.UNAVAILABLE,
  overloaded: AppendOutcome.OVERLOADED,
};

export function checkElectionId(text: string): ElectionId {
  if (isElectionId(text)) return text;
  throw invalidField("election_id", "must be 1 to 63 of a-z, 0-9 and inner hyphens");
}

export function checkShard(election: Election, shard: number, field: string): ShardId {
  if (shard < election.manifest.shards) return shardId(shard);
  throw invalidField(field, `must be less than ${election.manifest.shards}`);
}

export function checkPseudonym(bytes: Uint8Array): Uint8Array {
  if (bytes.length === PSEUDONYM_SIZE) return bytes;
  throw invalidField("voter_pseudonym", `must be ${PSEUDONYM_SIZE} bytes`);
}

/** A uint64 as a number. */
export function checkCount(value: bigint, field: string, least: number): number {
  if (value >= BigInt(least) && value <= BigInt(Number.MAX_SAFE_INTEGER)) return Number(value);
  throw invalidField(field, `must be from ${least} to 2^53 - 1`);
}

export function pendingVotes(election: Election, { votes }: AppendRequest): PendingVote[] {
  if (votes.length > MAX_BATCH_VOTES) {
    throw new ServiceError("resource-exhausted", `a batch has at most ${MAX_BATCH_VOTES} votes`, {
      reason: "BATCH_TOO_LARGE",
    });
  }
  const problems: FieldViolation[] = [];
  const checkSize = (index: number, field: string, bytes: Uint8Array, size: number) => {
    if (bytes.length === size) return;
    problems.push({ field: `votes[${index}].${field}`, description: `must be ${size} bytes` });
  };
  votes.forEach((vote, index) => {
    checkSize(index, "voter_pseudonym", vote.voterPseudonym, PSEUDONYM_SIZE);
    checkSize(index, "sealed_choice", vote.sealedChoice, SEALED_CHOICE_SIZE);
    checkSize(index, "request_token", vote.requestToken, REQUEST_TOKEN_SIZE);
  });
  if (problems.length > 0) throw malformedVotes(problems.slice(0, MAX_PROBLEMS));
  const { election: number, manifest, genesis } = election;
  return votes.map(({ voterPseudonym, sealedChoice, requestToken }) => {
    const shard = shardOf(voterPseudonym, manifest.shards);
    return {
      election: number,
      shard,
      voterPseudonym,
      requestToken,
      sealedChoice,
      manifest,
      // It is there: an election has as many as shards.
      genesis: genesis[shard] as Hash,
    };
  });
}

export function appendResult({ shard, manifest }: PendingVote, answer: Answer) {
  const outcome = OUTCOMES[answer.outcome];
  if (answer.outcome !== "recorded") return { outcome };
  return {
    outcome,
    voteId: BigInt(voteIdOf(shard, answer.sequence, manifest.shards)),
    castAtMicros: BigInt(answer.castAt),
    hash: answer.hash,
    revision: answer.revision,
  };
}

export function electionMessage(election: StoredElection) {
  return {
    electionId: election.electionId,
    manifest: election.manifestBytes,
    state: STATES[election.state],
    createdAtMicros: BigInt(election.createdAt),
  };
}

export function headsMessage(heads: readonly StoredHead[], state: ElectionState) {
  const inOrder = [...heads].sort(byShard);
  return { heads: inOrder.map(headMessage), state: STATES[state] };
}

function headMessage(head: StoredHead) {
  return {
    shard: head.shard,
    sequence: BigInt(head.sequence),
    hash: head.hash,
    castAtMicros: BigInt(head.castAt),
    closed: head.closed,
    sealedSequence: BigInt(head.sealedSequence),
  };
}

function byShard(a: ChainHead, b: ChainHead): number {
  return a.shard - b.shard;
}

function malformedVotes(fields: readonly FieldViolation[]): ServiceError {
  const message = fields.map(({ field, description }) => `${field}: ${description}`).join("; ");
  return new ServiceError("invalid-argument", message, { reason: "INVALID_FIELD", fields });
}

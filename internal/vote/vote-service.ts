// VoteService as proto/psephos/vote/v1/vote.proto describes it.
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import type { StatusSchema } from "../../gen/ts/google/rpc/status_pb.js";
import type { Record as StoredRecord } from "../../gen/ts/psephos/shard/v1/shard_pb.js";
import {
  type CastVotesRequest,
  type CastVotesResponseSchema,
  type VoteService,
  VoteStatus,
} from "../../gen/ts/psephos/vote/v1/vote_pb.js";
import { invalidField, ServiceError } from "../core/errors.ts";
import { positionOf, type VoteId, voteId } from "../core/ids.ts";
import { answerStream } from "./answer-stream.ts";
import type { VoteCaster } from "./cast.ts";
import type { ElectionDirectory, KnownElection } from "./elections.ts";
import { askRouter, OUTAGE_RETRY_MS, type ShardRouter } from "./shard-router.ts";
import { timestampOf } from "./timestamp.ts";
import { checkElectionId } from "./validation.ts";

export interface VoteServiceOptions {
  readonly caster: VoteCaster;
  readonly elections: ElectionDirectory;
  readonly router: Pick<ShardRouter, "heads" | "readChain">;
  /** Votes of one stream between being read and answered. */
  readonly streamVotes: number;
  /** How long GetVote may take whose caller gave no earlier deadline. */
  readonly timeoutMs: number;
  /** The status an RPC would have ended with; it also logs what must not reach callers. */
  readonly statusOf: (error: unknown) => MessageInitShape<typeof StatusSchema>;
}

export function createVoteService(options: VoteServiceOptions): ServiceImpl<typeof VoteService> {
  const { caster } = options;

  const castOne = async (
    { id, vote }: CastVotesRequest,
    remainingMs: number,
  ): Promise<MessageInitShape<typeof CastVotesResponseSchema>> => {
    try {
      if (vote === undefined) throw invalidField("vote", "must be set");
      return { id, outcome: { case: "vote", value: await caster.cast(vote, remainingMs) } };
    } catch (error) {
      return { id, outcome: { case: "error", value: options.statusOf(error) } };
    }
  };

  return {
    castVote: (request, { timeoutMs }) => caster.cast(request, timeoutMs()),

    castVotes(requests, { signal, timeoutMs }) {
      const deadline = performance.now() + (timeoutMs() ?? Number.POSITIVE_INFINITY);
      return answerStream(requests, {
        answer: (request) => castOne(request, deadline - performance.now()),
        limit: options.streamVotes,
        signal,
      });
    },

    async getVote(request, { signal, timeoutMs }) {
      const electionId = checkElectionId(request.electionId);
      const id = checkVoteId(request.voteId);
      const election = await options.elections.get(electionId);
      const call = { signal, timeoutMs: Math.min(timeoutMs() ?? options.timeoutMs, options.timeoutMs) };
      const { shard, sequence } = positionOf(id, election.shards);
      const [record, sealed] = await askRouter(() =>
        Promise.all([
          readRecord(options.router, election, { shard, sequence }, call),
          isSealed(options.router, election, { shard, sequence }, call),
        ]),
      );
      if (record === undefined) {
        throw new ServiceError("not-found", "there is no such vote", { reason: "UNKNOWN_VOTE" });
      }
      return {
        vote: {
          voteId: request.voteId,
          status: sealed ? VoteStatus.SEALED : VoteStatus.RECORDED,
          castAt: timestampOf(record.castAtMicros),
          recordHash: record.hash,
          revision: record.revision,
        },
        shard,
        sequence: BigInt(sequence),
      };
    },
  };
}

interface Position {
  readonly shard: number;
  readonly sequence: number;
}

interface CallLimits {
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
}

async function readRecord(
  router: Pick<ShardRouter, "readChain">,
  election: KnownElection,
  { shard, sequence }: Position,
  call: CallLimits,
): Promise<StoredRecord | undefined> {
  const range = { electionId: election.id, shard, firstSequence: BigInt(sequence), limit: 1n };
  for await (const { run } of router.readChain(range, call)) {
    const record = run?.records[0];
    if (record !== undefined) return record;
  }
  return undefined;
}

async function isSealed(
  router: Pick<ShardRouter, "heads">,
  election: KnownElection,
  { shard, sequence }: Position,
  call: CallLimits,
): Promise<boolean> {
  const { heads } = await router.heads({ electionId: election.id }, call);
  const head = heads.find((head) => head.shard === shard);
  if (head === undefined)
    throw new ServiceError("unavailable", "the vote's shard cannot be reached", {
      retryDelayMs: OUTAGE_RETRY_MS,
    });
  return head.sealedSequence >= sequence;
}

function checkVoteId(value: bigint): VoteId {
  try {
    return voteId(value);
  } catch {
    throw invalidField("vote_id", "must be from 1 to 2^53 - 1");
  }
}

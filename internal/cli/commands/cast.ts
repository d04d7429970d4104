import { randomUUID } from "node:crypto";
import { toHex } from "../../core/bytes.ts";
import type { ElectionId } from "../../core/ids.ts";
import type { CliContext } from "../context.ts";

export interface VoteOptions {
  readonly electionId: ElectionId;
  readonly voterId: string;
  readonly candidateId: string;
  readonly requestId?: string | undefined;
}

/** Casts one vote; the answer means that it is kept. */
export async function castVote(context: CliContext, options: VoteOptions): Promise<object> {
  const { electionId, voterId, candidateId, requestId = randomUUID() } = options;
  const vote = await context.votes().castVote({
    electionId,
    voterId,
    requestId,
    choice: { case: "candidateId", value: candidateId },
  });
  return {
    vote_id: Number(vote.voteId),
    status: "recorded",
    revision: vote.revision,
    record_hash: toHex(vote.recordHash),
    request_id: requestId,
  };
}

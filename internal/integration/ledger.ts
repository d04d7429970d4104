import type { MessageInitShape } from "@bufbuild/protobuf";
import type { CallOptions, Client } from "@connectrpc/connect";
import type {
  CastVoteRequestSchema,
  CastVoteResponse,
  CastVotesRequestSchema,
  CastVotesResponse,
  VotePromise,
  VoteService,
} from "../../gen/ts/psephos/vote/v1/vote_pb.js";
import { decodeEntry } from "../ballot/entry.ts";
import { decodeUtf8, equalBytes, toHex } from "../core/bytes.ts";
import { type VoteId, voteId } from "../core/ids.ts";
import { promiseFile } from "../receipt/promise.ts";

type Vote = MessageInitShape<typeof CastVoteRequestSchema>;

/** A vote somebody was told is recorded, and where. */
export interface AcknowledgedVote {
  readonly voterId: string;
  readonly choiceId: string;
  readonly voteId: VoteId;
  readonly recordHash: string;
  readonly revision: number;
}

export type CastingClient = Pick<Client<typeof VoteService>, "castVote" | "castVotes">;

/** What the services have acknowledged, by their own answers. The log must end with exactly this. */
export class Ledger {
  /** By voter and request: however often a request is repeated, it is one vote. */
  readonly #votes = new Map<string, AcknowledgedVote>();

  /** A promise of each batch that was promised, by its statement. Of the others' signatures there is nothing new to check. */
  readonly #promises = new Map<string, string>();

  /** Promises as files, one of each batch. */
  get promises(): readonly string[] {
    return [...this.#promises.values()];
  }

  get size(): number {
    return this.#votes.size;
  }

  get votes(): readonly AcknowledgedVote[] {
    return [...this.#votes.values()];
  }

  /** `client`, with every acknowledgement written down. */
  record(client: CastingClient): CastingClient {
    const ledger = this;
    return {
      async castVote(vote, options) {
        const answer = await client.castVote(vote, options);
        ledger.#acknowledge(vote, answer);
        return answer;
      },
      castVotes: (requests, options) => ledger.#castVotes(client, requests, options),
    };
  }

  /** How many voters' last votes are for each of `choices`. */
  counts(choices: readonly string[]): number[] {
    const last = new Map<string, AcknowledgedVote>();
    for (const vote of this.#votes.values()) {
      if (vote.revision > (last.get(vote.voterId)?.revision ?? 0)) last.set(vote.voterId, vote);
    }
    const cast = [...last.values()].map(({ choiceId }) => choiceId);
    return choices.map((choice) => cast.filter((id) => id === choice).length);
  }

  async *#castVotes(
    client: CastingClient,
    requests: AsyncIterable<MessageInitShape<typeof CastVotesRequestSchema>>,
    options: CallOptions | undefined,
  ): AsyncGenerator<CastVotesResponse, void, undefined> {
    const sent = new Map<bigint, Vote>();
    async function* noted() {
      for await (const request of requests) {
        sent.set(request.id ?? 0n, request.vote ?? {});
        yield request;
      }
    }
    for await (const answer of client.castVotes(noted(), options)) {
      const vote = sent.get(answer.id);
      if (vote === undefined)
        throw new Error(`an answer to ${answer.id}, which was not asked or is answered`);
      sent.delete(answer.id);
      if (answer.outcome.case === "vote") this.#acknowledge(vote, answer.outcome.value);
      yield answer;
    }
  }

  #acknowledge({ voterId = "", requestId = "", choice }: Vote, answer: CastVoteResponse): void {
    const vote = {
      voterId,
      choiceId: choice?.case === "candidateId" ? choice.value : "",
      voteId: voteId(answer.voteId),
      recordHash: toHex(answer.recordHash),
      revision: answer.revision,
    };
    const key = JSON.stringify([voterId, requestId]);
    const known = this.#votes.get(key);
    if (known !== undefined && JSON.stringify(known) !== JSON.stringify(vote)) {
      throw new Error(`one request, two answers: ${JSON.stringify([known, vote])}`);
    }
    this.#votes.set(key, vote);
    if (answer.promise) this.#keepPromise(answer, answer.promise);
  }

  /** What is promised is the very vote. That it is in the log then is for whoever compares the log with the ledger. */
  #keepPromise({ recordHash }: CastVoteResponse, promise: VotePromise): void {
    const entry = decodeEntry(promise.entry);
    if (entry.type !== "vote" || !equalBytes(entry.recordHash, recordHash)) {
      throw new Error("another vote is promised than was recorded");
    }
    const statement = decodeUtf8(promise.statement);
    if (!this.#promises.has(statement)) this.#promises.set(statement, promiseFile(promise));
  }
}

// One vote's way through this process: the voter's id and the choice go in readable, and leave it as a pseudonym and
// a ciphertext.
import { type CastVoteRequest, VoteStatus } from "../../gen/ts/psephos/vote/v1/vote_pb.js";
import type { Clock } from "../core/clock.ts";
import { ServiceError } from "../core/errors.ts";
import type { PromiseFields } from "../receipt/promise.ts";
import type { Counter, Histogram, Metrics } from "../telemetry/metrics.ts";
import type { AppendBatcher, RecordedVote } from "./batcher.ts";
import type { ElectionDirectory, KnownElection } from "./elections.ts";
import { timestampOf } from "./timestamp.ts";
import { checkOpen, checkVoteForm } from "./validation.ts";

/** A CastVoteResponse. */
export interface CastVoteAnswer {
  readonly voteId: bigint;
  readonly status: VoteStatus;
  readonly castAt: { readonly seconds: bigint; readonly nanos: number };
  readonly recordHash: Uint8Array;
  readonly revision: number;
  readonly promise?: PromiseFields;
}

export interface VoteCasterOptions {
  readonly elections: ElectionDirectory;
  readonly batcher: Pick<AppendBatcher, "append">;
  /** How long a vote may take whose caller gave no earlier deadline. */
  readonly timeoutMs: number;
  readonly clock: Clock;
  readonly metrics: Metrics;
}

export class VoteCaster {
  readonly #elections: ElectionDirectory;
  readonly #batcher: Pick<AppendBatcher, "append">;
  readonly #timeoutMs: number;
  readonly #clock: Clock;
  readonly #votes: Counter<"outcome">;
  readonly #seconds: Histogram;

  constructor({ elections, batcher, timeoutMs, clock, metrics }: VoteCasterOptions) {
    this.#elections = elections;
    this.#batcher = batcher;
    this.#timeoutMs = timeoutMs;
    this.#clock = clock;
    this.#votes = metrics.counter({
      name: "psephos_vote_votes_total",
      help: "Votes answered, by outcome: recorded, or the reason or kind of the refusal.",
      labels: ["outcome"],
    });
    this.#seconds = metrics.histogram({
      name: "psephos_vote_cast_seconds",
      help: "From a vote's arrival to its answer, whatever that is.",
    });
  }

  /**
   * Resolves once the vote is committed in its shard; otherwise rejects with what the caller may be told. It takes at
   * most `remainingMs`, which is what is left of the caller's own deadline, or this service's limit.
   */
  async cast(request: CastVoteRequest, remainingMs = Number.POSITIVE_INFINITY): Promise<CastVoteAnswer> {
    const started = performance.now();
    try {
      checkVoteForm(request);
      const { electionId, voterId, requestId } = request;
      const election = this.#elections.fresh(electionId) ?? (await this.#elections.get(electionId));
      const choice = choiceOf(election, request);
      checkOpen(election, this.#clock.nowMicros());

      const voterPseudonym = election.voterKey.pseudonym(voterId);
      const requestToken = election.voterKey.requestToken(voterPseudonym, requestId);
      const sealedChoice =
        typeof choice === "number" ? await election.sealer.seal(choice, voterPseudonym) : choice;

      // Sealed once: what the batcher may send again is the same bytes under the same token.
      const vote = { voterPseudonym, sealedChoice, requestToken };
      const deadline = started + Math.min(remainingMs, this.#timeoutMs);
      const recorded = await this.#batcher.append(election, vote, deadline);
      this.#votes.inc({ outcome: "recorded" });
      return answerOf(recorded);
    } catch (error) {
      this.#votes.inc({ outcome: outcomeOf(error) });
      throw error;
    } finally {
      this.#seconds.observe((performance.now() - started) / 1_000);
    }
  }
}

/** The choice's place in the manifest, or the bytes a client sealed itself, which only the trustees can check. */
function choiceOf(election: KnownElection, { choice }: CastVoteRequest): number | Uint8Array {
  if (choice.case === "sealedChoice") return choice.value;
  const index = choice.case === "candidateId" ? election.choices.get(choice.value) : undefined;
  if (index === undefined) {
    const description = "is not on the election's ballot";
    throw new ServiceError("invalid-argument", `candidate_id: ${description}`, {
      reason: "UNKNOWN_CANDIDATE",
      fields: [{ field: "candidate_id", description }],
    });
  }
  return index;
}

function answerOf({ result, promise }: RecordedVote): CastVoteAnswer {
  return {
    voteId: result.voteId,
    status: VoteStatus.RECORDED,
    castAt: timestampOf(result.castAtMicros),
    recordHash: result.hash,
    revision: result.revision,
    ...(promise && { promise }),
  };
}

/** Reasons and kinds are constants of the code, so that the metric has few values, and none from a request. */
function outcomeOf(error: unknown): string {
  if (!(error instanceof ServiceError)) return "internal";
  return (error.reason ?? error.kind).toLowerCase().replaceAll("-", "_");
}

// Group commit: votes that arrive while a transaction runs make up the next one.
import type { Clock } from "../core/clock.ts";
import { ServiceError } from "../core/errors.ts";
import type { Logger } from "../telemetry/logger.ts";
import { type Availability, isUnavailable } from "./availability.ts";
import { type Answer, type Decision, decide, keyOf, type PendingVote, UNAVAILABLE } from "./decide.ts";
import type { ShardMetrics } from "./metrics.ts";
import type { Group, NumberedElection, ShardInstance, ShardKey } from "./ports.ts";
import type { Relay } from "./relay.ts";

export interface GroupCommitLimits {
  /** Votes in one transaction, unless a single batch has more. */
  readonly groupVotes: number;
  /** Votes taken and not yet in a transaction. A batch that does not fit is refused. */
  readonly waitingVotes: number;
}

export interface GroupCommitOptions {
  readonly instance: Pick<ShardInstance, "name" | "append">;
  readonly availability: Availability;
  readonly relay: Pick<Relay, "offer" | "missed">;
  /** Told of an election whose number here is another one's, or nobody's. */
  readonly onStray: (election: NumberedElection) => void;
  readonly limits: GroupCommitLimits;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: ShardMetrics;
}

/** Votes of one call for this instance. */
interface Batch {
  readonly votes: readonly PendingVote[];
  readonly signal: AbortSignal | undefined;
  readonly answer: (answers: readonly Answer[]) => void;
}

/** How often a group is tried that was rolled back for a reason that passes. */
const ATTEMPTS = 3;

/**
 * The one writer of an instance in this process. It runs one transaction at a time over all the instance's shards:
 * what limits it is how long a commit takes to be durable, and a longer group takes hardly longer than a short one.
 *
 * Other processes write to the same shards. The heads' locks order us and them.
 */
export class GroupCommitter implements AsyncDisposable {
  readonly #options: GroupCommitOptions;
  readonly #queue: Batch[] = [];
  #waitingVotes = 0;
  #running = false;
  #ended: Promise<void> = Promise.resolve();
  #stopping = false;

  constructor(options: GroupCommitOptions) {
    this.#options = options;
    const { metrics, instance } = options;
    metrics.watch("waiting", instance.name, () => this.#waitingVotes);
  }

  /**
   * Appends votes of this instance's shards and answers each, in order. What is answered as recorded is committed. A
   * batch that is still waiting when `signal` aborts is left out: nobody waits for its answer.
   */
  append(votes: readonly PendingVote[], signal?: AbortSignal): Promise<readonly Answer[]> {
    const { availability, limits, instance, metrics } = this.#options;
    const refuse = (outcome: "unavailable" | "overloaded") => {
      const answers = votes.map((): Answer => ({ outcome }));
      metrics.answered(instance.name, answers);
      return Promise.resolve(answers);
    };
    if (this.#stopping || !availability.up) return refuse("unavailable");
    if (this.#waitingVotes + votes.length > limits.waitingVotes) return refuse("overloaded");
    return new Promise((answer) => {
      this.#queue.push({ votes, signal, answer });
      this.#waitingVotes += votes.length;
      if (!this.#running) this.#ended = this.#run();
    });
  }

  /** Answers what was taken, and takes no more. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping = true;
    await this.#ended;
  }

  async #run(): Promise<void> {
    const { metrics, instance } = this.#options;
    this.#running = true;
    for (let batches = this.#take(); batches.length > 0; batches = this.#take()) {
      const answers = await this.#commit(batches.flatMap((batch) => batch.votes));
      metrics.answered(instance.name, answers);
      let from = 0;
      for (const { votes, answer } of batches) {
        answer(answers.slice(from, from + votes.length));
        from += votes.length;
      }
    }
    this.#running = false;
  }

  /** Whole batches from the head of the queue, as many as a group may have and at least one. */
  #take(): Batch[] {
    const batches: Batch[] = [];
    let size = 0;
    for (let next = this.#queue[0]; next !== undefined; next = this.#queue[0]) {
      if (size > 0 && size + next.votes.length > this.#options.limits.groupVotes) break;
      this.#queue.shift();
      this.#waitingVotes -= next.votes.length;
      if (next.signal?.aborted) {
        next.answer(next.votes.map(() => UNAVAILABLE));
        continue;
      }
      batches.push(next);
      size += next.votes.length;
    }
    return batches;
  }

  /** Commits a group, or as much of it as can be. Never rejects. */
  async #commit(votes: readonly PendingVote[]): Promise<readonly Answer[]> {
    const { instance, logger } = this.#options;
    try {
      return await this.#tryCommit(votes);
    } catch (error) {
      const shards = [...Map.groupBy(votes, keyOf).values()];
      if (isConstraint(error) && shards.length > 1) return this.#commitEach(votes, shards);
      // A server that is away; or, for a human to look at, one that does not work, or a shard whose records and head
      // do not belong together. Either way the votes may be repeated: their tokens will tell what became of them.
      const level = isUnavailable(error) ? "warn" : "error";
      logger[level]({ error, instance: instance.name, votes: votes.length }, "a group was not committed");
      return votes.map(() => UNAVAILABLE);
    }
  }

  /** A transaction a shard, so that the one which is broken fails alone. */
  async #commitEach(votes: readonly PendingVote[], shards: readonly PendingVote[][]): Promise<Answer[]> {
    const answers = new Map<PendingVote, Answer>();
    for (const shard of shards) {
      const decided = await this.#commit(shard);
      for (const [index, vote] of shard.entries()) answers.set(vote, decided[index] ?? UNAVAILABLE);
    }
    return votes.map((vote) => answers.get(vote) ?? UNAVAILABLE);
  }

  async #tryCommit(votes: readonly PendingVote[]): Promise<readonly Answer[]> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#options.availability.run(() => this.#transaction(votes));
      } catch (error) {
        if (!isAborted(error) || attempt === ATTEMPTS) throw error;
      }
    }
  }

  async #transaction(votes: readonly PendingVote[]): Promise<readonly Answer[]> {
    const { instance, relay, clock, metrics } = this.#options;
    const group: Group = { shards: shardsOf(votes), voters: votes };
    const began = performance.now();
    let decision: Decision | undefined;
    try {
      await instance.append(group, (found) => {
        decision = decide(votes, found, clock.nowMicros());
        return decision.writes;
      });
    } catch (error) {
      // The commit may have happened and its answer been lost. If so, the next attempt finds these votes by their
      // tokens and takes them for old ones; the relay must look for itself.
      for (const run of decision?.runs ?? []) relay.missed(run);
      throw error;
    }
    if (decision === undefined) throw new TypeError("committed without a decision");
    metrics.committed(instance.name, votes.length, (performance.now() - began) / 1_000);
    relay.offer(decision.runs);
    for (const election of decision.strays) this.#astray(election);
    return decision.answers;
  }

  /** Either a shard's head is lost, for a human to look at, or another number is found when the votes are repeated. */
  #astray(election: NumberedElection): void {
    const { instance, logger, onStray } = this.#options;
    const context = { instance: instance.name, election: election.electionId, number: election.election };
    logger.error(context, "shards of an election have no head of theirs here: its number is looked up again");
    onStray(election);
  }
}

/** The shards of votes in the order of locking, none twice. */
function shardsOf(votes: readonly PendingVote[]): ShardKey[] {
  const keys = new Map(votes.map(({ election, shard }) => [keyOf({ election, shard }), { election, shard }]));
  return [...keys.values()].sort((a, b) => a.election - b.election || a.shard - b.shard);
}

function isConstraint(error: unknown): boolean {
  return error instanceof ServiceError && error.kind === "failed-precondition";
}

function isAborted(error: unknown): boolean {
  return error instanceof ServiceError && error.kind === "aborted";
}

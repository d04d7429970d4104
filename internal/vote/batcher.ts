// Votes travel to ShardRouter in batches: a call for each would cost more than all the rest of a vote's way.
import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  AppendOutcome,
  type AppendResult,
  type NewVoteSchema,
} from "../../gen/ts/psephos/shard/v1/shard_pb.js";
import type { Clock } from "../core/clock.ts";
import { ServiceError } from "../core/errors.ts";
import type { ElectionId } from "../core/ids.ts";
import type { PromiseFields } from "../receipt/promise.ts";
import type { Logger } from "../telemetry/logger.ts";
import type { Counter, Histogram, Metrics } from "../telemetry/metrics.ts";
import { expired, overloaded, refusalOf, unreachable } from "./append-outcome.ts";
import type { KnownElection } from "./elections.ts";
import { OUTAGE_RETRY_MS, type ShardRouter, upstreamError } from "./shard-router.ts";

/** A vote to append, pseudonymised and sealed. */
export type NewVote = MessageInitShape<typeof NewVoteSchema>;

/** A vote that is committed in its shard, and promised a place in the log if its election promises that. */
export interface RecordedVote {
  readonly result: AppendResult;
  readonly promise: PromiseFields | undefined;
}

export interface BatcherLimits {
  /** Votes in one call; ShardRouter takes 1,000. */
  readonly batchVotes: number;
  /** Calls in flight for one election. */
  readonly callsInFlight: number;
  /** Votes taken and not yet answered, over all elections. More are refused. */
  readonly pendingVotes: number;
  /** While a call is in flight, how long the next waits for more votes. */
  readonly lingerMs: number;
  /** How long one call may take. */
  readonly callTimeoutMs: number;
  /** Calls made for one vote before its caller hears that its shard cannot be reached. */
  readonly attempts: number;
  /** Before the second attempt; three times as long before each further one. */
  readonly retryDelayMs: number;
}

export interface BatcherOptions {
  readonly router: Pick<ShardRouter, "append">;
  readonly limits: BatcherLimits;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

interface PendingVote {
  readonly vote: NewVote;
  /** On the clock of performance.now(), which does not jump. */
  readonly deadline: number;
  attempts: number;
  readonly resolve: (vote: RecordedVote) => void;
  readonly reject: (error: Error) => void;
}

/** What the votes' election is to the batcher. */
type BatchedElection = Pick<KnownElection, "id" | "promises">;

/** One election's votes on their way: a call carries votes of one election. */
interface Lane {
  readonly election: BatchedElection;
  readonly queue: PendingVote[];
  calls: number;
  /** A flush is on its way. */
  scheduled: boolean;
  /** The last call failed as a whole. An outage is logged when it begins and ends, not for each call. */
  failing: boolean;
}

/**
 * Gathers votes in flight into batches and hands each its own answer.
 *
 * Repeating a batch whose answer was lost is safe: each vote's request token makes the shard answer again what it
 * answered first. A vote is answered by its deadline, or one call's timeout later where that call carries it.
 */
export class AppendBatcher implements AsyncDisposable {
  readonly #router: Pick<ShardRouter, "append">;
  readonly #limits: BatcherLimits;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #batchVotes: Histogram;
  readonly #callSeconds: Histogram;
  readonly #retries: Counter;
  readonly #lanes = new Map<ElectionId, Lane>();
  /** Calls and waits for retries. */
  readonly #work = new Set<Promise<void>>();
  readonly #stop = new AbortController();
  #pending = 0;

  constructor({ router, limits, clock, logger, metrics }: BatcherOptions) {
    this.#router = router;
    this.#limits = limits;
    this.#clock = clock;
    this.#logger = logger;
    this.#batchVotes = metrics.histogram({
      name: "psephos_vote_append_batch_votes",
      help: "Votes in a call of ShardRouter's Append.",
      buckets: [1, 3, 10, 30, 100, 300, 1_000],
    });
    this.#callSeconds = metrics.histogram({
      name: "psephos_vote_append_seconds",
      help: "How long a call of ShardRouter's Append took.",
    });
    this.#retries = metrics.counter({
      name: "psephos_vote_append_retries_total",
      help: "Votes sent to ShardRouter again, because their shard could not be reached or the answer was lost.",
    });
    metrics.gauge({
      name: "psephos_vote_pending",
      help: "Votes taken and not yet answered.",
      collect: (gauge) => gauge.set(this.#pending),
    });
  }

  /** Resolves once the vote is recorded. Otherwise rejects with a ServiceError meant for its caller. */
  append(election: BatchedElection, vote: NewVote, deadline: number): Promise<RecordedVote> {
    return new Promise((resolve, reject) => {
      if (this.#stop.signal.aborted) return reject(stopping());
      if (this.#pending >= this.#limits.pendingVotes) return reject(overloaded());
      this.#pending++;
      const lane = this.#lane(election);
      lane.queue.push({ vote, deadline, attempts: 0, resolve, reject });
      this.#schedule(lane);
    });
  }

  /** Refuses what has not been sent and waits for the answers to what has. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    for (const lane of this.#lanes.values()) {
      for (const pending of lane.queue.splice(0)) this.#reject(pending, stopping());
    }
    await Promise.all(this.#work);
  }

  #lane(election: BatchedElection): Lane {
    let lane = this.#lanes.get(election.id);
    if (lane === undefined) {
      // Never removed: only elections that exist get here.
      lane = { election, queue: [], calls: 0, scheduled: false, failing: false };
      this.#lanes.set(election.id, lane);
    }
    return lane;
  }

  /**
   * Sends soon: after what else this turn of the event loop reads off its sockets when nothing is in flight, after a
   * short wait for company otherwise, at once when a batch is full.
   */
  #schedule(lane: Lane): void {
    if (lane.calls >= this.#limits.callsInFlight) return; // The next call that ends sends.
    if (lane.queue.length >= this.#limits.batchVotes) {
      this.#flush(lane);
      return;
    }
    if (lane.scheduled) return;
    lane.scheduled = true;
    const flush = () => {
      lane.scheduled = false;
      this.#flush(lane);
    };
    if (lane.calls === 0) setImmediate(flush);
    else setTimeout(flush, this.#limits.lingerMs);
  }

  #flush(lane: Lane): void {
    while (lane.calls < this.#limits.callsInFlight && lane.queue.length > 0) {
      const batch = this.#unexpired(lane.queue.splice(0, this.#limits.batchVotes));
      if (batch.length === 0) continue;
      lane.calls++;
      this.#track(
        this.#send(lane, batch).then(() => {
          lane.calls--;
          if (lane.queue.length > 0) this.#schedule(lane);
        }),
      );
    }
  }

  /** Nobody waits for an expired vote any more; recording it now would only surprise its voter. */
  #unexpired(batch: PendingVote[]): PendingVote[] {
    const now = performance.now();
    if (batch.every(({ deadline }) => deadline > now)) return batch;
    return batch.filter((pending) => {
      if (pending.deadline > now) return true;
      this.#reject(pending, expired(pending.attempts > 0));
      return false;
    });
  }

  /** Makes one call and answers its votes, or puts them back. Never rejects. */
  async #send(lane: Lane, batch: readonly PendingVote[]): Promise<void> {
    let results: readonly AppendResult[];
    let promises: PromiseFields[];
    try {
      results = await this.#call(lane, batch);
      promises = this.#promise(lane, results);
    } catch (error) {
      return this.#failed(lane, batch, error);
    }
    if (lane.failing) this.#logger.info({ election: lane.election.id }, "ShardRouter takes batches again");
    lane.failing = false;
    this.#answer(lane, batch, results, promises);
  }

  async #call(lane: Lane, batch: readonly PendingVote[]): Promise<readonly AppendResult[]> {
    const started = performance.now();
    let latest = 0;
    for (const pending of batch) {
      pending.attempts++;
      if (pending.deadline > latest) latest = pending.deadline;
    }
    this.#batchVotes.observe(batch.length);
    const { results } = await this.#router.append(
      { electionId: lane.election.id, votes: batch.map(({ vote }) => vote) },
      { timeoutMs: Math.ceil(Math.min(this.#limits.callTimeoutMs, latest - started)) },
    );
    this.#callSeconds.observe((performance.now() - started) / 1_000);
    if (results.length !== batch.length) {
      throw new Error(`ShardRouter answered ${results.length} of ${batch.length} votes`);
    }
    return results;
  }

  /** One promise for each vote of the answer that is recorded, in their order; none in an election without them. */
  #promise({ election }: Lane, results: readonly AppendResult[]): PromiseFields[] {
    if (election.promises === undefined) return [];
    // After the answer: what is promised is committed.
    return election.promises.promise(results.filter(isRecorded), this.#clock.nowMicros());
  }

  #answer(
    lane: Lane,
    batch: readonly PendingVote[],
    results: readonly AppendResult[],
    promises: readonly PromiseFields[],
  ): void {
    const again: PendingVote[] = [];
    let recorded = 0;
    results.forEach((result, index) => {
      const pending = batch[index];
      if (pending === undefined) return;
      if (isRecorded(result)) {
        this.#pending--;
        pending.resolve({ result, promise: promises[recorded++] });
      } else if (result.outcome === AppendOutcome.UNAVAILABLE) {
        again.push(pending);
      } else {
        this.#reject(pending, refusalOf(result.outcome));
      }
    });
    if (again.length > 0) this.#retry(lane, again);
  }

  #failed(lane: Lane, batch: readonly PendingVote[], error: unknown): void {
    if (!lane.failing) {
      this.#logger.warn(
        { error, election: lane.election.id, votes: batch.length },
        "ShardRouter did not take a batch",
      );
    }
    lane.failing = true;
    if (mayBeRecorded(error)) {
      this.#retry(lane, batch, error);
      return;
    }
    const refusal = upstreamError(error);
    for (const pending of batch) this.#reject(pending, refusal);
  }

  #retry(lane: Lane, votes: readonly PendingVote[], cause?: unknown): void {
    const attempts = votes.reduce((most, pending) => Math.max(most, pending.attempts), 1);
    // Half of it is chance, so that what failed together does not come back together.
    const delay = this.#limits.retryDelayMs * 3 ** (attempts - 1) * (0.5 + Math.random() / 2);
    const latest = performance.now() + delay;
    const again = votes.filter((pending) => {
      if (pending.attempts < this.#limits.attempts && pending.deadline > latest) return true;
      this.#reject(pending, unreachable(cause));
      return false;
    });
    if (again.length === 0) return;
    this.#retries.inc(again.length);
    this.#track(
      this.#clock.sleep(delay, this.#stop.signal).then(() => {
        if (this.#stop.signal.aborted) {
          for (const pending of again) this.#reject(pending, unreachable(cause));
          return;
        }
        lane.queue.unshift(...again);
        this.#schedule(lane);
      }),
    );
  }

  #reject(pending: PendingVote, error: Error): void {
    this.#pending--;
    pending.reject(error);
  }

  #track(work: Promise<void>): void {
    const tracked = work.finally(() => this.#work.delete(tracked));
    this.#work.add(tracked);
  }
}

function isRecorded({ outcome }: AppendResult): boolean {
  return outcome === AppendOutcome.RECORDED;
}

/**
 * The call got lost: all of its votes may be recorded, or some, or none. A server that stops breaks its calls off as
 * cancelled; this side never cancels one.
 */
function mayBeRecorded(error: unknown): boolean {
  if (!(error instanceof ServiceError)) return false;
  return ["unavailable", "deadline-exceeded", "cancelled", "aborted"].includes(error.kind);
}

function stopping(): ServiceError {
  return new ServiceError("unavailable", "the service is stopping", {
    reason: "STOPPING",
    retryDelayMs: OUTAGE_RETRY_MS,
  });
}

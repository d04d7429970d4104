import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Client } from "@connectrpc/connect";
import type {
  CastVotesRequestSchema,
  CastVotesResponse,
  VoteService,
} from "../../gen/ts/psephos/vote/v1/vote_pb.js";
import { ServiceError } from "../core/errors.ts";
import { errorFromStatus } from "../grpc/status.ts";
import { UnreachableError } from "./exit-code.ts";

/** A vote to cast. The same `requestId` makes a repetition harmless. */
export interface VoteToCast {
  readonly voterId: string;
  readonly choiceId: string;
  readonly requestId: string;
  /** Cast after this one is recorded; it must be refused, as the voter has voted. */
  readonly secondAttempt?: VoteToCast;
}

export interface CastTotals {
  /** Votes answered as recorded. */
  recorded: number;
  /** Votes refused because their voter had voted. */
  refused: number;
  /** Times a vote was sent again because it could not be taken, or its answer was lost. */
  retried: number;
}

export interface VoteCasterOptions {
  readonly client: Pick<Client<typeof VoteService>, "castVotes">;
  readonly electionId: string;
  /** Streams side by side. */
  readonly streams?: number;
  /** Votes under way on each. */
  readonly window?: number;
  /** Longer without any answer is an outage to report, not a restart to wait out. */
  readonly maxOutageMs?: number;
  readonly onProgress?: ((totals: CastTotals) => void) | undefined;
  readonly signal: AbortSignal;
}

type Request = MessageInitShape<typeof CastVotesRequestSchema>;

const RETRY_MS = 200;
const MAX_OUTAGE_MS = 60_000;

/** Casts votes over streams until each is answered for good, through restarts of the service. */
export class VoteCaster {
  readonly totals: CastTotals = { recorded: 0, refused: 0, retried: 0 };
  readonly #options: VoteCasterOptions;

  constructor(options: VoteCasterOptions) {
    this.#options = options;
  }

  /** Rejects with the first thing that no retry would mend; votes under way may then be recorded or not. */
  async cast(votes: Iterable<VoteToCast>): Promise<CastTotals> {
    const source = votes[Symbol.iterator]();
    const failure = new AbortController();
    const signal = AbortSignal.any([this.#options.signal, failure.signal]);
    const lanes = Array.from({ length: this.#options.streams ?? 8 }, () =>
      this.#castLane(source, signal).catch((error: unknown) => failure.abort(error)),
    );
    await Promise.all(lanes);
    failure.signal.throwIfAborted();
    return this.totals;
  }

  /** One stream after another, the next where the last one broke off. */
  async #castLane(source: Iterator<VoteToCast>, signal: AbortSignal): Promise<void> {
    const { client, onProgress, maxOutageMs = MAX_OUTAGE_MS } = this.#options;
    const lane = new Lane(source, this.#options);
    let answered = performance.now();
    while (true) {
      let broken: unknown = new UnreachableError("the vote service ends streams without an answer");
      try {
        signal.throwIfAborted();
        for await (const answer of client.castVotes(lane.requests(), { signal })) {
          this.#settle(lane, answer);
          onProgress?.(this.totals);
          answered = performance.now();
        }
      } catch (error) {
        signal.throwIfAborted();
        if (!isTransient(error)) throw error;
        broken = error;
      }
      this.totals.retried += lane.requeuePending();
      if (lane.done) return;
      if (performance.now() - answered > maxOutageMs) throw broken;
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }

  #settle(lane: Lane, { id, outcome }: CastVotesResponse): void {
    const vote = lane.answered(id);
    if (!vote) return;
    if (outcome.case === "vote") {
      this.totals.recorded++;
      if (vote.secondAttempt) lane.add(vote.secondAttempt);
      return;
    }
    if (outcome.case === undefined) throw new Error("an answer without an outcome");
    const error = errorFromStatus(outcome.value);
    if (error.reason === "ALREADY_VOTED") {
      this.totals.refused++;
    } else if (isTransient(error)) {
      this.totals.retried++;
      lane.addLater(vote, error.retryDelayMs ?? RETRY_MS);
    } else {
      throw error;
    }
  }
}

/** What one stream has under way and what it sends next. */
class Lane {
  readonly #source: Iterator<VoteToCast>;
  readonly #electionId: string;
  readonly #window: number;
  readonly #queue: VoteToCast[] = [];
  readonly #pending = new Map<bigint, VoteToCast>();
  /** Votes that wait out a delay before they are added again. */
  #delayed = 0;
  #exhausted = false;
  #nextId = 1n;
  #wake: (() => void) | undefined;
  /** Which call of `requests` may still yield. */
  #turn = 0;

  constructor(source: Iterator<VoteToCast>, { electionId, window }: VoteCasterOptions) {
    this.#source = source;
    this.#electionId = electionId;
    this.#window = window ?? 500;
  }

  get done(): boolean {
    return this.#exhausted && this.#queue.length === 0 && this.#pending.size === 0 && this.#delayed === 0;
  }

  /** Requests while there are any and the window has room; ends when everything is answered. */
  async *requests(): AsyncGenerator<Request, void, undefined> {
    const turn = ++this.#turn;
    while (turn === this.#turn) {
      const vote = this.#pending.size < this.#window ? this.#next() : undefined;
      if (vote) {
        const id = this.#nextId++;
        this.#pending.set(id, vote);
        yield this.#request(id, vote);
      } else if (this.done) {
        return;
      } else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }

  /** Removes and returns the vote an answer is for. */
  answered(id: bigint): VoteToCast | undefined {
    const vote = this.#pending.get(id);
    this.#pending.delete(id);
    this.#notify();
    return vote;
  }

  add(vote: VoteToCast): void {
    this.#queue.push(vote);
    this.#notify();
  }

  addLater(vote: VoteToCast, delayMs: number): void {
    this.#delayed++;
    setTimeout(() => {
      this.#delayed--;
      this.add(vote);
    }, delayMs);
  }

  /** After a stream broke off: what it did not answer is sent again. Answers how many. */
  requeuePending(): number {
    const votes = [...this.#pending.values()];
    this.#pending.clear();
    this.#queue.unshift(...votes);
    this.#turn++;
    this.#notify();
    return votes.length;
  }

  #next(): VoteToCast | undefined {
    const queued = this.#queue.shift();
    if (queued || this.#exhausted) return queued;
    const { value, done } = this.#source.next();
    if (done) {
      this.#exhausted = true;
      return undefined;
    }
    return value;
  }

  #request(id: bigint, { voterId, choiceId, requestId }: VoteToCast): Request {
    const choice = { case: "candidateId" as const, value: choiceId };
    return { id, vote: { electionId: this.#electionId, voterId, requestId, choice } };
  }

  #notify(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }
}

function isTransient(error: unknown): boolean {
  const transient: readonly string[] = [
    "unavailable",
    "resource-exhausted",
    "deadline-exceeded",
    "cancelled",
  ];
  return error instanceof ServiceError && transient.includes(error.kind);
}

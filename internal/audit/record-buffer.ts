import { ChainError, type ChainHead, verifyRun } from "../ballot/chain.ts";
import type { VoteRecord } from "../ballot/record.ts";
import { equalBytes } from "../core/bytes.ts";
import type { Sequence, ShardId } from "../core/ids.ts";

/** What became of a run that was offered. */
export type Offer =
  /** It continues the chain, and is verified. */
  | "accepted"
  /** It is all here already. */
  | "known"
  /** Records before it are missing; it waits for them. */
  | "waiting"
  /** There is no room. The shard's table still has it. */
  | "full";

interface ShardBuffer {
  /** The last verified record: the end of `verified`, or the last one taken. */
  tail: ChainHead;
  /** Verified, contiguous, not yet taken. */
  verified: VoteRecord[];
  /** Runs that came before the records they continue, by first sequence. Not verified. */
  waiting: Map<Sequence, readonly VoteRecord[]>;
}

/**
 * The records of one election between the stream and the log: verified against the chain, at most `capacity` of them.
 * It may forget anything it has not verified, because the shard's table is the truth and can be read again.
 */
export class RecordBuffer {
  readonly #shards: ShardBuffer[];
  readonly #capacity: number;
  #verified = 0;
  #waiting = 0;
  /** Where the next take begins, so that a busy low shard cannot keep the others out. */
  #turn = 0;

  constructor(options: { readonly heads: readonly ChainHead[]; readonly capacity: number }) {
    this.#shards = options.heads.map((tail) => ({ tail, verified: [], waiting: new Map() }));
    this.#capacity = options.capacity;
  }

  /** How many records are ready to be taken. */
  get size(): number {
    return this.#verified;
  }

  /** How many more records can be offered. */
  get room(): number {
    return this.#capacity - this.#verified - this.#waiting;
  }

  /** The last verified sequence of a shard. */
  tail(shard: ShardId): Sequence {
    return this.#shard(shard).tail.sequence;
  }

  /**
   * Takes in consecutive records of one shard, which may repeat what is here. Throws a ChainError, and changes nothing,
   * when a record does not follow the one before it or contradicts the one already verified in its place.
   */
  offer(run: readonly VoteRecord[]): Offer {
    const first = run[0];
    if (!first) return "known";
    const buffer = this.#shard(first.shard, first);
    checkRepeats(buffer, run);
    const fresh = run.slice(Math.max(0, buffer.tail.sequence + 1 - first.sequence));
    if (!fresh[0]) return "known";
    if (fresh.length > this.room) return "full";
    if (fresh[0].sequence > buffer.tail.sequence + 1) {
      // Of two that begin at one place the longer, so that what was offered in pieces ends up whole.
      const held = buffer.waiting.get(fresh[0].sequence)?.length ?? 0;
      if (fresh.length > held) {
        buffer.waiting.set(fresh[0].sequence, fresh);
        this.#waiting += fresh.length - held;
      }
      return "waiting";
    }
    this.#accept(buffer, fresh);
    this.#acceptWaiting(buffer);
    return "accepted";
  }

  /** Removes and returns up to `limit` verified records: each shard's contiguous run, shard after shard. */
  take(limit: number): VoteRecord[] {
    const taken: VoteRecord[] = [];
    const start = this.#turn;
    this.#turn = (start + 1) % this.#shards.length;
    for (let i = 0; i < this.#shards.length && taken.length < limit; i++) {
      const buffer = this.#shards[(start + i) % this.#shards.length];
      if (buffer) taken.push(...buffer.verified.splice(0, limit - taken.length));
    }
    this.#verified -= taken.length;
    return taken;
  }

  #shard(shard: ShardId, record?: VoteRecord): ShardBuffer {
    const buffer = this.#shards[shard];
    if (buffer) return buffer;
    const problem = `the election has ${this.#shards.length} shards`;
    throw record ? new ChainError(record, "shard", problem) : new RangeError(problem);
  }

  #accept(buffer: ShardBuffer, run: readonly VoteRecord[]): void {
    buffer.tail = verifyRun(buffer.tail, run, this.#shards.length);
    buffer.verified.push(...run);
    this.#verified += run.length;
  }

  #acceptWaiting(buffer: ShardBuffer): void {
    for (const first of [...buffer.waiting.keys()].sort((a, b) => a - b)) {
      if (first > buffer.tail.sequence + 1) return;
      const run = buffer.waiting.get(first) ?? [];
      buffer.waiting.delete(first);
      this.#waiting -= run.length;
      try {
        this.#accept(buffer, run.slice(buffer.tail.sequence + 1 - first));
      } catch (error) {
        // It came over the stream, which is not the truth: forget it, and the gap is read from the shard.
        if (!(error instanceof ChainError)) throw error;
      }
    }
  }
}

/** A shard has one record a sequence. Two different ones for the same place are two histories. */
function checkRepeats({ tail, verified }: ShardBuffer, run: readonly VoteRecord[]): void {
  const firstHeld = tail.sequence - verified.length + 1;
  for (const record of run) {
    const held = record.sequence === tail.sequence ? tail : verified[record.sequence - firstHeld];
    if (held && !equalBytes(held.hash, record.hash)) {
      throw new ChainError(record, "hash", "another record was already verified in its place");
    }
  }
}

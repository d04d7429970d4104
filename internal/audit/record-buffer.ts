import { ChainError, type ChainHead } from "../ballot/chain.ts";
import type { VoteRecord } from "../ballot/record.ts";
import type { ShardHead } from "../ballot/shard-head.ts";
import type { Sequence, ShardId } from "../core/ids.ts";
import { ShardBuffer } from "./shard-buffer.ts";

/** What became of a run that was offered. */
export type Offer =
  /** It continues the chain, and is verified. */
  | "accepted"
  /** It is all here already. */
  | "known"
  /** Records before it are missing; it waits for them. */
  | "waiting"
  /** There is no room. The shard still has it. */
  | "full"
  /** It contradicts what the stream alone has said, and either may be wrong. To be offered again once the shard was asked. */
  | "disputed"
  /** The stream had brought records that are not the shard's. They are forgotten: read again from the new tail. */
  | "contradicted";

/** The records of one election that are not sealed yet, at most `capacity` of them. */
export class RecordBuffer {
  readonly #shards: readonly ShardBuffer[];
  readonly #capacity: number;
  /** Where the next take begins, so that a busy low shard cannot keep the others out. */
  #turn = 0;

  constructor(options: { readonly heads: readonly ChainHead[]; readonly capacity: number }) {
    const shards = options.heads.length;
    this.#shards = options.heads.map((base) => new ShardBuffer({ base, shards }));
    this.#capacity = options.capacity;
  }

  /** Records that wait for the next commit, confirmed or not. */
  get size(): number {
    return this.#sum((shard) => shard.verified);
  }

  /** Records that the next `take` may have. */
  get confirmed(): number {
    return this.#sum((shard) => shard.confirmed);
  }

  /** How many more records the stream may bring. */
  get room(): number {
    return this.#capacity - this.#sum((shard) => shard.size);
  }

  /** How many may be read from the shards: runs that wait behind a gap give way to the records that fill it. */
  get roomFromShards(): number {
    return this.#capacity - this.size;
  }

  /** Whether a shard is known to have records that have not come yet. */
  get behind(): boolean {
    return this.#shards.some((shard) => shard.behind);
  }

  /** The last verified sequence of a shard. */
  tail(shard: ShardId): Sequence {
    return this.#shard(shard).tail.sequence;
  }

  /**
   * Takes in consecutive records of one shard from the stream, which may repeat what is here. Throws a ChainError, and
   * changes nothing, when a record does not follow the one before it or contradicts one that the shard has confirmed.
   */
  offer(run: readonly VoteRecord[]): Offer {
    try {
      return this.#add(run);
    } catch (error) {
      const shard = run[0] && this.#shards[run[0].shard];
      if (error instanceof ChainError && shard?.isDisputed(run)) return "disputed";
      throw error;
    }
  }

  /**
   * Takes in consecutive records that were read from their shard: the truth, by which all before them are confirmed or
   * found wrong. Throws a ChainError when the shard contradicts itself.
   */
  offerFromShard(run: readonly VoteRecord[]): Offer {
    const [first, last] = [run[0], run.at(-1)];
    if (!first || !last) return "known";
    const shard = this.#shard(first.shard, first);
    if (run.length > this.room) for (const each of this.#shards) each.forgetWaiting();
    try {
      const offer = this.#add(run);
      if (offer === "waiting" || offer === "full") return offer;
      // Forgotten as soon as it was added: a head that the shard had answered before names another record.
      if (shard.tail.sequence < last.sequence) {
        throw new ChainError(last, "hash", "is not the record that its shard's head names");
      }
      shard.confirm(last);
      return offer;
    } catch (error) {
      if (!(error instanceof ChainError) || shard.verified === shard.confirmed) throw error;
      shard.forgetUnconfirmed();
      return "contradicted";
    }
  }

  /** Compares with a head of a shard; false when what the stream had brought was not the shard's, and is forgotten. */
  confirm(shard: ShardId, head: ShardHead): boolean {
    return this.#shard(shard).confirm(head);
  }

  /** Forgets what only the stream has said of a shard. */
  forgetUnconfirmed(shard: ShardId): void {
    this.#shard(shard).forgetUnconfirmed();
  }

  /** The same for all shards but some. */
  forgetUnconfirmedExcept(shards: ReadonlySet<number>): void {
    this.#shards.forEach((buffer, shard) => {
      if (!shards.has(shard)) buffer.forgetUnconfirmed();
    });
  }

  /** Removes and returns up to `limit` confirmed records: each shard's contiguous run, shard after shard. */
  take(limit: number): VoteRecord[] {
    const taken: VoteRecord[] = [];
    const start = this.#turn;
    this.#turn = (start + 1) % this.#shards.length;
    for (let i = 0; i < this.#shards.length && taken.length < limit; i++) {
      const shard = this.#shards[(start + i) % this.#shards.length];
      for (const record of shard?.take(limit - taken.length) ?? []) taken.push(record);
    }
    return taken;
  }

  #add(run: readonly VoteRecord[]): Offer {
    const first = run[0];
    if (!first) return "known";
    const shard = this.#shard(first.shard, first);
    const unknown = shard.unknown(run);
    if (unknown.length === 0) return "known";
    return unknown.length > this.room ? "full" : shard.add(unknown);
  }

  #sum(count: (shard: ShardBuffer) => number): number {
    return this.#shards.reduce((sum, shard) => sum + count(shard), 0);
  }

  #shard(shard: ShardId, record?: VoteRecord): ShardBuffer {
    const buffer = this.#shards[shard];
    if (buffer) return buffer;
    const problem = `the election has ${this.#shards.length} shards`;
    throw record ? new ChainError(record, "shard", problem) : new RangeError(problem);
  }
}

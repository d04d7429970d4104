import { ChainError, type ChainHead, verifyNext } from "../ballot/chain.ts";
import type { VoteRecord } from "../ballot/record.ts";
import type { Sequence, ShardId } from "../core/ids.ts";
import { differingFields, type SealedRecord } from "./compare-shard.ts";
import type { Differences } from "./difference.ts";

/** Messages of the stream, oldest first: the runs of records in each. */
export type StreamRuns = AsyncIterator<readonly (readonly VoteRecord[])[], void>;

/**
 * Compares what the stream still has with the evidence, block by block. Records come on the stream in the order of their
 * shards, about in that of the log, so that only those of a block or two are in memory; one that comes later than
 * that, published again after an outage, is compared with nothing and counted.
 */
export class StreamComparison {
  readonly #runs: StreamRuns;
  readonly #differences: Differences;
  /** What came, by shard and sequence, and is still to be compared. */
  readonly #waiting = new Map<ShardId, Map<number, VoteRecord>>();
  /** How far each shard was compared, and how far the stream has come in it. */
  readonly #compared = new Map<ShardId, number>();
  readonly #reached = new Map<ShardId, number>();
  #ended = false;
  late = 0;

  constructor(options: { readonly runs: StreamRuns; readonly differences: Differences }) {
    this.#runs = options.runs;
    this.#differences = options.differences;
  }

  /** The next sealed records of one shard. */
  async compare(shard: ShardId, checkpoint: number, sealed: readonly SealedRecord[]): Promise<void> {
    const last = sealed.at(-1)?.record.sequence ?? 0;
    while (!this.#ended && (this.#reached.get(shard) ?? 0) < last) await this.#take();
    const waiting = this.#waiting.get(shard);
    for (const { index, record } of sealed) {
      const { sequence } = record;
      const found = waiting?.get(sequence);
      waiting?.delete(sequence);
      const fields = found ? differingFields(found, record) : [];
      if (fields.length === 0) continue;
      const problem = `the stream has another ${fields.join(" and ")} than the one sealed`;
      this.#differences.add({ kind: "stream", shard, sequence, index, checkpoint, problem });
    }
    this.#compared.set(shard, last);
  }

  /** The last sequence of a shard to which records that came continue its sealed chain: they were acknowledged. */
  acknowledged(end: ChainHead, shards: number): Sequence {
    const waiting = this.#waiting.get(end.shard);
    let head = end;
    for (let next = waiting?.get(head.sequence + 1); next; next = waiting?.get(head.sequence + 1)) {
      try {
        head = verifyNext(head, next, shards);
      } catch (error) {
        if (!(error instanceof ChainError)) throw error;
        break;
      }
    }
    return head.sequence;
  }

  /** The evidence ends here. What the stream has beyond may be sealed in a moment; of a closed log there is nothing. */
  async finish({ closed }: { readonly closed: boolean }): Promise<void> {
    while (!this.#ended) await this.#take();
    if (!closed) return;
    for (const [shard, records] of this.#waiting) {
      for (const { sequence } of records.values()) {
        const problem = "on the stream, and not in the closed log";
        this.#differences.add({ kind: "stream", shard, sequence, problem });
      }
    }
  }

  async #take(): Promise<void> {
    const next = await this.#runs.next();
    if (next.done) {
      this.#ended = true;
      return;
    }
    this.#differences.compared.streamMessages++;
    for (const record of next.value.flat()) {
      const { shard, sequence } = record;
      this.#differences.compared.streamRecords++;
      this.#reached.set(shard, Math.max(sequence, this.#reached.get(shard) ?? 0));
      if (sequence <= (this.#compared.get(shard) ?? 0)) {
        this.late++;
        continue;
      }
      const waiting = this.#waiting.get(shard) ?? new Map<number, VoteRecord>();
      waiting.set(sequence, record);
      this.#waiting.set(shard, waiting);
    }
  }
}

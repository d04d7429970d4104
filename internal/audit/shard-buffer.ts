import { ChainError, type ChainHead, verifyRun } from "../ballot/chain.ts";
import type { VoteRecord } from "../ballot/record.ts";
import type { ShardHead } from "../ballot/shard-head.ts";
import { equalBytes } from "../core/bytes.ts";
import type { Sequence } from "../core/ids.ts";

/**
 * The records of one shard between the stream and the log. The chain says that records follow each other; it has no
 * key, so whoever can write to the stream could continue it. Only the shard itself, which is the truth, says that they
 * are its own: its head's hash covers every record before it. Nothing is sealed that it has not confirmed.
 */
export class ShardBuffer {
  readonly #shards: number;
  /** The last record taken. */
  #base: ChainHead;
  /** Contiguous after the base, each verified against the one before. */
  #verified: VoteRecord[] = [];
  /** How many of them the shard has confirmed. */
  #confirmed = 0;
  /** A head of the shard that the verified records have not reached. */
  #expected: ShardHead | undefined;
  /** Runs that came before the records they continue, by first sequence. Not verified. */
  readonly #waiting = new Map<Sequence, readonly VoteRecord[]>();
  #waitingRecords = 0;

  constructor(options: { readonly base: ChainHead; readonly shards: number }) {
    this.#base = options.base;
    this.#shards = options.shards;
  }

  /** The last verified record, or the last one taken. */
  get tail(): ChainHead {
    return this.#verified.at(-1) ?? this.#base;
  }

  /** Records held, verified or waiting. */
  get size(): number {
    return this.#verified.length + this.#waitingRecords;
  }

  get verified(): number {
    return this.#verified.length;
  }

  get confirmed(): number {
    return this.#confirmed;
  }

  /** Whether the shard is known to be ahead of what is here. */
  get behind(): boolean {
    return this.#expected !== undefined;
  }

  /** The records of a run that are not here yet. Throws a ChainError when one contradicts what is verified. */
  unknown(run: readonly VoteRecord[]): readonly VoteRecord[] {
    const { sequence } = this.tail;
    const other = run.find((record) => this.#contradicts(record));
    if (other) throw new ChainError(other, "hash", "another record was already verified in its place");
    return run.filter((record) => record.sequence > sequence);
  }

  /**
   * Whether a run that was refused is at odds only with what nobody but the stream has said, and in itself in order.
   * Either may be the forged one then; the shard knows.
   */
  isDisputed(run: readonly VoteRecord[]): boolean {
    const confirmed = this.#verified[this.#confirmed - 1] ?? this.#base;
    const open = run.filter((record) => record.sequence > confirmed.sequence);
    const [first] = open;
    if (!first || this.#confirmed === this.#verified.length) return false;
    const follows = first.sequence === confirmed.sequence + 1;
    try {
      verifyRun(follows ? confirmed : first, follows ? open : open.slice(1), this.#shards);
    } catch (error) {
      if (error instanceof ChainError) return false;
      throw error;
    }
    return !run.some((record) => record.sequence <= confirmed.sequence && this.#contradicts(record));
  }

  /**
   * Adds what `unknown` answered. Throws a ChainError, and changes nothing, when it does not verify. "contradicted": it
   * is added, and a run that had waited for it does not follow it; or the shard's head names another record. What is
   * wrong is forgotten.
   */
  add(run: readonly VoteRecord[]): "accepted" | "waiting" | "contradicted" {
    const first = run[0];
    if (!first) return "accepted";
    if (first.sequence > this.tail.sequence + 1) {
      // Of two that begin at one place the longer, so that what was offered in pieces ends up whole.
      const held = this.#waiting.get(first.sequence)?.length ?? 0;
      if (run.length > held) {
        this.#waiting.set(first.sequence, run);
        this.#waitingRecords += run.length - held;
      }
      return "waiting";
    }
    return this.#accept(run) && this.#acceptWaiting() ? "accepted" : "contradicted";
  }

  /**
   * Compares with a head of the shard, at once or when the records that lead to it have come. Answers false when the
   * shard has another record there than was verified: then everything unconfirmed is forgotten.
   */
  confirm(head: ShardHead): boolean {
    if (head.sequence > this.tail.sequence) {
      // The first one that is not reached stays: were it replaced each time, a busy shard would never be confirmed.
      this.#expected ??= head;
      return true;
    }
    const hash = this.#hashAt(head.sequence);
    if (!hash) return true;
    if (!equalBytes(hash, head.hash)) {
      this.forgetUnconfirmed();
      return false;
    }
    this.#confirmed = Math.max(this.#confirmed, head.sequence - this.#base.sequence);
    return true;
  }

  /** Forgets what only the stream has said. The shard can be read again. */
  forgetUnconfirmed(): void {
    this.#verified.length = this.#confirmed;
    this.#expected = undefined;
    this.forgetWaiting();
  }

  forgetWaiting(): void {
    this.#waiting.clear();
    this.#waitingRecords = 0;
  }

  /** Removes and returns up to `limit` confirmed records. */
  take(limit: number): VoteRecord[] {
    const taken = this.#verified.splice(0, Math.min(limit, this.#confirmed));
    this.#confirmed -= taken.length;
    const last = taken.at(-1);
    if (last) this.#base = last;
    return taken;
  }

  /** False when a head that the shard answered names another record: then everything unconfirmed is forgotten. */
  #accept(run: readonly VoteRecord[]): boolean {
    verifyRun(this.tail, run, this.#shards);
    for (const record of run) this.#verified.push(record);
    const { tail } = this;
    const expected = this.#expected;
    if (!expected || expected.sequence > tail.sequence) return true;
    this.#expected = undefined;
    return this.confirm(expected);
  }

  /** False when one does not verify. It came over the stream, which is not the truth: the gap is read from the shard. */
  #acceptWaiting(): boolean {
    let verified = true;
    for (const first of [...this.#waiting.keys()].sort((a, b) => a - b)) {
      const { sequence } = this.tail;
      if (first > sequence + 1) break;
      const run = this.#waiting.get(first) ?? [];
      this.#waiting.delete(first);
      this.#waitingRecords -= run.length;
      try {
        if (!this.#accept(run.filter((record) => record.sequence > sequence))) return false;
      } catch (error) {
        if (!(error instanceof ChainError)) throw error;
        verified = false;
      }
    }
    return verified;
  }

  #contradicts(record: VoteRecord): boolean {
    const held = this.#hashAt(record.sequence);
    return held !== undefined && !equalBytes(held, record.hash);
  }

  /** The hash held for a sequence; undefined for those that are taken, except the last, or not here. */
  #hashAt(sequence: Sequence): Uint8Array | undefined {
    if (sequence === this.#base.sequence) return this.#base.hash;
    return this.#verified[sequence - this.#base.sequence - 1]?.hash;
  }
}

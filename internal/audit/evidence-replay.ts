import { type ChainHead, verifyNext } from "../ballot/chain.ts";
import { closingEntry, encodeEntry } from "../ballot/entry.ts";
import type { ShardHead } from "../ballot/shard-head.ts";
import { equalBytes } from "../core/bytes.ts";
import type { FoundSegment } from "../evidence/read-segment.ts";
import { logEntryOf } from "../evidence/segment.ts";
import type { SegmentEntry } from "../evidence/segment-line.ts";
import type { GrowingTree } from "../tlog/growing-tree.ts";
import type { AuditedElection } from "./election-log.ts";
import { HaltError } from "./halt.ts";

/** Grows tree and chains by segments as they are found, and accepts none that does not continue both exactly. */
export class EvidenceReplay {
  readonly tree: GrowingTree;
  readonly #election: AuditedElection;
  readonly #heads: ChainHead[];
  #closed = false;

  constructor(options: {
    readonly election: AuditedElection;
    readonly tree: GrowingTree;
    readonly shardHeads: readonly ChainHead[];
  }) {
    this.#election = options.election;
    this.tree = options.tree;
    this.#heads = [...options.shardHeads];
  }

  get shardHeads(): readonly ShardHead[] {
    return this.#heads.map(({ sequence, hash }) => ({ sequence, hash }));
  }

  /** Whether the closing entry was seen. */
  get closed(): boolean {
    return this.#closed;
  }

  /** Throws a HaltError or a ChainError that names the object or the shard and sequence. */
  accept({ key, segment }: FoundSegment): void {
    const refuse = (problem: string) => new HaltError(`${key}: ${problem}`);
    if (this.#closed) throw refuse("comes after the closing entry");
    if (!equalBytes(segment.manifestHash, this.#election.manifestHash))
      throw refuse("belongs to another manifest");
    if (segment.firstIndex !== this.tree.size)
      throw refuse(`begins at ${segment.firstIndex}, not ${this.tree.size}`);
    if (!equalBytes(segment.rootBefore, this.tree.root())) throw refuse("continues another tree");
    if (!sameHeads(segment.shardHeads, this.#heads)) throw refuse("continues other chains");
    for (const entry of segment.entries) this.#append(entry, refuse);
    if (!equalBytes(segment.rootAfter, this.tree.root())) throw refuse("does not lead to the root it names");
  }

  #append(entry: SegmentEntry, refuse: (problem: string) => HaltError): void {
    if (entry.type === "vote") {
      const head = this.#heads[entry.record.shard];
      if (!head) throw refuse(`has a record of shard ${entry.record.shard}`);
      this.#heads[entry.record.shard] = verifyNext(head, entry.record, this.#heads.length);
    }
    const bytes = encodeEntry(logEntryOf(entry));
    if (entry.type === "closing") {
      if (!equalBytes(bytes, encodeEntry(closingEntry(this.#heads)))) throw refuse("closes other totals");
      this.#closed = true;
    }
    this.tree.append(bytes);
  }
}

export function sameHeads(a: readonly ShardHead[], b: readonly ShardHead[]): boolean {
  return (
    a.length === b.length &&
    a.every(({ sequence, hash }, shard) => sequence === b[shard]?.sequence && equalBytes(hash, b[shard].hash))
  );
}

import { type ChainHead, genesisHeads } from "../ballot/chain.ts";
import type { Manifest } from "../ballot/manifest.ts";
import type { VoteRecord } from "../ballot/record.ts";
import { Tally, TallyError } from "../ballot/tally.ts";
import type { Sequence } from "../core/ids.ts";
import type { Hash } from "../core/sha256.ts";
import { checkpointNumberOf } from "../evidence/layout.ts";
import type { Segment } from "../evidence/segment.ts";
import { byShard, compareShard, type SealedRecord } from "./compare-shard.ts";
import { StreamComparison, type StreamRuns } from "./compare-stream.ts";
import { compareTail } from "./compare-tail.ts";
import { Differences } from "./difference.ts";
import type { ReadChain } from "./shard-rows.ts";

export interface ReconciliationOptions {
  readonly manifest: Manifest;
  readonly manifestHash: Hash;
  readonly readChain: ReadChain;
  /** What the stream still has; undefined where it is not to be compared. */
  readonly stream?: StreamRuns | undefined;
  /** Takes the sealed records of a shard that its database has not as they were sealed, in order. */
  readonly onDamaged?: ((damaged: readonly SealedRecord[]) => Promise<void>) | undefined;
}

/**
 * Compares the databases and the stream with the evidence, while that is verified: the evidence is what is right. Takes
 * its segments in the log's order, and compares block by block.
 */
export class Reconciliation {
  readonly differences = new Differences();
  readonly #options: ReconciliationOptions;
  readonly #stream: StreamComparison | undefined;
  /** For the one-vote rule, which the databases' own constraint is only the last guard of. */
  readonly #tally: Tally;
  readonly #heads: ChainHead[];
  #block: { number: number; sealed: SealedRecord[] } = { number: 1, sealed: [] };
  #closed = false;

  constructor(options: ReconciliationOptions) {
    const { manifest, manifestHash, stream: runs } = options;
    this.#options = options;
    this.#stream = runs && new StreamComparison({ runs, differences: this.differences });
    this.#tally = new Tally({ manifest });
    this.#heads = genesisHeads(manifestHash, manifest.shards);
  }

  /** Records of the stream that came too late to be compared. */
  get lateStreamRecords(): number {
    return this.#stream?.late ?? 0;
  }

  /** Whether the log has its closing entry. */
  get closed(): boolean {
    return this.#closed;
  }

  /** In order of shard, up to where votes are known to be acknowledged: sealed, or still on the stream. */
  get acknowledged(): Sequence[] {
    const { shards } = this.#options.manifest;
    return this.#heads.map((head) => this.#stream?.acknowledged(head, shards) ?? head.sequence);
  }

  async take({ firstIndex, entries }: Pick<Segment, "firstIndex" | "entries">): Promise<void> {
    const number = checkpointNumberOf(firstIndex);
    if (number !== this.#block.number) {
      await this.#compare();
      this.#block = { number, sealed: [] };
    }
    for (const [offset, entry] of entries.entries()) {
      if (entry.type === "closing") this.#closed = true;
      if (entry.type !== "vote") continue;
      const { record } = entry;
      this.#block.sealed.push({ index: firstIndex + offset, record });
      this.#heads[record.shard] = record;
      const problem = this.#voterProblem(record);
      // Whoever verifies the evidence without a sink says this, too; here it is said of the database's first cause.
      if (problem)
        this.differences.add({ ...placeOf(record, number), kind: "voter", problem: `${problem}, sealed` });
    }
  }

  /** The evidence ends here. */
  async finish(): Promise<void> {
    await this.#compare();
    const { readChain, manifest } = this.#options;
    for (const head of this.#heads) {
      await compareTail({
        readChain,
        head,
        shards: manifest.shards,
        closed: this.#closed,
        voterProblem: (record) => this.#voterProblem(record),
        differences: this.differences,
      });
    }
    await this.#stream?.finish({ closed: this.#closed });
  }

  async #compare(): Promise<void> {
    const { number, sealed } = this.#block;
    for (const [shard, records] of byShard(sealed)) {
      const damaged = await compareShard(this.#options.readChain, number, records, this.differences);
      if (damaged.length > 0) await this.#options.onDamaged?.(damaged);
      await this.#stream?.compare(shard, number, records);
    }
  }

  #voterProblem(record: VoteRecord): string | undefined {
    try {
      this.#tally.add(record);
      return undefined;
    } catch (error) {
      if (!(error instanceof TallyError)) throw error;
      return error.message.replace(/^shard \d+, sequence \d+: /, "");
    }
  }
}

function placeOf({ shard, sequence }: VoteRecord, checkpoint: number) {
  return { shard, sequence, checkpoint };
}

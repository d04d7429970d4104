import { FormatError } from "../ballot/format-error.ts";
import type { VoteRecord } from "../ballot/record.ts";
import type { ElectionId } from "../core/ids.ts";
import { voteObjectsPrefix } from "../evidence/layout.ts";
import { type ReferredVote, resolveSegment } from "../evidence/read-segment.ts";
import type { Segment, SegmentLines } from "../evidence/segment.ts";
import { decodeVoteObject } from "../evidence/vote-object.ts";
import type { ObjectStore } from "../worm/object-store.ts";
import { readNamed } from "./named-object.ts";
import type { VerificationReport } from "./report.ts";

export interface VoteObjectsOptions {
  readonly store: Pick<ObjectStore, "get" | "list">;
  readonly electionId: ElectionId;
  readonly report: VerificationReport;
  /** The block's. */
  readonly number: number;
}

/** The votes of one block that are objects of their own (layout object-per-vote). */
export class VoteObjects {
  readonly #options: VoteObjectsOptions;
  /** Keys that the log's segments name. */
  readonly #named = new Set<string>();
  /** Whether a segment could not be read, so that it is not known which votes it names. */
  #lost = false;

  constructor(options: VoteObjectsOptions) {
    this.#options = options;
  }

  /** The segment with the records it refers to, and each problem with one reported; undefined when one is lost. */
  resolve(key: string, lines: SegmentLines): Promise<Segment | undefined> {
    return resolveSegment(lines, (vote) => this.#read(key, vote));
  }

  /** A segment of the block could not be read. */
  lose(): void {
    this.#lost = true;
  }

  /** Lists those in the store that no segment names. In a block that is still growing, one may be about to. */
  async listUnreferenced({ finished }: { readonly finished: boolean }): Promise<void> {
    const { store, electionId, report, number } = this.#options;
    let unnamed = 0;
    for await (const key of store.list(voteObjectsPrefix(electionId, number))) {
      if (this.#named.has(key)) continue;
      unnamed++;
      if (finished && !this.#lost) report.unreferencedSegment(key);
    }
    if (unnamed === 0) return;
    if (this.#lost)
      report.unchecked(`which vote objects of block ${number} no segment names: not all were read`);
    else if (!finished) report.unchecked(`vote objects of block ${number} that no segment names yet`);
  }

  async #read(by: string, vote: ReferredVote): Promise<VoteRecord | undefined> {
    const { store, report } = this.#options;
    const { key, index } = vote;
    this.#named.add(key);
    const body = await readNamed({ store, report, by, named: vote });
    if (!body) {
      report.problem({ object: key, index }, `is named by ${by} and is not there`);
      return undefined;
    }
    try {
      return decodeVoteObject(body, vote);
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      report.problem({ object: key, index }, error.message);
      return undefined;
    }
  }
}

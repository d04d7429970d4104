import type { ElectionId, VoteId } from "../core/ids.ts";
import { voteKey } from "../evidence/layout.ts";
import type { VerificationReport } from "./report.ts";

export interface VoteObjectsOptions {
  readonly electionId: ElectionId;
  readonly report: VerificationReport;
  /** The block's. */
  readonly number: number;
  /** Those that the store has. */
  readonly votes: readonly VoteId[];
}

/** The votes of one block that are objects of their own (layout object-per-vote): which of them the log has. */
export class VoteObjects {
  readonly #options: VoteObjectsOptions;
  readonly #named = new Set<VoteId>();
  /** Whether a segment could not be read, so that it is not known which votes it names. */
  #lost = false;

  constructor(options: VoteObjectsOptions) {
    this.#options = options;
  }

  /** A segment of the log refers to these. */
  name(votes: readonly VoteId[]): void {
    for (const vote of votes) this.#named.add(vote);
  }

  /** A segment of the block could not be read. */
  lose(): void {
    this.#lost = true;
  }

  /** Lists those that no segment names. In a block that is still growing, one may be about to. */
  listUnreferenced({ finished }: { readonly finished: boolean }): void {
    const { electionId, report, number, votes } = this.#options;
    const unnamed = votes.filter((vote) => !this.#named.has(vote));
    if (unnamed.length === 0) return;
    if (this.#lost)
      report.unchecked(`which vote objects of block ${number} no segment names: not all were read`);
    else if (!finished) report.unchecked(`vote objects of block ${number} that no segment names yet`);
    else for (const vote of unnamed) report.unreferencedSegment(voteKey(electionId, number, vote));
  }
}

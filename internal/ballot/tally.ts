// Counting: from the log's records, in its order, to a number for each choice.
import type { Sequence, ShardId } from "../core/ids.ts";
import type { Manifest } from "./manifest.ts";
import type { ChoiceOpener, SpoiltReason } from "./opening.ts";
import type { VoteRecord } from "./record.ts";

export interface TallyResult {
  /** Votes for each choice, in the manifest's order. */
  readonly counts: readonly number[];
  /** Votes that count for nobody. */
  readonly spoilt: Readonly<Record<SpoiltReason, number>>;
  /** Records folded, every revision among them. `counts` and `spoilt` add up to `voters`. */
  readonly records: number;
  readonly voters: number;
}

export interface TallyOptions {
  readonly manifest: Manifest;
  /** Count what had been cast up to this moment, in microseconds since 1970, as it then stood; the newest unless given. */
  readonly asOf?: number | undefined;
}

/** A record that the election's rules do not allow. The count is not to be trusted: nobody counts past it. */
export class TallyError extends Error {
  override readonly name = "TallyError";
  readonly shard: ShardId;
  readonly sequence: Sequence;

  constructor(record: VoteRecord, problem: string) {
    super(`shard ${record.shard}, sequence ${record.sequence}: ${problem}`);
    this.shard = record.shard;
    this.sequence = record.sequence;
  }
}

/** Why a voter's next record is not allowed after the one before, if there is one. */
export function oneVoteProblem(
  revoting: Manifest["revoting"],
  previous: Pick<VoteRecord, "revision" | "sequence"> | undefined,
  revision: number,
): string | undefined {
  if (previous && revoting === "forbidden") {
    return `a second vote of the voter of sequence ${previous.sequence}`;
  }
  const expected = (previous?.revision ?? 0) + 1;
  return revision === expected ? undefined : `revision ${revision} where ${expected} comes next`;
}

/**
 * Folds records whose chains were verified, then opens each voter's last one. A vote that was replaced is never opened.
 *
 * It holds one record a voter. Elections too large for that are counted shard by shard and added up: a voter's records
 * are all in one shard.
 */
export class Tally {
  readonly #manifest: Manifest;
  readonly #asOf: number;
  readonly #last = new Map<string, VoteRecord>();
  /** The newest vote of each voter who voted after the moment: the rules hold for it, too. */
  readonly #later = new Map<string, Pick<VoteRecord, "sequence" | "revision">>();
  #records = 0;

  constructor({ manifest, asOf = Number.POSITIVE_INFINITY }: TallyOptions) {
    this.#manifest = manifest;
    this.#asOf = asOf;
  }

  /** Takes the next record in log order; throws a TallyError when the manifest does not allow it. */
  add(record: VoteRecord): void {
    // latin1 takes a byte a character: half of what hex holds for each voter.
    const voter = Buffer.from(record.voterPseudonym).toString("latin1");
    const previous = this.#later.get(voter) ?? this.#last.get(voter);
    const problem = oneVoteProblem(this.#manifest.revoting, previous, record.revision);
    if (problem) throw new TallyError(record, problem);
    // A voter's records are all in one shard, where time never goes backwards: what is later stays later.
    if (record.castAt > this.#asOf) {
      this.#later.set(voter, { sequence: record.sequence, revision: record.revision });
      return;
    }
    this.#last.set(voter, record);
    this.#records++;
  }

  async count(opener: ChoiceOpener): Promise<TallyResult> {
    const counts = this.#manifest.choices.map(() => 0);
    const spoilt = { malformed: 0, undecryptable: 0, "no-such-choice": 0 };
    for (const { sealedChoice, voterPseudonym } of this.#last.values()) {
      const opened = await opener.open(sealedChoice, voterPseudonym);
      if (opened.kind === "spoilt") spoilt[opened.reason]++;
      else counts[opened.index] = (counts[opened.index] ?? 0) + 1;
    }
    return { counts, spoilt, records: this.#records, voters: this.#last.size };
  }
}

import type { Manifest } from "../ballot/manifest.ts";
import { Tally, TallyError } from "../ballot/tally.ts";
import type { SegmentContent } from "./check-segment.ts";
import type { VerificationReport } from "./report.ts";

/** Applies the manifest's one-vote rule to records in the log's order. */
export interface VoterRule<Content> {
  /** Takes those of the next segment. */
  add(key: string, content: Content): void | Promise<void>;
}

export interface TallyRuleOptions {
  readonly manifest: Manifest;
  /** Count the votes as they stood at this moment, in microseconds since 1970; the newest unless given. */
  readonly asOf?: number | undefined;
  readonly report: VerificationReport;
}

/** Applies the rule at once, and keeps every voter's last vote in memory, ready to be counted. */
export class TallyRule implements VoterRule<SegmentContent> {
  readonly tally: Tally;
  readonly #report: VerificationReport;

  constructor({ manifest, asOf, report }: TallyRuleOptions) {
    this.tally = new Tally({ manifest, asOf });
    this.#report = report;
  }

  add(object: string, { records }: SegmentContent): void {
    for (const { index, record } of records) {
      try {
        this.tally.add(record);
      } catch (error) {
        if (!(error instanceof TallyError)) throw error;
        const { shard, sequence } = record;
        this.#report.problem({ object, index, shard, sequence }, error.message);
      }
    }
  }
}

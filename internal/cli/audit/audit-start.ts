import { equalBytes } from "../../core/bytes.ts";
import { type ElectionId, shardId, treeSize } from "../../core/ids.ts";
import { checkpointKey, firstIndexOf } from "../../evidence/layout.ts";
import type { VoteCheckpoint } from "../../evidence/vote-checkpoint.ts";
import type { CompactRange } from "../../tlog/compact-range.ts";
import { TlogError } from "../../tlog/errors.ts";
import type { LogKeys } from "../../tlog/log-keys.ts";
import { verifyNote } from "../../verify/compare-checkpoint.ts";
import type { EvidencePosition, KnownTree } from "../../verify/evidence-log.ts";
import type { EvidenceReader } from "../../verify/evidence-reader.ts";
import { SourceError } from "../../verify/http-source.ts";
import { PublicTree } from "../../verify/public-tree.ts";
import type { VerificationReport } from "../../verify/report.ts";
import { readCheckpoint } from "../../verify/walk-evidence.ts";

export interface PositionBeforeOptions {
  readonly electionId: ElectionId;
  readonly reader: EvidenceReader;
  /** The log's keys, as far as they are known. */
  readonly log: LogKeys;
  readonly report: VerificationReport;
  readonly known: KnownTree | undefined;
}

/**
 * Where the log stands before a block, for an audit that begins there: the shards' heads that the vote checkpoint before
 * it names and the Publisher signed for, and the tree as the public log has it. Undefined before the first block.
 */
export async function positionBefore(
  number: number,
  options: PositionBeforeOptions,
): Promise<EvidencePosition | undefined> {
  if (number === 1) return undefined;
  const { electionId, log, report } = options;
  const size = firstIndexOf(number);
  report.unchecked(`the evidence of entries 0 to ${size - 1}, which this audit is not of`);
  const object = checkpointKey(electionId, number - 1);
  const checkpoint = await readCheckpoint(options, object, report);
  const signed = checkpoint && verifyNote(checkpoint, object, log, report) ? checkpoint : undefined;
  return {
    size,
    heads: signed?.shardHeads.map((head, shard) => ({ ...head, shard: shardId(shard), castAt: 0 })),
    tree: await treeBefore(size, signed, object, options),
    lastVote: signed?.lastVote,
    closing: undefined,
    keys: log,
  };
}

async function treeBefore(
  size: number,
  signed: VoteCheckpoint | undefined,
  object: string,
  { known, report }: PositionBeforeOptions,
): Promise<CompactRange | undefined> {
  if (!known?.fetch || known.size < size) return undefined;
  try {
    const tree = await new PublicTree({ ...known, fetch: known.fetch }).at(treeSize(size));
    if (signed && !equalBytes(tree.root(), signed.treeRoot)) {
      report.problem({ object }, "is signed for another tree than the public log had at that size");
    }
    return tree.compact();
  } catch (error) {
    if (!(error instanceof TlogError || error instanceof SourceError)) throw error;
    report.problem({}, `the public log does not show its tree of ${size} entries: ${error.message}`);
    return undefined;
  }
}

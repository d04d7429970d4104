import { equalBytes } from "../core/bytes.ts";
import { messageOf } from "../core/errors.ts";
import { BLOCK_ENTRIES, firstIndexOf } from "../evidence/layout.ts";
import type { VoteCheckpoint } from "../evidence/vote-checkpoint.ts";
import { openCheckpoint } from "../tlog/checkpoint.ts";
import type { LogKeys } from "../tlog/log-keys.ts";
import { type EvidenceLog, type KnownTree, sameHeads } from "./evidence-log.ts";
import type { VerificationReport } from "./report.ts";

/** Compares what a vote checkpoint says with what was signed. Answers whether it is signed at all. */
export function verifyNote(
  { note, treeSize, treeRoot }: VoteCheckpoint,
  object: string,
  log: LogKeys,
  report: VerificationReport,
): boolean {
  try {
    const { checkpoint: signed } = openCheckpoint({ note, log });
    report.checked.notes++;
    if (signed.size === treeSize && equalBytes(signed.root, treeRoot)) return true;
    report.problem({ object }, "is signed for another tree than it names");
  } catch (error) {
    report.problem({ object }, messageOf(error));
  }
  return false;
}

/** All that the checkpoint of a finished block says must be what was just read. */
export function compareCheckpoint(
  checkpoint: VoteCheckpoint,
  object: string,
  { size, root, heads, lastVote }: EvidenceLog,
  report: VerificationReport,
): void {
  const differs = (what: string) => report.problem({ object }, `${what} differs from what is stored`);
  if (checkpoint.treeSize !== size) differs(`tree_size ${checkpoint.treeSize}`);
  if (root && !equalBytes(checkpoint.treeRoot, root)) differs("tree_root");
  if (heads && !sameHeads(checkpoint.shardHeads, heads)) differs("shard_heads");
  if (lastVote !== undefined && !sameVote(checkpoint.lastVote, lastVote)) differs("last_vote_id");
  report.checked.checkpoints++;
}

export interface WithoutCheckpointOptions {
  readonly known: KnownTree | undefined;
  readonly evidence: EvidenceLog;
  readonly number: number;
  /** No block with segments follows. */
  readonly isLast: boolean;
  readonly report: VerificationReport;
}

/**
 * A checkpoint is written once its block is signed, so that the newest may not be there yet. One whose block the public
 * log shows signed must be.
 */
export function withoutCheckpoint(options: WithoutCheckpointOptions, object: string): void {
  const { known, evidence, number, isLast, report } = options;
  const { closing, size } = evidence;
  const end = closing ? size : number * BLOCK_ENTRIES;
  const isDue = known ? end <= known.size : closing !== undefined || !isLast;
  if (isDue) report.problem({ object }, "is not there although its block is finished");
  else if (!known)
    report.unchecked(`signatures of entries from ${firstIndexOf(number)} on: there are none yet`);
}

function sameVote(a: VoteCheckpoint["lastVote"], b: VoteCheckpoint["lastVote"]): boolean {
  return a === null || b === null ? a === b : a.id === b.id && equalBytes(a.hash, b.hash);
}

// What a closed log ends with, for people and programs: `closing.json`. docs/spec.md, "Closing report". It says nothing
// that the log does not: whoever reads it checks the note, the entry's place in the tree, and what the entry says.
import { type ClosingEntry, encodeEntry } from "../ballot/entry.ts";
import { toBase64, toHex, utf8 } from "../core/bytes.ts";
import type { ElectionId } from "../core/ids.ts";
import type { Hash } from "../core/sha256.ts";
import { blockNumber, type SignedHead } from "./signed-head.ts";

export const CLOSING = "closing.json";

export interface ClosingReport {
  readonly election: ElectionId;
  readonly manifestHash: Hash;
  /** Of the closed log. */
  readonly head: SignedHead;
  readonly closing: ClosingEntry;
}

export function encodeClosingReport({ election, manifestHash, head, closing }: ClosingReport): Uint8Array {
  const { size, root, note } = head;
  const report = {
    format: "psephos/closing/v1",
    election_id: election,
    manifest_hash: toHex(manifestHash),
    total_votes: closing.totalVotes,
    // What is neither a vote nor the first or the last entry.
    events: size - 2 - closing.totalVotes,
    shards: closing.shardHeads.map(({ sequence, hash }, shard) => ({
      shard,
      votes: sequence,
      hash: toHex(hash),
    })),
    entry: { index: size - 1, bytes: toBase64(encodeEntry(closing)) },
    checkpoint: { number: blockNumber(size), size, root: toBase64(root), note },
  };
  return utf8(`${JSON.stringify(report, null, 2)}\n`);
}

// Receipts: `.tlog-proof` files (c2sp.org/tlog-proof) of a vote's entry. docs/spec.md, "Receipt".
import { decodeEntry, type VoteEntry } from "../ballot/entry.ts";
import { decodeUtf8 } from "../core/bytes.ts";
import { messageOf } from "../core/errors.ts";
import { type OpenedCheckpoint, openCheckpoint } from "../tlog/checkpoint.ts";
import { malformed } from "../tlog/errors.ts";
import type { LogKeys } from "../tlog/log-keys.ts";
import { MAX_NOTE_SIZE } from "../tlog/note.ts";
import type { NoteVerifier } from "../tlog/note-verifier.ts";
import { verifyInclusion } from "../tlog/proof.ts";
import { parseTlogProof } from "../tlog/tlog-proof.ts";
import { leafHash } from "../tlog/tree.ts";

/** Larger files are refused unread. Nearly all of a receipt may be signatures of its checkpoint. */
export const MAX_RECEIPT_BYTES = MAX_NOTE_SIZE;

/**
 * What is checked of a receipt, in this order.
 * - `form`: it is a tlog-proof in its one written form.
 * - `entry`: it says which entry it is of, and that is a vote's.
 * - `checkpoint`: the log's key signed its checkpoint, and each witness whose signature is known and there.
 * - `inclusion`: the log of that checkpoint has the entry at the index.
 */
export type ReceiptStep = "form" | "entry" | "checkpoint" | "inclusion";

export interface VerifyReceiptOptions {
  /** A file's text, or its bytes. */
  readonly receipt: string | Uint8Array;
  /** Of a log that changed its key: its keys, one of which a receipt's checkpoint takes. */
  readonly log: NoteVerifier | LogKeys;
  readonly witnesses?: readonly NoteVerifier[];
  /** Told of each step once it has passed. */
  readonly onStep?: (step: ReceiptStep) => void;
}

/** What a receipt stands for: the log of that checkpoint has the vote's entry at the index. */
export interface VerifiedReceipt extends OpenedCheckpoint {
  readonly entry: VoteEntry;
  readonly index: number;
}

/** Throws a TlogError at the first step that does not pass. */
export function verifyReceipt(options: VerifyReceiptOptions): VerifiedReceipt {
  const { receipt, log, witnesses = [], onStep = () => {} } = options;
  const { extra, index, proof, checkpoint: note } = parseTlogProof(decode(receipt));
  onStep("form");
  // The entry authenticates itself: another one has another leaf hash, which is not in the tree.
  const entry = voteEntryOf(extra);
  onStep("entry");
  const opened = openCheckpoint({ note, log, witnesses });
  onStep("checkpoint");
  const { size, root } = opened.checkpoint;
  verifyInclusion({ leaf: leafHash(entry.bytes), index, size, proof, root });
  onStep("inclusion");
  return { entry: entry.vote, index, ...opened };
}

function decode(receipt: string | Uint8Array): string {
  // UTF-8 is never shorter than the string, so this bounds the work below.
  if (receipt.length > MAX_RECEIPT_BYTES) {
    throw malformed(`a receipt is longer than ${MAX_RECEIPT_BYTES} bytes`);
  }
  try {
    return typeof receipt === "string" ? receipt : decodeUtf8(receipt);
  } catch (error) {
    throw malformed("a receipt is not UTF-8", error);
  }
}

function voteEntryOf(bytes: Uint8Array | undefined): {
  readonly bytes: Uint8Array;
  readonly vote: VoteEntry;
} {
  if (!bytes) throw malformed("a receipt does not say which entry it is of: it has no extra line");
  try {
    const vote = decodeEntry(bytes);
    if (vote.type === "vote") return { bytes, vote };
  } catch (error) {
    throw malformed(`a receipt's extra line is not a vote's entry: ${messageOf(error)}`, error);
  }
  throw malformed("a receipt's extra line is not a vote's entry");
}

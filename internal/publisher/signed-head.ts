import type { TreeSize } from "../core/ids.ts";
import type { Hash } from "../core/sha256.ts";
import { formatCheckpoint, openCheckpoint } from "../tlog/checkpoint.ts";
import type { LogKeys } from "../tlog/log-keys.ts";
import { type NoteSigner, signNote, withSignaturesUnder } from "../tlog/note.ts";
import { StateError } from "./state-error.ts";

/** Votes are sealed in numbered blocks of this many entries; the last one of a closed log may be shorter. */
export const BLOCK_SIZE = 10_000;

/** A tree head and the note that says that we signed it. */
export interface SignedHead {
  readonly size: TreeSize;
  readonly root: Hash;
  readonly note: string;
}

/** The number of the block that holds the last entry of a log of that size: 1 for entries 0 to 9,999. */
export function blockNumber(size: TreeSize): number {
  return Math.ceil(size / BLOCK_SIZE);
}

/** Ed25519 has no randomness (RFC 8032), so the same head always gets the same note. */
export function signHead(
  signers: readonly NoteSigner[],
  { size, root }: { size: TreeSize; root: Hash },
): SignedHead {
  const origin = signers[0]?.name ?? "";
  const note = signNote(formatCheckpoint({ origin, size, root }), signers);
  return { size, root, note };
}

/**
 * The head in one of our own files, which is trusted only as far as the log's signature on it goes. Its note has no other
 * lines: what witnesses added to the one that was shown is theirs, and comes again from them.
 */
export function openSignedHead(file: string, note: Uint8Array, keys: LogKeys): SignedHead {
  try {
    const { checkpoint } = openCheckpoint({ note, log: keys });
    return { size: checkpoint.size, root: checkpoint.root, note: withSignaturesUnder(note, keys.first.name) };
  } catch (error) {
    throw new StateError(`${file} is not a checkpoint that the log's key signed`, { cause: error });
  }
}

// Checkpoints (c2sp.org/tlog-checkpoint): the text of a signed note that states a tree's size and root.
//
//   psephos.local/vermont-2020
//   370970
//   q4sXbF3D1uuVnGZrHhGIiz3rXnDfZcWqDKJ8sGWjJ1M=
//
// The specification allows further lines, which no monitor can audit. Ours have none, and one with any is refused.
import { equalBytes, fromBase64, toBase64, utf8 } from "../core/bytes.ts";
import { type TreeSize, treeSize } from "../core/ids.ts";
import { asHash, type Hash } from "../core/sha256.ts";
import { malformed, unverified } from "./errors.ts";
import { LogKeys } from "./log-keys.ts";
import { openNote, parseNote, type VerifiedSignature } from "./note.ts";
import type { NoteVerifier } from "./note-verifier.ts";
import { EMPTY_ROOT } from "./tree.ts";

/** What witnesses accept (filippo.io/torchwood). */
const MAX_ORIGIN_BYTES = 255;

export interface Checkpoint {
  /** Identifies the log. */
  readonly origin: string;
  readonly size: TreeSize;
  readonly root: Hash;
}

/** The text to sign. */
export function formatCheckpoint({ origin, size, root }: Checkpoint): string {
  if (!isOrigin(origin)) throw malformed(`not a checkpoint origin: ${JSON.stringify(origin.slice(0, 100))}`);
  if (size === 0 && !equalBytes(root, EMPTY_ROOT)) {
    throw malformed("a checkpoint of size 0 has the empty tree's root");
  }
  return `${origin}\n${treeSize(size)}\n${toBase64(asHash(root))}\n`;
}

/** Reads a checkpoint's text, as `openNote` returns it. A checkpoint has one text only: it is written again and compared. */
export function parseCheckpoint(text: string): Checkpoint {
  const [origin = "", size = "", root = "", ...rest] = text.split("\n");
  if (rest.length !== 1 || rest[0] !== "") {
    throw malformed("a checkpoint is three lines: origin, size and root");
  }
  if (!isOrigin(origin)) throw malformed("a checkpoint's first line is an origin of 1 to 255 bytes");
  const checkpoint = {
    origin,
    size: parseCount("a checkpoint's size", size),
    root: parseHash("a checkpoint's root", root),
  };
  if (formatCheckpoint(checkpoint) !== text) throw malformed("a checkpoint is not in its canonical form");
  return checkpoint;
}

export interface OpenedCheckpoint {
  readonly checkpoint: Checkpoint;
  /** Those of `witnesses` that cosigned it. How many are enough is the caller's policy. */
  readonly cosignatures: readonly VerifiedSignature[];
}

/** The checkpoint in a note that the log's own key signed, under the log's own name. */
export function openCheckpoint({
  note,
  log: key,
  witnesses = [],
}: {
  note: string | Uint8Array;
  /** Of a log that changed its keys, the one that signs checkpoints of this size. */
  log: NoteVerifier | LogKeys;
  witnesses?: readonly NoteVerifier[];
}): OpenedCheckpoint {
  // The size is not verified yet: it chooses the key that must then have signed this very text.
  const log = key instanceof LogKeys ? key.at(parseCheckpoint(parseNote(note).text).size) : key;
  const { text, verified } = openNote(note, [log, ...witnesses]);
  const isLogs = ({ verifier }: VerifiedSignature) => verifier.label === log.label;
  if (!verified.some(isLogs)) throw unverified(`the checkpoint is not signed by its log, ${log.label}`);
  const checkpoint = parseCheckpoint(text);
  if (checkpoint.origin !== log.name) {
    // One key may serve several logs of an operator by mistake; a tree of another log proves nothing about this one.
    throw unverified(
      `the checkpoint is of the log ${JSON.stringify(checkpoint.origin)}, not ${JSON.stringify(log.name)}`,
    );
  }
  return { checkpoint, cosignatures: verified.filter((signature) => !isLogs(signature)) };
}

/** A decimal count without leading zeroes. */
export function parseCount(what: string, text: string): TreeSize {
  // 2^53 − 1 has 16 digits.
  if (!/^(?:0|[1-9][0-9]{0,15})$/.test(text) || !Number.isSafeInteger(Number(text))) {
    throw malformed(`${what} is a decimal number from 0 to 2^53 - 1, without leading zeroes`);
  }
  return treeSize(Number(text));
}

/** A hash in canonical base64. */
export function parseHash(what: string, text: string): Hash {
  try {
    return asHash(fromBase64(text));
  } catch (error) {
    throw malformed(`${what} is 32 bytes in canonical base64`, error);
  }
}

/** One line that can stand in a note. */
function isOrigin(origin: string): boolean {
  const bytes = utf8(origin).length;
  return origin.isWellFormed() && bytes >= 1 && bytes <= MAX_ORIGIN_BYTES && !/\p{Cc}/u.test(origin);
}

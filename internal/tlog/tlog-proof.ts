// Offline proofs that an entry is in a log (c2sp.org/tlog-proof), kept as files ending in `.tlog-proof`:
//
//   c2sp.org/tlog-proof@v1
//   extra <base64>               only if there is any
//   index 73894
//   gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=       the audit path, leaf's sibling first
//   B95lDa8R83lS8n0eG+o0buTxRKQTYFi//1U8anccXmA=
//
//   example.com/fancylog         the signed checkpoint, as it is
//   …
import { fromBase64, toBase64 } from "../core/bytes.ts";
import type { Hash } from "../core/sha256.ts";
import { type OpenedCheckpoint, openCheckpoint, parseCount, parseHash } from "./checkpoint.ts";
import { malformed } from "./errors.ts";
import { MAX_NOTE_SIZE, parseNote } from "./note.ts";
import type { NoteVerifier } from "./note-verifier.ts";
import { MAX_PROOF_HASHES, verifyInclusion } from "./proof.ts";

const HEADER = "c2sp.org/tlog-proof@v1";

export interface TlogProof {
  /** Whatever an application adds. Nothing authenticates it. */
  readonly extra?: Uint8Array | undefined;
  readonly index: number;
  readonly proof: readonly Hash[];
  /** A signed note. */
  readonly checkpoint: string;
}

export function formatTlogProof({ extra, index, proof, checkpoint }: TlogProof): string {
  parseNote(checkpoint);
  const lines = [HEADER];
  if (extra !== undefined) lines.push(`extra ${toBase64(extra)}`);
  lines.push(`index ${parseCount("a proof's index", String(index))}`, ...proof.map(toBase64));
  return `${lines.join("\n")}\n\n${checkpoint}`;
}

/** Reads a proof, **unverified**. It has one text only: it is written again and compared. */
export function parseTlogProof(text: string): TlogProof {
  if (text.length > MAX_NOTE_SIZE) throw malformed(`a tlog-proof is longer than ${MAX_NOTE_SIZE} bytes`);
  // Nothing before the checkpoint is an empty line, so the first one ends the proof.
  const split = text.indexOf("\n\n");
  if (split < 0) throw malformed("a tlog-proof has no blank line before its checkpoint");
  const checkpoint = text.slice(split + 2);
  const lines = text.slice(0, split).split("\n");
  if (lines.shift() !== HEADER) throw malformed(`a tlog-proof begins with the line ${HEADER}`);

  const extra = lines[0]?.startsWith("extra ") ? parseExtra(lines.shift() ?? "") : undefined;
  const index = lines.shift();
  if (!index?.startsWith("index ")) throw malformed("a tlog-proof has no index line");
  if (lines.length > MAX_PROOF_HASHES) {
    throw malformed(`a tlog-proof has more than ${MAX_PROOF_HASHES} hashes`);
  }
  const proof: TlogProof = {
    extra,
    index: parseCount("a tlog-proof's index", index.slice("index ".length)),
    proof: lines.map((line, number) => parseHash(`a tlog-proof's hash ${number + 1}`, line)),
    checkpoint,
  };
  if (formatTlogProof(proof) !== text) throw malformed("a tlog-proof is not in its canonical form");
  return proof;
}

function parseExtra(line: string): Uint8Array {
  try {
    return fromBase64(line.slice("extra ".length));
  } catch (error) {
    throw malformed("a tlog-proof's extra line is not in canonical base64", error);
  }
}

/** Throws a TlogError unless the proof shows that the leaf is in the log. Answers with what the proof then stands for. */
export function verifyTlogProof({
  proof,
  leaf,
  log,
  witnesses = [],
}: {
  proof: TlogProof;
  /** The leaf hash of the entry that is to be shown. */
  leaf: Hash;
  log: NoteVerifier;
  witnesses?: readonly NoteVerifier[];
}): OpenedCheckpoint {
  const opened = openCheckpoint({ note: proof.checkpoint, log, witnesses });
  const { size, root } = opened.checkpoint;
  verifyInclusion({ leaf, index: proof.index, size, proof: proof.proof, root });
  return opened;
}

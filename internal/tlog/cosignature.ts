// Cosignatures (c2sp.org/tlog-cosignature), of the kind cosignature/v1 with Ed25519. A witness that has checked that a log
// only grew signs its checkpoint and the time:
//
//   cosignature/v1
//   time 1679315147
//   psephos.local/vermont-2020
//   370970
//   q4sXbF3D1uuVnGZrHhGIiz3rXnDfZcWqDKJ8sGWjJ1M=
//
// In the note it is one more line, whose signature is u64 time ‖ Ed25519 signature. `NoteVerifier` verifies it.
import { concat, u64 } from "../core/bytes.ts";
import { ED25519_KEY_SIZE, ed25519PublicKey, ed25519Sign } from "./ed25519.ts";
import { malformed } from "./errors.ts";
import { formatSignatureLine, openNote, parseNote, parseSignatureLines } from "./note.ts";
import {
  ALGORITHM_COSIGNATURE_V1,
  cosignedMessage,
  isKeyName,
  keyId,
  keyLabel,
  type NoteVerifier,
  verifierKey,
} from "./note-verifier.ts";

/** A witness's line in a note. */
export interface Cosignature {
  readonly witness: NoteVerifier;
  /** POSIX seconds. */
  readonly timestamp: number;
  /** With its newline. */
  readonly line: string;
}

/** An Ed25519 key that cosigns checkpoints under a name. One key has one name: the signed message does not say it. */
export class CosignatureSigner {
  readonly name: string;
  /** `name+hex8+base64`, to be published. */
  readonly verifierKey: string;
  readonly #seed: Uint8Array;
  readonly #keyId: number;

  private constructor(name: string, seed: Uint8Array) {
    const publicKey = ed25519PublicKey(seed);
    this.name = name;
    this.#seed = seed;
    this.#keyId = keyId(name, ALGORITHM_COSIGNATURE_V1, publicKey);
    this.verifierKey = verifierKey(name, ALGORITHM_COSIGNATURE_V1, publicKey);
  }

  /** `seed`: the 32 bytes that RFC 8032 calls the private key. They are copied. */
  static fromSeed(name: string, seed: Uint8Array): CosignatureSigner {
    if (!isKeyName(name)) throw malformed(`not a key name: ${JSON.stringify(name)}`);
    if (seed.length !== ED25519_KEY_SIZE) throw malformed(`an Ed25519 seed is ${ED25519_KEY_SIZE} bytes`);
    return new CosignatureSigner(name, new Uint8Array(seed));
  }

  /** The line of a checkpoint's text, with its newline. `timestamp`: POSIX seconds. */
  cosign(text: string, timestamp: number): string {
    const signature = ed25519Sign(cosignedMessage(timestamp, text), this.#seed);
    return formatSignatureLine({
      name: this.name,
      keyId: this.#keyId,
      signature: concat(u64(timestamp), signature),
    });
  }
}

/**
 * A witness's cosignature of a checkpoint's text among signature lines, such as a witness answers with. Lines of other keys
 * are ignored; one of the witness's that does not verify refuses all of them, and no line of the witness is an error.
 */
export function readCosignature(text: string, lines: string, witness: NoteVerifier): Cosignature {
  const { verified } = openNote(`${text}\n${lines}`, [witness]);
  const [{ timestamp } = { timestamp: undefined }] = verified;
  const [line] = parseSignatureLines(lines).filter(
    ({ name, keyId }) => keyLabel(name, keyId) === witness.label,
  );
  if (timestamp === undefined || !line) throw malformed(`${witness.label} is not a witness's key`);
  return { witness, timestamp, line: formatSignatureLine(line) };
}

/** Those witnesses' cosignatures that a note has. A line of one of them that does not verify refuses the note. */
export function cosignaturesOf(note: string | Uint8Array, witnesses: readonly NoteVerifier[]): Cosignature[] {
  const { text, signatures } = parseNote(note);
  const lines = signatures.map(formatSignatureLine).join("");
  const signed = new Set(signatures.map(({ name, keyId }) => keyLabel(name, keyId)));
  return witnesses
    .filter((witness) => signed.has(witness.label))
    .map((witness) => readCosignature(text, lines, witness));
}

// Signed notes (c2sp.org/signed-note):
//
//   psephos.local/vermont-2020
//   370970
//   q4sXbF3D1uuVnGZrHhGIiz3rXnDfZcWqDKJ8sGWjJ1M=
//
//   — psephos.local/vermont-2020 0EVcRh2…=
//
// Text, a blank line, and signature lines: em dash, key name, base64 of key ID and signature.
import { concat, decodeUtf8, equalBytes, fromBase64, toBase64, utf8 } from "../core/bytes.ts";
import { ED25519_KEY_SIZE, ed25519PublicKey, ed25519Sign } from "./ed25519.ts";
import { malformed, unverified } from "./errors.ts";
import {
  ALGORITHM_ED25519,
  isKeyName,
  keyId,
  keyLabel,
  type NoteVerifier,
  verifierKey,
} from "./note-verifier.ts";

/** Longer notes are refused. A text and 100 of the largest signatures in use (ML-DSA-44, 3.3 kB a line) are a third. */
export const MAX_NOTE_SIZE = 1 << 20;
/** The specification asks for at least 16; golang.org/x/mod takes 100 too. */
export const MAX_NOTE_SIGNATURES = 100;

const KEY_ID_SIZE = 4;

/** A signature line, read but not verified. */
export interface NoteSignature {
  readonly name: string;
  /** A u32. */
  readonly keyId: number;
  readonly signature: Uint8Array;
}

export interface VerifiedSignature {
  readonly verifier: NoteVerifier;
  /** When a witness cosigned, in POSIX seconds; undefined for a signature of the plain kind, which says no time. */
  readonly timestamp: number | undefined;
}

export interface OpenedNote {
  /** With its final newline. */
  readonly text: string;
  /** One for each key that signed, at least one, in the order of the lines. */
  readonly verified: readonly VerifiedSignature[];
}

/** An Ed25519 key that signs notes under a name. */
export class NoteSigner {
  readonly name: string;
  /** `name+hex8+base64`, to be published. */
  readonly verifierKey: string;
  readonly #seed: Uint8Array;
  readonly #keyId: number;

  private constructor(name: string, seed: Uint8Array) {
    const publicKey = ed25519PublicKey(seed);
    this.name = name;
    this.#seed = seed;
    this.#keyId = keyId(name, ALGORITHM_ED25519, publicKey);
    this.verifierKey = verifierKey(name, ALGORITHM_ED25519, publicKey);
  }

  /** `seed`: the 32 bytes that RFC 8032 calls the private key. They are copied. */
  static fromSeed(name: string, seed: Uint8Array): NoteSigner {
    if (!isKeyName(name)) throw malformed(`not a key name: ${JSON.stringify(name)}`);
    if (seed.length !== ED25519_KEY_SIZE) throw malformed(`an Ed25519 seed is ${ED25519_KEY_SIZE} bytes`);
    return new NoteSigner(name, new Uint8Array(seed));
  }

  /** The signature line of a text, with its newline. */
  sign(text: string): string {
    checkText(text);
    const signature = ed25519Sign(utf8(text), this.#seed);
    return formatSignatureLine({ name: this.name, keyId: this.#keyId, signature });
  }
}

/** `text`, a blank line and a signature line of each signer. */
export function signNote(text: string, signers: readonly NoteSigner[]): string {
  const note = `${text}\n${signers.map((signer) => signer.sign(text)).join("")}`;
  // What we publish we must be able to read: its size and the number of its signatures have limits.
  parseNote(note);
  return note;
}

/**
 * The text of a note that at least one of the verifiers' keys signed. Lines of other keys are ignored; a line of one
 * of these that does not verify refuses the note, as somebody tampered with it.
 *
 * It does not say *which* keys signed: a caller that trusts some more than others looks at `verified`.
 */
export function openNote(note: string | Uint8Array, verifiers: readonly NoteVerifier[]): OpenedNote {
  const known = new Map<string, NoteVerifier>();
  for (const verifier of verifiers) {
    const other = known.get(verifier.label);
    if (other && !equalBytes(other.publicKey, verifier.publicKey)) {
      throw malformed(`two different keys are both ${verifier.label}`);
    }
    known.set(verifier.label, verifier);
  }

  const { text, signatures } = parseNote(note);
  const verified = new Map<NoteVerifier, VerifiedSignature>();
  for (const line of signatures) {
    const verifier = known.get(keyLabel(line.name, line.keyId));
    if (!verifier) continue;
    const timestamp = verifier.verify(text, line.signature);
    if (!verified.has(verifier)) verified.set(verifier, { verifier, timestamp });
  }
  if (verified.size === 0) {
    const signed = signatures.map((line) => keyLabel(line.name, line.keyId)).join(", ");
    throw unverified(`no trusted key signed the note; it is signed by ${signed}`);
  }
  return { text, verified: [...verified.values()] };
}

/** The note with the lines of those keys alone, **unverified**: what a log signed, without its witnesses' lines. */
export function withSignaturesOf(note: string | Uint8Array, keys: readonly NoteVerifier[]): string {
  const { text, signatures } = parseNote(note);
  const labels = new Set(keys.map(({ label }) => label));
  const lines = signatures.filter(({ name, keyId }) => labels.has(keyLabel(name, keyId)));
  return `${text}\n${lines.map(formatSignatureLine).join("")}`;
}

/** The note with the lines under that name alone, **unverified**: all that a log signed, also with the key that is to come. */
export function withSignaturesUnder(note: string | Uint8Array, name: string): string {
  const { text, signatures } = parseNote(note);
  const lines = signatures.filter((line) => line.name === name);
  return `${text}\n${lines.map(formatSignatureLine).join("")}`;
}

/** Splits a note into its text and its signatures, **unverified**. */
export function parseNote(note: string | Uint8Array): { text: string; signatures: NoteSignature[] } {
  const whole = decodeNote(note);
  // The text may have blank lines of its own: the last one separates.
  const split = whole.lastIndexOf("\n\n");
  if (split < 0) throw malformed("a note has no blank line before its signatures");
  const text = whole.slice(0, split + 1);
  return { text, signatures: parseSignatureLines(whole.slice(split + 2)) };
}

/** Reads signature lines, such as a witness answers with. */
export function parseSignatureLines(lines: string): NoteSignature[] {
  if (lines.length > MAX_NOTE_SIZE) throw malformed(`signature lines are longer than ${MAX_NOTE_SIZE} bytes`);
  if (!lines.endsWith("\n")) throw malformed("a note has no signature, or its last line has no newline");
  const split = lines.slice(0, -1).split("\n");
  if (split.length > MAX_NOTE_SIGNATURES) {
    throw malformed(`a note has more than ${MAX_NOTE_SIGNATURES} signatures`);
  }
  return split.map((line, index) => parseSignatureLine(line, index + 1));
}

function parseSignatureLine(line: string, number: number): NoteSignature {
  const [dash, name = "", encoded = "", ...rest] = line.split(" ");
  if (dash !== "—" || !isKeyName(name) || rest.length > 0) {
    throw malformed(`signature line ${number} is not an em dash, a key name and base64`);
  }
  let payload: Uint8Array;
  try {
    payload = fromBase64(encoded);
  } catch (error) {
    throw malformed(`signature line ${number} is not in canonical base64`, error);
  }
  if (payload.length <= KEY_ID_SIZE) {
    throw malformed(`signature line ${number} has no signature after its key ID`);
  }
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  return { name, keyId: view.getUint32(0), signature: payload.subarray(KEY_ID_SIZE) };
}

/** `— <name> <base64>`, with its newline. */
export function formatSignatureLine({ name, keyId, signature }: NoteSignature): string {
  const id = new Uint8Array(KEY_ID_SIZE);
  new DataView(id.buffer).setUint32(0, keyId);
  return `— ${name} ${toBase64(concat(id, signature))}\n`;
}

/** The note as a string, after the checks that concern the whole of it. */
function decodeNote(note: string | Uint8Array): string {
  // UTF-8 is never shorter than the string, so this bounds the work below.
  if (note.length > MAX_NOTE_SIZE) throw malformed(`a note is longer than ${MAX_NOTE_SIZE} bytes`);
  let text: string;
  try {
    text = typeof note === "string" ? note : decodeUtf8(note);
  } catch (error) {
    throw malformed("a note is not UTF-8", error);
  }
  checkCharacters(text);
  return text;
}

function checkText(text: string): void {
  if (!text.endsWith("\n")) throw malformed("a note's text ends with a newline");
  checkCharacters(text);
}

function checkCharacters(text: string): void {
  if (!text.isWellFormed()) throw malformed("a note is not UTF-8: it has half of a surrogate pair");
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit < 0x20 && unit !== 0x0a) throw malformed(`a note has the control character ${unit} at ${i}`);
  }
  if (utf8(text).length > MAX_NOTE_SIZE) throw malformed(`a note is longer than ${MAX_NOTE_SIZE} bytes`);
}

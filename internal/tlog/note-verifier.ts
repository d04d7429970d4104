// Keys that verify signed notes, written `<name>+<hex of the key ID>+<base64 of algorithm byte and public key>`.
import { concat, fromBase64, readU64, toBase64, utf8 } from "../core/bytes.ts";
import { sha256 } from "../core/sha256.ts";
import { checkEd25519PublicKey, ED25519_KEY_SIZE, ED25519_SIGNATURE_SIZE, ed25519Verify } from "./ed25519.ts";
import { malformed, type TlogError, unverified } from "./errors.ts";

/** Algorithm bytes of c2sp.org/signed-note. */
export const ALGORITHM_ED25519 = 0x01;
/** A witness's timestamped cosignature, c2sp.org/tlog-cosignature. */
export const ALGORITHM_COSIGNATURE_V1 = 0x04;

export type NoteAlgorithm = typeof ALGORITHM_ED25519 | typeof ALGORITHM_COSIGNATURE_V1;

const TIMESTAMP_SIZE = 8;
const MAX_VERIFIER_KEY_LENGTH = 4096;

/** A name that can stand in a signature line: not empty, without Unicode spaces, `+` and control characters. */
export function isKeyName(name: string): boolean {
  return name.isWellFormed() && /^[^\p{White_Space}\p{Cc}+]+$/u.test(name);
}

/** The first four bytes of SHA-256(name ‖ 0x0A ‖ algorithm ‖ public key), as a u32. */
export function keyId(name: string, algorithm: NoteAlgorithm, publicKey: Uint8Array): number {
  const hash = sha256(concat(utf8(`${name}\n`), Uint8Array.of(algorithm), publicKey));
  return new DataView(hash.buffer, hash.byteOffset).getUint32(0);
}

/** `name+hex8`, which is how a signature line and a key find each other. */
export function keyLabel(name: string, id: number): string {
  return `${name}+${id.toString(16).padStart(8, "0")}`;
}

export function verifierKey(name: string, algorithm: NoteAlgorithm, publicKey: Uint8Array): string {
  const id = keyId(name, algorithm, publicKey);
  return `${keyLabel(name, id)}+${toBase64(concat(Uint8Array.of(algorithm), publicKey))}`;
}

/** What a witness signs of a checkpoint's text (tlog-cosignature, "Ed25519 signed message"). `timestamp`: POSIX seconds. */
export function cosignedMessage(timestamp: number, text: string): Uint8Array {
  return utf8(`cosignature/v1\ntime ${timestamp}\n${text}`);
}

/** A public key that verifies one line of a note: a log's (0x01) or a witness's (0x04). */
export class NoteVerifier {
  readonly name: string;
  /** `name+hex8`. */
  readonly label: string;
  readonly algorithm: NoteAlgorithm;
  readonly publicKey: Uint8Array;

  private constructor(name: string, algorithm: NoteAlgorithm, publicKey: Uint8Array) {
    this.name = name;
    this.algorithm = algorithm;
    this.publicKey = publicKey;
    this.label = keyLabel(name, keyId(name, algorithm, publicKey));
  }

  static parse(key: string): NoteVerifier {
    if (key.length > MAX_VERIFIER_KEY_LENGTH) throw malformedKey(key, "it is too long");
    // Base64 has `+` too, a name and an ID have not.
    const match = /^([^+]+)\+([0-9a-f]{8})\+(.+)$/.exec(key);
    const [, name = "", id = "", encoded = ""] = match ?? [];
    if (!match || !isKeyName(name)) throw malformedKey(key, "it is not name+hex8+base64");
    let bytes: Uint8Array;
    try {
      bytes = fromBase64(encoded);
    } catch (error) {
      throw malformedKey(key, "its last part is not in canonical base64", error);
    }
    const algorithm = bytes[0];
    if (algorithm !== ALGORITHM_ED25519 && algorithm !== ALGORITHM_COSIGNATURE_V1) {
      throw malformedKey(key, "it is of an algorithm other than Ed25519 (1) and cosignature/v1 (4)");
    }
    const publicKey = bytes.slice(1);
    if (publicKey.length !== ED25519_KEY_SIZE) {
      throw malformedKey(key, `its public key is not ${ED25519_KEY_SIZE} bytes`);
    }
    const verifier = new NoteVerifier(name, algorithm, publicKey);
    // The ID repeats what the rest says: a wrong one is a slip in copying the key.
    if (verifier.label !== `${name}+${id}`) {
      throw malformedKey(key, `its ID does not fit its key: ${verifier.label}`);
    }
    checkEd25519PublicKey(publicKey);
    return verifier;
  }

  /** Throws a TlogError unless it is this key's signature of a note's text; tells when a witness made it. */
  verify(text: string, signature: Uint8Array): number | undefined {
    if (this.algorithm === ALGORITHM_ED25519) {
      if (!ed25519Verify(signature, utf8(text), this.publicKey)) throw this.#refusal("does not verify");
      return undefined;
    }
    return this.#verifyCosignature(text, signature);
  }

  /** `u64 timestamp ‖ Ed25519 signature`, of a message that repeats the timestamp before the whole checkpoint body. */
  #verifyCosignature(text: string, signature: Uint8Array): number {
    if (signature.length !== TIMESTAMP_SIZE + ED25519_SIGNATURE_SIZE) throw this.#refusal("is not 72 bytes");
    let timestamp: number;
    try {
      timestamp = readU64(new DataView(signature.buffer, signature.byteOffset, TIMESTAMP_SIZE), 0);
    } catch {
      throw this.#refusal("has a timestamp above 2^53 - 1");
    }
    const message = cosignedMessage(timestamp, text);
    if (!ed25519Verify(signature.subarray(TIMESTAMP_SIZE), message, this.publicKey)) {
      throw this.#refusal("does not verify");
    }
    return timestamp;
  }

  /** The verifier key, as it was parsed. */
  toString(): string {
    return verifierKey(this.name, this.algorithm, this.publicKey);
  }

  #refusal(what: string): TlogError {
    return unverified(`the note's signature by ${this.label} ${what}`);
  }
}

function malformedKey(key: string, why: string, cause?: unknown): TlogError {
  return malformed(`not a verifier key: ${JSON.stringify(key.slice(0, 100))}: ${why}`, cause);
}

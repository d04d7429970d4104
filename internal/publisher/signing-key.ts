import { randomBytes } from "node:crypto";
import { open, writeFile } from "node:fs/promises";
import { fromBase64, toBase64 } from "../core/bytes.ts";
import type { ElectionId } from "../core/ids.ts";
import { NoteSigner } from "../tlog/note.ts";

const SEED_SIZE = 32;
/** A seed takes 44 characters and a newline. Reading stops here, so that a wrong path is a short error. */
const MAX_FILE_SIZE = 256;
/** What a key file must not allow: writing by its group, anything by others. */
const FORBIDDEN_MODE = 0o037;

export class SigningKeyError extends Error {
  override readonly name = "SigningKeyError";
}

/** The deployment's Ed25519 key. Under each log's name it is another note key, since a key ID covers the name. */
export class SigningKey {
  readonly #seed: Uint8Array;

  /** `seed`: what RFC 8032 calls the private key, 32 bytes. */
  constructor(seed: Uint8Array) {
    if (seed.length !== SEED_SIZE)
      throw new SigningKeyError(`a signing key is ${SEED_SIZE} bytes, got ${seed.length}`);
    this.#seed = new Uint8Array(seed);
  }

  /**
   * Reads a key file: the seed in base64, on one line. Its group may read it, because that is how Kubernetes mounts a
   * secret for a process that is not root; a file that others can read is a key that has leaked.
   */
  static async load(path: string): Promise<SigningKey> {
    // The mode of what is open, not of what the path names by then.
    const file = await open(path, "r");
    try {
      const { mode } = await file.stat();
      if ((mode & FORBIDDEN_MODE) !== 0) {
        const actual = (mode & 0o777).toString(8).padStart(4, "0");
        throw new SigningKeyError(`${path} has mode ${actual}; it must be 0600, or 0640 at most`);
      }
      const { buffer, bytesRead } = await file.read(Buffer.alloc(MAX_FILE_SIZE), 0, MAX_FILE_SIZE);
      return new SigningKey(decodeSeed(path, buffer.toString("latin1", 0, bytesRead)));
    } finally {
      await file.close();
    }
  }

  /** Makes a new key file, with mode 0600. It never overwrites one: whoever loses a key loses its logs. */
  static async generate(path: string): Promise<SigningKey> {
    const seed = randomBytes(SEED_SIZE);
    await writeFile(path, `${toBase64(seed)}\n`, { flag: "wx", mode: 0o600, flush: true });
    return new SigningKey(seed);
  }

  /** The key of an election's log. Origin and key name are the same: `<log prefix>/<election id>`. */
  signerFor(logPrefix: string, election: ElectionId): NoteSigner {
    return NoteSigner.fromSeed(`${logPrefix}/${election}`, this.#seed);
  }
}

function decodeSeed(path: string, text: string): Uint8Array {
  try {
    return fromBase64(text.trim());
  } catch {
    // Without the cause: it could quote the key.
    throw new SigningKeyError(
      `${path} does not hold a signing key: ${SEED_SIZE} bytes in base64, on one line`,
    );
  }
}

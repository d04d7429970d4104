import { open } from "node:fs/promises";
import { fromBase64 } from "../core/bytes.ts";

const SECRET_SIZE = 32;
/** The secret takes 44 characters and a newline. Reading stops here, so that a wrong path is a short error. */
const MAX_FILE_SIZE = 256;
/** What the file must not allow: writing by its group, anything by others. */
const FORBIDDEN_MODE = 0o037;

/**
 * Reads a secret: 32 bytes in base64, on one line. Its group may read it, because that is how Kubernetes mounts a secret
 * for a process that is not root. Error texts do not repeat what the file holds.
 */
export async function readSecretFile(path: string): Promise<Uint8Array> {
  await using file = await open(path, "r");
  // The mode of what is open, not of what the path names by then.
  const { mode } = await file.stat();
  if ((mode & FORBIDDEN_MODE) !== 0) {
    const actual = (mode & 0o777).toString(8).padStart(4, "0");
    throw new Error(`${path} has mode ${actual}; it must be 0600, or 0640 at most`);
  }
  const { buffer, bytesRead } = await file.read(Buffer.alloc(MAX_FILE_SIZE), 0, MAX_FILE_SIZE);
  const secret = decode(buffer.toString("latin1", 0, bytesRead));
  if (secret?.length !== SECRET_SIZE) throw new Error(`${path} must hold ${SECRET_SIZE} bytes in base64`);
  return secret;
}

function decode(line: string): Uint8Array | undefined {
  try {
    return fromBase64(line.replace(/\n$/, ""));
  } catch {
    return undefined;
  }
}

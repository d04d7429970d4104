import { randomBytes } from "node:crypto";
import { access, rename, writeFile } from "node:fs/promises";

/** A file of 32 random bytes, base64 on one line, that its owner alone can read. One that exists stays as it is. */
export async function ensureSecret(file: string): Promise<string> {
  const exists = await access(file).then(
    () => true,
    () => false,
  );
  if (!exists) {
    // Under its name it is complete.
    await writeFile(`${file}.new`, `${randomBytes(32).toString("base64")}\n`, { mode: 0o600, flush: true });
    await rename(`${file}.new`, file);
  }
  return file;
}

import { randomBytes } from "node:crypto";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readSecretFile } from "./secret-file.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "psephos-secret-"));
});
afterAll(() => rm(folder, { recursive: true }));

const secret = randomBytes(32);
let files = 0;

async function fileOf(content: string | Uint8Array, mode = 0o600): Promise<string> {
  const path = join(folder, String(files++));
  await writeFile(path, content);
  await chmod(path, mode);
  return path;
}

test.each([
  ["with a newline", `${secret.toString("base64")}\n`, 0o600],
  ["without one", secret.toString("base64"), 0o400],
  ["of a group that may read", `${secret.toString("base64")}\n`, 0o640],
])("a secret %s is read", async (_name, content, mode) => {
  expect(await readSecretFile(await fileOf(content, mode))).toEqual(new Uint8Array(secret));
});

test.each([0o644, 0o602, 0o660, 0o601, 0o666])("a file of mode %o is refused", async (mode) => {
  const path = await fileOf(secret.toString("base64"), mode);
  await expect(readSecretFile(path)).rejects.toThrow("it must be 0600");
});

test.each([
  ["empty", ""],
  ["bare bytes", secret],
  ["31 bytes", secret.subarray(1).toString("base64")],
  ["33 bytes", randomBytes(33).toString("base64")],
  ["two lines", `${secret.toString("base64")}\n\n`],
  ["a large file", "A".repeat(10_000)],
])("%s is refused, and not shown", async (_name, content) => {
  const path = await fileOf(content);
  const error = await readSecretFile(path).catch((error: unknown) => String(error));
  expect(error).toBe(`Error: ${path} must hold 32 bytes in base64`);
});

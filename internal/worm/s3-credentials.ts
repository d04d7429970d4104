import { readFile } from "node:fs/promises";
import { ObjectStoreError } from "./object-store.ts";
import type { S3Credentials } from "./s3-client.ts";

export interface S3CredentialFiles {
  /** No secret: it may stand in a configuration. */
  readonly accessKeyId: string | { readonly file: string };
  readonly secretAccessKeyFile: string;
  readonly sessionTokenFile?: string | undefined;
}

/** The SDK asks again when less than five minutes are left (memoizeIdentityProvider): so, about every minute. */
const LIFETIME_MS = 6 * 60_000;

/** Credentials from files, which are read again from time to time: new ones take effect without a restart. */
export function credentialsFromFiles(files: S3CredentialFiles): () => Promise<S3Credentials> {
  const { accessKeyId: id, secretAccessKeyFile, sessionTokenFile } = files;
  return async () => ({
    accessKeyId: typeof id === "string" ? id : await readLine(id.file),
    secretAccessKey: await readLine(secretAccessKeyFile),
    ...(sessionTokenFile === undefined ? {} : { sessionToken: await readLine(sessionTokenFile) }),
    expiration: new Date(Date.now() + LIFETIME_MS),
  });
}

async function readLine(file: string): Promise<string> {
  try {
    return (await readFile(file, "utf8")).trim();
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "Unreadable";
    throw new ObjectStoreError("credentials", code, `${file} cannot be read: ${code}`, { cause: error });
  }
}

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { ensureSecret } from "./secret-file.ts";

/** Where the services keep things, below the state folder. */
export interface StackFolders {
  readonly evidence: string;
  readonly tiles: string;
  readonly publisherState: string;
  readonly public: string;
  readonly voterSecretFile: string;
  readonly promiseKeyFile: string;
  readonly signingKeyFile: string;
  readonly eventKeyFile: string;
}

/** Makes the folders and secrets that are not there yet. */
export async function stackFolders(folder: string): Promise<StackFolders> {
  const create = async (name: string) => {
    const path = join(folder, name);
    await mkdir(path, { recursive: true, mode: 0o700 });
    return path;
  };
  const secrets = await create("secrets");
  return {
    evidence: await create("evidence"),
    tiles: await create("tiles"),
    publisherState: await create("publisher"),
    public: await create("public"),
    voterSecretFile: await ensureSecret(join(secrets, "voter-secret")),
    promiseKeyFile: await ensureSecret(join(secrets, "promise-key")),
    signingKeyFile: await ensureSecret(join(secrets, "signing-key")),
    eventKeyFile: await ensureSecret(join(secrets, "event-key")),
  };
}

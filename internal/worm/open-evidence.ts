import { readFile } from "node:fs/promises";
import type { BucketConfig, EvidenceConfig } from "../config/evidence.ts";
import { DirectoryStore } from "./directory-store.ts";
import { credentialsFromFiles } from "./s3-credentials.ts";
import { S3Store, type S3StoreOptions } from "./s3-store.ts";

/** The evidence store that a configuration names. Whether it can be reached, the first use shows. */
export async function openEvidenceStore(config: EvidenceConfig): Promise<DirectoryStore | S3Store> {
  if (config.s3) return new S3Store(await bucketOptions(config.s3));
  const { directory, retention_days: days } = config;
  return new DirectoryStore({ directory, retention: { days } });
}

/** The bucket of a configuration, for whoever needs more of it than a store. */
export async function bucketOptions(config: BucketConfig): Promise<S3StoreOptions> {
  const { endpoint, region, bucket, prefix, ca, credentials, path_style: pathStyle, retention } = config;
  return {
    endpoint,
    region,
    bucket,
    prefix,
    pathStyle,
    retention,
    ca: ca === undefined ? undefined : await readFile(ca, "utf8"),
    credentials: credentials && credentialsOf(credentials),
  };
}

function credentialsOf(files: NonNullable<BucketConfig["credentials"]>) {
  const { access_key_id: id, access_key_id_file: file = "" } = files;
  return credentialsFromFiles({
    accessKeyId: id ?? { file },
    secretAccessKeyFile: files.secret_access_key_file,
    sessionTokenFile: files.session_token_file,
  });
}

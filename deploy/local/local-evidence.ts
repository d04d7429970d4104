import { join } from "node:path";
import type { BucketConfig, EvidenceConfig } from "../../internal/config/evidence.ts";
import { setUpBucket } from "../../internal/worm/bucket-setup.ts";
import { bucketOptions } from "../../internal/worm/open-evidence.ts";
import { DEFAULT_RETENTION } from "../../internal/worm/s3-lock.ts";
import type { S3Program } from "./s3-binaries.ts";
import { LocalS3 } from "./s3-server.ts";
import type { LocalServers } from "./servers.ts";

/** Where a stack keeps its evidence: a folder, a server that it starts, or a bucket that is somewhere. */
export type EvidenceStoreChoice =
  | { readonly kind: "directory" }
  | { readonly kind: "server"; readonly server: S3Program }
  | { readonly kind: "bucket"; readonly bucket: BucketConfig };

export interface LocalEvidenceOptions {
  readonly store: EvidenceStoreChoice;
  readonly layout: EvidenceConfig["layout"];
  readonly servers: LocalServers;
  /** The state folder. */
  readonly folder: string;
  /** The folder for evidence, of a store that is one. */
  readonly directory: string;
  readonly progress?: ((message: string) => void) | undefined;
  readonly onUnexpectedExit?: ((error: Error) => void) | undefined;
}

const LOCAL_BUCKET = "psephos-evidence";

/** The evidence store of a stack: its configuration, and the server where the stack has one of its own. */
export class LocalEvidence implements AsyncDisposable {
  readonly config: EvidenceConfig;
  readonly server: LocalS3 | undefined;

  private constructor(config: EvidenceConfig, server?: LocalS3) {
    this.config = config;
    this.server = server;
  }

  /** Starts the server, if there is one, and makes the bucket fit for evidence. */
  static async open(options: LocalEvidenceOptions): Promise<LocalEvidence> {
    const { store, layout, directory } = options;
    if (store.kind === "directory") {
      return new LocalEvidence({ directory, retention_days: DEFAULT_RETENTION.days, layout });
    }
    if (store.kind === "bucket") {
      await initialise(store.bucket, options);
      return new LocalEvidence({ s3: store.bucket, layout });
    }
    await using resources = new AsyncDisposableStack();
    const server = resources.use(await startServer(store.server, options));
    const bucket: BucketConfig = {
      endpoint: server.endpoint,
      region: server.region,
      bucket: LOCAL_BUCKET,
      prefix: "",
      ca: server.caFile,
      credentials: {
        access_key_id: server.accessKeyId,
        secret_access_key_file: server.secretAccessKeyFile,
      },
      retention: DEFAULT_RETENTION, // As anywhere: who deletes the state folder deletes it all the same.
    };
    await initialise(bucket, options);
    resources.move();
    return new LocalEvidence({ s3: bucket, layout }, server);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server?.stop();
  }
}

async function startServer(
  server: S3Program,
  { servers, folder, onUnexpectedExit }: LocalEvidenceOptions,
): Promise<LocalS3> {
  const { ca, ports } = servers;
  const place = { folder: join(folder, server.implementation), port: await ports.port("s3") };
  const local = new LocalS3({ server, ...place, ca, onUnexpectedExit });
  await local.start();
  return local;
}

/** What is lacking that a server cannot have is told; without what is essential nothing starts. */
async function initialise(
  bucket: BucketConfig,
  { progress = () => {} }: LocalEvidenceOptions,
): Promise<void> {
  const { items, ok } = await setUpBucket(await bucketOptions(bucket));
  const lacking = items.filter(({ state }) => state === "lacking" || state === "not supported");
  const lines = lacking.map(({ item, state, detail }) => `  ${item}: ${state}. ${detail}`);
  const text = [`the bucket ${bucket.bucket} lacks what this S3 server does not have or allow:`, ...lines];
  if (!ok) throw new Error(text.join("\n"));
  if (lines.length > 0) progress(text.join("\n"));
}

// Where `psephos start` keeps the evidence: what its options say, or else what the state folder was begun with.
import { randomBytes } from "node:crypto";
import { resolve } from "node:path";
import { type ChosenStore, describeChosenStore, readChosenStore } from "../../deploy/local/chosen-store.ts";
import type { EvidenceStoreChoice } from "../../deploy/local/local-evidence.ts";
import type { GetOptions } from "../../deploy/local/outside-program.ts";
import {
  findS3Server,
  S3_IMPLEMENTATIONS,
  type S3Implementation,
  type S3Program,
} from "../../deploy/local/s3-binaries.ts";
import { evidenceConfig } from "../config/evidence.ts";
import { messageOf } from "../core/errors.ts";
import { UsageError } from "./exit-code.ts";

export interface StoreOptions {
  readonly store?: "directory" | "s3";
  readonly s3Server?: S3Implementation;
  readonly s3Endpoint?: string;
  readonly s3Bucket?: string;
  readonly s3Ca?: string;
  readonly s3Region?: string;
}

type Bucket = Extract<ChosenStore, { store: "bucket" }>;

/** What the options ask for; a server may be left open. */
export type StoreWish =
  | { readonly store: "directory" }
  | { readonly store: "server"; readonly implementation: S3Implementation | undefined }
  | Omit<Bucket, "prefix">;

const DEFAULT_BUCKET = "psephos-evidence";

/**
 * In somebody else's bucket a trial must not stay for ten years: nothing here can delete it, and no --reset. It is locked
 * all the same.
 */
const TRIAL_DAYS = 1;

/** Undefined where the options ask for nothing. Throws a UsageError where they contradict each other. */
export function storeWish(options: StoreOptions): StoreWish | undefined {
  const { store, s3Server, s3Endpoint, s3Bucket, s3Ca, s3Region } = options;
  const ofEndpoint = [s3Bucket, s3Ca, s3Region].some((option) => option !== undefined);
  if (s3Endpoint === undefined && ofEndpoint) {
    throw new UsageError("--s3-bucket, --s3-ca and --s3-region are for an S3 that --s3-endpoint names");
  }
  if (s3Endpoint !== undefined && s3Server !== undefined) {
    throw new UsageError("either --s3-server starts an S3 server, or --s3-endpoint names one that runs");
  }
  if (store === "directory" && (s3Endpoint ?? s3Server) !== undefined) {
    throw new UsageError("--s3-… options are for --store s3");
  }
  if (s3Endpoint !== undefined) {
    return {
      store: "bucket",
      endpoint: s3Endpoint,
      bucket: s3Bucket ?? DEFAULT_BUCKET,
      ca: s3Ca && resolve(s3Ca),
      region: s3Region,
    };
  }
  if (store === "s3" || s3Server) return { store: "server", implementation: s3Server };
  return store && { store };
}

export interface ResolvedStore {
  /** To be remembered with the state folder. */
  readonly chosen: ChosenStore;
  readonly store: EvidenceStoreChoice;
}

/** The store of a state folder, ready to be started. A UsageError where it was begun with another. */
export async function resolveStore(
  home: string,
  wish: StoreWish | undefined,
  options: GetOptions,
): Promise<ResolvedStore> {
  const begun = await readChosenStore(home);
  if (begun && wish && !isSame(begun, wish)) {
    throw new UsageError(
      `${home} was begun with its evidence ${describeChosenStore(begun)}, and it cannot be moved: go on with that, begin ` +
        "anew with --reset, or choose another folder with --home",
    );
  }
  const wanted = begun ?? wish ?? { store: "directory" };
  if (wanted.store === "directory") return { chosen: wanted, store: { kind: "directory" } };
  if (wanted.store === "server") {
    const server = await findServer(wanted.implementation, options);
    return {
      chosen: { store: "server", implementation: server.implementation },
      store: { kind: "server", server },
    };
  }
  // Certificates and region may have changed.
  const { ca, region } = { ...wanted, ...(wish?.store === "bucket" ? definedOf(wish) : {}) };
  const prefix = begun?.store === "bucket" ? begun.prefix : `start-${randomBytes(4).toString("hex")}`;
  const chosen: Bucket = { ...wanted, ca, region, prefix };
  return { chosen, store: { kind: "bucket", bucket: bucketConfig(chosen) } };
}

function isSame(begun: ChosenStore, wish: StoreWish): boolean {
  if (begun.store === "server" && wish.store === "server") {
    return wish.implementation === undefined || wish.implementation === begun.implementation;
  }
  if (begun.store === "bucket" && wish.store === "bucket") {
    return begun.endpoint === wish.endpoint && begun.bucket === wish.bucket;
  }
  return begun.store === wish.store;
}

function definedOf({ ca, region }: Partial<Bucket>): Partial<Bucket> {
  return { ...(ca === undefined ? {} : { ca }), ...(region === undefined ? {} : { region }) };
}

/** The one that is named, or else the first that can be had. */
async function findServer(
  implementation: S3Implementation | undefined,
  options: GetOptions,
): Promise<S3Program> {
  const reasons = [];
  for (const candidate of implementation ? [implementation] : S3_IMPLEMENTATIONS) {
    try {
      return await findS3Server(candidate, options);
    } catch (error) {
      options.signal?.throwIfAborted();
      reasons.push(messageOf(error));
    }
  }
  throw new Error(reasons.join("\n\n"));
}

/** Credentials are those of the AWS environment: the services inherit it. */
function bucketConfig({ endpoint, bucket, prefix, ca, region }: Bucket) {
  const place = { endpoint, bucket, prefix, ...definedOf({ ca, region }) };
  const retention = { days: TRIAL_DAYS };
  const { data } = evidenceConfig.safeParse({ s3: { ...place, retention } });
  if (!data?.s3) throw new UsageError(`${JSON.stringify(bucket)} cannot be the name of a bucket`);
  return data.s3;
}

// Which evidence store a command means: the profile's, or the one that --evidence names.
import { stat } from "node:fs/promises";
import { type Command, InvalidArgumentError } from "commander";
import { type BucketConfig, type EvidenceConfig, evidenceConfig } from "../config/evidence.ts";
import { bucketOptions, openEvidenceStore } from "../worm/open-evidence.ts";
import { parseUrl } from "./arguments.ts";
import { UnreachableError, UsageError } from "./exit-code.ts";
import type { Profile } from "./profile.ts";

export interface EvidenceOptions {
  /** A folder, or `s3://bucket/prefix`. */
  readonly evidence?: string;
  readonly s3Endpoint?: string;
  readonly s3Ca?: string;
  readonly s3Region?: string;
}

/** Whether the options name a place, or change how the profile's is reached. */
export function namesPlace({ evidence, s3Endpoint, s3Ca, s3Region }: EvidenceOptions): boolean {
  return [evidence, s3Endpoint, s3Ca, s3Region].some((option) => option !== undefined);
}

/** Adds the options that name an evidence store. */
export function addEvidenceOptions(command: Command, description = "the evidence store"): Command {
  return addS3Options(
    command.option("--evidence <place>", `${description}: a folder, or s3://bucket/prefix`, parsePlace),
  );
}

/** Adds the options that say where S3 is. */
export function addS3Options(command: Command): Command {
  return command
    .option("--s3-endpoint <url>", "where S3 is, unless it is AWS's own or the profile's", parseUrl)
    .option("--s3-ca <file>", "certificates to trust for it, instead of the usual ones")
    .option("--s3-region <region>", "its region; us-east-1 where nothing says another");
}

/**
 * The place that the options name, or else the profile's; undefined when neither names one. A bucket is reached as the
 * profile says, if the profile has one and `--s3-endpoint` names no other; otherwise as AWS's own tools reach it, by what
 * is in the environment.
 */
export function evidencePlace(
  options: EvidenceOptions,
  profile: Pick<Profile, "evidence"> | undefined,
): EvidenceConfig | undefined {
  const { evidence = "", s3Endpoint, s3Ca, s3Region } = options;
  const known = profile?.evidence;
  const s3Options = [s3Endpoint, s3Ca, s3Region].some((option) => option !== undefined);
  if (evidence !== "" && !isBucket(evidence)) {
    if (s3Options)
      throw new UsageError("--s3-… options are for a bucket: name one with --evidence s3://bucket");
    return evidenceConfig.parse({ directory: evidence });
  }
  if (evidence === "") {
    if (!s3Options) return known;
    if (!known?.s3) throw new UsageError("name the bucket with --evidence s3://bucket");
  }
  const named = evidence === "" ? undefined : bucketOf(evidence);
  const sameServer = s3Endpoint === undefined || s3Endpoint === known?.s3?.endpoint;
  const base: Partial<BucketConfig> = (sameServer && known?.s3) || fromEnvironment(process.env);
  const given = { endpoint: s3Endpoint, ca: s3Ca, region: s3Region, ...(named ?? bucketNames(known?.s3)) };
  const present = Object.entries(given).filter(([, value]) => value !== undefined);
  const { success, data, error } = evidenceConfig.safeParse({
    s3: { ...base, ...Object.fromEntries(present) },
  });
  if (success) return data;
  const problems = error.issues.map(({ path, message }) => `${path.join(".")} ${message}`);
  throw new UsageError(`there can be no such bucket: ${problems.join("; ")}`);
}

/** Opens it. A folder that is not there is refused: reading it would only find nothing. */
export async function openEvidence(place: EvidenceConfig) {
  if (!place.s3) {
    const found = await stat(place.directory).catch(() => undefined);
    if (!found?.isDirectory()) throw new UnreachableError(`there is no evidence store in ${place.directory}`);
  }
  return openEvidenceStore(place).catch(refuse);
}

/** What a client of the bucket needs. */
export function bucketClient(bucket: BucketConfig) {
  return bucketOptions(bucket).catch(refuse);
}

function refuse(error: unknown): never {
  if (!(error instanceof Error && "syscall" in error)) throw error;
  throw new UsageError(`the certificates for S3 cannot be read: ${error.message}`, { cause: error });
}

/** A place as people write it. */
export function describePlace(place: EvidenceConfig): string {
  if (!place.s3) return place.directory;
  const { bucket, prefix } = place.s3;
  return `s3://${bucket}${prefix === "" ? "" : `/${prefix}`}`;
}

/** What AWS's own tools take from the environment. The SDK's chain finds the credentials there by itself. */
function fromEnvironment(env: NodeJS.ProcessEnv): Partial<BucketConfig> {
  const endpoint = env.AWS_ENDPOINT_URL_S3 || env.AWS_ENDPOINT_URL;
  const region = env.AWS_REGION || env.AWS_DEFAULT_REGION;
  const ca = env.AWS_CA_BUNDLE;
  return { ...(endpoint ? { endpoint } : {}), ...(region ? { region } : {}), ...(ca ? { ca } : {}) };
}

function bucketNames(known: BucketConfig | undefined) {
  return { bucket: known?.bucket, prefix: known?.prefix };
}

function parsePlace(text: string): string {
  if (text === "") throw new InvalidArgumentError("name a folder, or s3://bucket/prefix.");
  if (isBucket(text)) {
    if (bucketOf(text).bucket === "") throw new InvalidArgumentError("write it like s3://bucket/prefix.");
  } else if (/^[a-z0-9]+:\/\//.test(text)) {
    throw new InvalidArgumentError("write it like s3://bucket/prefix, or name a folder.");
  }
  return text;
}

function isBucket(place: string): boolean {
  return place.startsWith("s3://");
}

function bucketOf(place: string): { readonly bucket: string; readonly prefix: string } {
  const [, bucket = "", prefix = ""] = /^s3:\/\/([^/]*)\/?(.*)$/.exec(place) ?? [];
  return { bucket, prefix };
}

import { z } from "zod";
import { file } from "./fields.ts";
import { wormProbeConfig } from "./worm-probe.ts";

const DAYS = z.int().min(1).max(36_500);
/** Ten years, leap days included. */
const TEN_YEARS = 3_653;

const credentials = z
  .strictObject({
    /** No secret, so it may stand here; or in a file, where one tool writes both. */
    access_key_id: z.string().min(1).optional(),
    access_key_id_file: file.optional(),
    secret_access_key_file: file,
    /** Of temporary credentials. */
    session_token_file: file.optional(),
  })
  .refine(exactlyOne("access_key_id", "access_key_id_file"), {
    error: "must have either access_key_id or access_key_id_file",
    when: isObject,
  });

const bucket = z.strictObject({
  /** Where S3 is; AWS's own address for the region unless given. */
  endpoint: z
    .url({ protocol: /^https?$/, error: "must be http://host:port or https://host:port" })
    .optional(),
  region: z.string().min(1).default("us-east-1"),
  /** It must have Object Lock: `psephos worm init` makes one. */
  bucket: z.string().regex(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/, "must be the name of a bucket"),
  /** Before every key, with a slash between. */
  prefix: z
    .string()
    .regex(
      /^([a-z0-9_-][a-z0-9_.-]*(\/[a-z0-9_-][a-z0-9_.-]*)*\/?)?$/,
      'must be names of a-z, 0-9, "_", "-" and ".", with "/" between',
    )
    .max(400)
    .default(""),
  /** Certificates to trust for the endpoint instead of the usual ones. */
  ca: file.optional(),
  /** Without them the AWS default chain: environment, profile, container, instance. */
  credentials: credentials.optional(),
  /** `https://host/bucket/key` rather than `https://bucket.host/key`. The former where there is an endpoint. */
  path_style: z.boolean().optional(),
  retention: z
    .strictObject({
      mode: z.enum(["COMPLIANCE", "GOVERNANCE"]).default("COMPLIANCE"),
      days: DAYS.default(TEN_YEARS),
    })
    .prefault({}),
  probe: wormProbeConfig.optional(),
});

/**
 * Where evidence is kept: a directory or a bucket. One object of both kinds' keys and not a union of two, because of a
 * union that fits neither way zod says only that.
 */
export const evidenceConfig = z
  .strictObject({
    directory: file.optional(),
    /** Of the directory: until when deletion would break a promise. It cannot lock. */
    retention_days: DAYS.optional(),
    s3: bucket.optional(),
    /** Whether votes are lines of their segment, or each an object of its own. */
    layout: z.enum(["segments", "object-per-vote"]).default("segments"),
  })
  .refine(exactlyOne("directory", "s3"), { error: "must have either directory or s3", when: isObject })
  .refine(({ s3, retention_days: days }) => s3 === undefined || days === undefined, {
    error: "is of a directory; a bucket's is s3.retention",
    path: ["retention_days"],
    when: isObject,
  })
  .transform(({ directory, retention_days = TEN_YEARS, s3, layout }): EvidenceConfig => {
    if (s3) return { s3, layout };
    return { directory: directory ?? "", retention_days, layout };
  });

export type BucketConfig = z.output<typeof bucket>;
export type EvidenceConfig = DirectoryEvidenceConfig | BucketEvidenceConfig;

export interface DirectoryEvidenceConfig {
  readonly directory: string;
  readonly retention_days: number;
  readonly s3?: undefined;
  readonly layout: "segments" | "object-per-vote";
}

export interface BucketEvidenceConfig {
  readonly s3: BucketConfig;
  readonly layout: "segments" | "object-per-vote";
}

function exactlyOne<Key extends string>(...keys: readonly [Key, Key]) {
  return (value: Partial<Record<Key, unknown>>) =>
    (value[keys[0]] === undefined) !== (value[keys[1]] === undefined);
}

/** So that these are checked also where others have failed: all mistakes are listed together. */
function isObject({ value }: { readonly value: unknown }): boolean {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

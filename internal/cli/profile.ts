import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { evidenceConfig } from "../config/evidence.ts";
import { trustDomain } from "../config/fields.ts";
import { messageOf } from "../core/errors.ts";
import { isElectionId } from "../core/ids.ts";
import { UsageError } from "./exit-code.ts";

const identity = z.strictObject({ ca: z.string(), cert: z.string(), key: z.string() });

/** Where a deployment is and who we are there: one file, so that commands need no options. */
export const profileSchema = z.strictObject({
  trust_domain: trustDomain,
  /** VoteService's gRPC edge, host:port. */
  edge: z.string().min(1),
  /** VoteService's HTTPS edge. */
  rest: z.string().optional(),
  shard_router: z.string().min(1).optional(),
  audit: z.string().min(1).optional(),
  publisher: z.string().min(1).optional(),
  /** NATS, tls://host:port. */
  nats: z.string().min(1).optional(),
  /** The public endpoint, http://host:port. */
  public: z.url({ protocol: /^https?$/ }),
  /** The evidence store: a bucket or a directory, which may be named as a string alone. */
  evidence: z
    .preprocess((value) => (typeof value === "string" ? { directory: value } : value), evidenceConfig)
    .optional(),
  identities: z.strictObject({
    operator: identity.optional(),
    client: identity.optional(),
    auditor: identity.optional(),
  }),
  /** The election that commands mean when none is named. */
  election: z.string().refine(isElectionId, "must be an election id").optional(),
});

export type Profile = z.infer<typeof profileSchema>;
export type Role = keyof Profile["identities"];

export const DEFAULT_HOME = ".psephos";

/** Where a local deployment keeps everything. */
export function homeFolder(): string {
  return process.env.PSEPHOS_HOME ?? DEFAULT_HOME;
}

export function defaultProfilePath(): string {
  return process.env.PSEPHOS_PROFILE ?? join(homeFolder(), "profile.json");
}

/** The profile in a file; undefined when there is no such file. Throws a UsageError that says what is wrong with it. */
export async function loadProfile(path: string): Promise<Profile | undefined> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw new UsageError(`the profile ${path} cannot be read: ${messageOf(error)}`);
  }
  try {
    return profileSchema.parse(JSON.parse(text));
  } catch (error) {
    throw new UsageError(`the profile ${path} cannot be used: ${problemsOf(error)}`);
  }
}

function problemsOf(error: unknown): string {
  if (!(error instanceof z.ZodError)) return messageOf(error);
  return error.issues.map(({ path, message }) => `${path.join(".") || "(the file)"}: ${message}`).join("; ");
}

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
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
  /** The public endpoint, http://host:port. */
  public: z.string().min(1),
  /** The evidence store's folder. */
  evidence: z.string().optional(),
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

/** Where a local deployment keeps everything. */
export function homeFolder(): string {
  return process.env.PSEPHOS_HOME ?? ".psephos";
}

export function defaultProfilePath(): string {
  return process.env.PSEPHOS_PROFILE ?? join(homeFolder(), "profile.json");
}

/** Throws a UsageError that says what to do. */
export async function loadProfile(path: string): Promise<Profile> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    throw new UsageError(
      `there is no profile at ${path}: start a local deployment with "npm start", or name one with --profile ` +
        `(${messageOf(error)})`,
    );
  }
  try {
    return profileSchema.parse(JSON.parse(text));
  } catch (error) {
    const problems =
      error instanceof z.ZodError
        ? error.issues
            .map(({ path: at, message }) => `${at.join(".") || "(the file)"}: ${message}`)
            .join("; ")
        : messageOf(error);
    throw new UsageError(`the profile ${path} cannot be used: ${problems}`);
  }
}

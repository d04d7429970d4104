// What the JSON of a manifest must look like, and every way in which it does not. docs/spec.md, "Manifest".
import { z } from "zod";
import { concat, fromBase64, toHex, utf8 } from "../core/bytes.ts";
import { type FieldViolation, ServiceError } from "../core/errors.ts";
import { isElectionId, MAX_SHARDS } from "../core/ids.ts";
import { sha256 } from "../core/sha256.ts";

export const MANIFEST_FORMAT = "psephos/manifest/v1";

// A choice is sealed as a u16.
const MAX_CHOICES = 0xffff;
const MAX_TEXT_BYTES = 256;
const X25519_KEY_SIZE = 32;
/** 30 days. A promise that is due later than that comforts nobody. */
export const MAX_PROMISE_DELAY_SECONDS = 2_592_000;
/** A list of ten mistakes helps; one for each of ten thousand choices does not fit an error message. */
const MAX_PROBLEMS = 50;

const text = z.string().superRefine((value, context) => {
  const refuse = (message: string) => context.addIssue({ code: "custom", message });
  if (!value.isWellFormed()) return refuse("has a lone surrogate, which has no UTF-8 form");
  const length = utf8(value).length;
  if (length < 1 || length > MAX_TEXT_BYTES) refuse(`must be 1 to ${MAX_TEXT_BYTES} bytes of UTF-8`);
  // Names are printed at operators' terminals, where control characters are commands.
  if (/\p{Cc}/u.test(value)) refuse("must not contain control characters");
});

const micros = z.int().nonnegative();

const choices = z
  .array(z.strictObject({ id: text, name: text }))
  .min(1, "must have at least one choice")
  .max(MAX_CHOICES, `must have at most ${MAX_CHOICES} choices`)
  .superRefine((list, context) => {
    const seen = new Set<string>();
    list.forEach(({ id }, index) => {
      if (seen.has(id)) {
        context.addIssue({ code: "custom", path: [index, "id"], message: "is the id of an earlier choice" });
      }
      seen.add(id);
    });
  });

const tallyKey = z
  .string()
  .refine((key) => decodeBase64(key)?.length === X25519_KEY_SIZE, "must be 32 bytes in base64");

// 255 is how many distinct non-zero points a polynomial over GF(2^8) has.
const trustees = z
  .strictObject({ shares: z.int().min(2).max(255), threshold: z.int().min(2).max(255) })
  .refine(({ shares, threshold }) => threshold <= shares, {
    path: ["threshold"],
    message: "must be at most the number of shares",
  });

/** A verifier key, C2SP signed-note: `<name>+<first 4 bytes of SHA-256(name ‖ 0x0A ‖ key)>+<key>`. */
const verifierKey = z.string().superRefine((value, context) => {
  const refuse = (message: string) => context.addIssue({ code: "custom", message });
  const [, name, keyId, encoded] = /^([^\s+]+)\+([0-9a-f]{8})\+(\S+)$/u.exec(value) ?? [];
  const key = encoded && decodeBase64(encoded);
  // 0x01 is Ed25519, which a log's own signature must be, and a promise's is.
  if (!name || !key || key.length !== 33 || key[0] !== 0x01) {
    return refuse("must be an Ed25519 verifier key <name>+<key id>+<base64>");
  }
  const hash = sha256(concat(utf8(`${name}\n`), key));
  if (toHex(hash.subarray(0, 4)) !== keyId) refuse("has a key id that is not its key's");
});

const electionIdText = z.string().refine(isElectionId, "must be 1 to 63 of a-z, 0-9 and inner hyphens");

// What the rules between fields below need to be right, whatever else is wrong.
const times = z.looseObject({ opens_at: micros, closes_at: micros });
const names = z.looseObject({ election_id: electionIdText, log_key: verifierKey });
const keys = z.looseObject({ log_key: verifierKey, promise_key: verifierKey });

const manifestJson = z
  .strictObject({
    format: z.literal(MANIFEST_FORMAT),
    election_id: electionIdText,
    title: text,
    choices,
    shards: z.int().min(1).max(MAX_SHARDS),
    revoting: z.enum(["forbidden", "last-counts"]),
    opens_at: micros,
    closes_at: micros.nullable(),
    tally_key: tallyKey,
    trustees,
    log_key: verifierKey,
    promise_key: verifierKey.optional(),
    promise_delay: z.int().min(1).max(MAX_PROMISE_DELAY_SECONDS).optional(),
  })
  // `when`: zod leaves these out where any field is wrong, and all problems are to be listed at once.
  .refine(({ opens_at, closes_at }) => closes_at === null || closes_at > opens_at, {
    path: ["closes_at"],
    message: "must be later than opens_at",
    when: ({ value }) => times.safeParse(value).success,
  })
  .refine(({ election_id, log_key }) => nameOfKey(log_key).endsWith(`/${election_id}`), {
    path: ["log_key"],
    message: "must have an origin that ends in a slash and the election id",
    when: ({ value }) => names.safeParse(value).success,
  })
  .refine(({ promise_key, promise_delay }) => (promise_key === undefined) === (promise_delay === undefined), {
    path: ["promise_delay"],
    message: "goes with promise_key: a manifest has both or neither",
    when: ({ value }) => typeof value === "object" && value !== null,
  })
  .refine(({ log_key, promise_key = "" }) => nameOfKey(promise_key) === promiseKeyName(nameOfKey(log_key)), {
    path: ["promise_key"],
    message: 'must have the name of the log key, followed by "/promise"',
    when: ({ value }) => keys.safeParse(value).success,
  })
  // A promise is made by another service than signs the log, and neither may be able to do the other's work.
  .refine(({ log_key, promise_key = "" }) => publicKeyOf(promise_key) !== publicKeyOf(log_key), {
    path: ["promise_key"],
    message: "must not be the log's key",
    when: ({ value }) => keys.safeParse(value).success,
  });

export type ManifestJson = z.infer<typeof manifestJson>;

/** `value` as the JSON of a manifest, or a ServiceError that lists everything wrong with it. */
export function checkManifestJson(value: unknown): ManifestJson {
  const parsed = manifestJson.safeParse(value);
  if (parsed.success) return parsed.data;
  throw manifestRefusal(
    parsed.error.issues.flatMap((issue) =>
      issue.code === "unrecognized_keys"
        ? issue.keys.map((key) => manifestProblem([...issue.path, key], "is not a key of a manifest"))
        : [manifestProblem(issue.path, issue.message)],
    ),
  );
}

/** One thing wrong with a manifest, at a path within it. */
export function manifestProblem(path: readonly PropertyKey[], description: string): FieldViolation {
  let field = "manifest";
  for (const part of path) {
    const plain = typeof part === "string" && /^\w{1,64}$/.test(part);
    // Quoted and cut: an unknown key is the sender's text, and this message ends at a terminal.
    field += plain ? `.${part}` : `[${JSON.stringify(part).slice(0, 64)}]`;
  }
  return { field, description };
}

export function manifestRefusal(problems: readonly FieldViolation[], cause?: unknown): ServiceError {
  const fields = problems.slice(0, MAX_PROBLEMS);
  const more = problems.length > fields.length ? `; and ${problems.length - fields.length} more` : "";
  const list = fields.map(({ field, description }) => `${field}: ${description}`).join("; ");
  return new ServiceError("invalid-argument", list + more, { reason: "INVALID_MANIFEST", fields, cause });
}

/** The name in a verifier key: everything before its first plus sign, which no name contains. */
export function nameOfKey(key: string): string {
  return key.slice(0, key.indexOf("+"));
}

/** The name of the key that promises an election's votes, by the origin of its log. */
export function promiseKeyName(origin: string): string {
  return `${origin}/promise`;
}

/** Base64 of the algorithm byte and the public key: everything after the second plus sign. */
function publicKeyOf(key: string): string {
  return key.slice(key.indexOf("+", key.indexOf("+") + 1));
}

function decodeBase64(value: string): Uint8Array | undefined {
  try {
    return fromBase64(value);
  } catch {
    return undefined;
  }
}

import { z } from "zod";
import { address, commonFields, file, tlsFiles, trustDomain } from "../config/fields.ts";
import { addressSet } from "../http/client-address.ts";
import { ALGORITHM_ED25519, NoteVerifier } from "../tlog/note-verifier.ts";

/** What of an origin comes before the election: like a URL without its scheme, as tlog-checkpoint recommends. */
const logPrefix = z
  .string()
  .regex(
    /^[a-z0-9][a-z0-9.-]*(?:\/[a-z0-9._-]+)*$/,
    "must be like a URL without its scheme, such as log.example.org/votes",
  )
  // An origin is at most 255 bytes, and the election id with its slash takes up to 64 of them.
  .max(191, "must be at most 191 characters");

const verifierKey = z.string().refine(
  (key) => {
    try {
      return NoteVerifier.parse(key).algorithm === ALGORITHM_ED25519;
    } catch {
      return false;
    }
  },
  { message: "must be a verifier key: <name>+<key id>+<base64>" },
);

const network = z.string().refine(
  (text) => {
    try {
      addressSet([text]);
      return true;
    } catch {
      return false;
    }
  },
  { message: "must be an address or a network, such as 10.0.0.0/8" },
);

/** What one reader can take from the others. */
const publicLimits = z.strictObject({
  requests_per_second: z.number().positive().max(1e6).default(200),
  /** Requests that a client who was quiet may send at once. */
  burst: z.int().min(1).max(1e6).default(4_000),
  /** All open connections, and those of one client. */
  connections: z.int().min(1).max(100_000).default(2_048),
  connections_per_client: z.int().min(1).max(100_000).default(64),
  /** Streams of checkpoints (`Watch`), likewise. */
  watchers: z.int().min(0).max(100_000).default(1_000),
  watchers_per_client: z.int().min(0).max(100_000).default(8),
  /** Whose `X-Forwarded-For` is believed. */
  trusted_proxies: z.array(network).max(1_000).default([]),
  /** Clients without limits of their own: the machine itself. */
  exempt: z.array(network).max(1_000).default(["127.0.0.0/8", "::1/128"]),
});

export const publisherConfig = z.strictObject({
  ...commonFields,
  /** gRPC, mutual TLS: where AuditService submits heads. */
  listen: address,
  /** HTTP for everybody: checkpoints, tiles, entries, manifests. */
  public_listen: address,
  public_limits: publicLimits.prefault({}),
  tls: tlsFiles,
  trust_domain: trustDomain,
  log_prefix: logPrefix,
  /** The Ed25519 seed in base64, mode 0600. */
  key_file: file,
  /** Another, which is to follow it: docs/operations.md, "A new log key". */
  next_key_file: file.optional(),
  /** The signer's memory, on a disk of its own if possible. Never shared, never restored from a backup. */
  state_directory: file,
  /** What is public. It can be mirrored by any static file server. */
  public_directory: file,
  /** The page for people, built (`npm run page`): it is put into the public directory and served at `/`. */
  page_directory: file.optional(),
  /** What the log's description promises: a vote is in a published checkpoint after so many seconds, at the latest. */
  maximum_delay_s: z.int().min(1).max(86_400).default(60),
  /** The verifier key of AuditService's events, for the log's description. */
  event_key: verifierKey.optional(),
  /** Where AuditService writes tiles. It is only read. */
  tiles: z.strictObject({ directory: file }),
  /** Who cosigns checkpoints before they are shown. */
  witnesses: z
    .strictObject({
      /** c2sp.org/tlog-policy: its witnesses with a URL are asked. */
      policy_file: file,
      /** How long a checkpoint waits for a quorum before it is shown without. */
      timeout_ms: z.int().min(10).max(60_000).default(2_000),
      /** Never show a checkpoint without a quorum. */
      required: z.boolean().default(false),
    })
    .optional(),
});
export type PublisherConfig = z.infer<typeof publisherConfig>;

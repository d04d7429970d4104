import { z } from "zod";
import { address, commonFields, file, tlsFiles, trustDomain } from "../config/fields.ts";

const count = (max: number) => z.int().min(1).max(max);
const milliseconds = (max: number) => z.int().min(1).max(max);

/** What keeps this process within its memory, and its callers within their deadlines. The defaults fit two cores. */
const limits = z
  .strictObject({
    /** Votes taken and not yet answered, over all elections and callers. More are refused. */
    pending_votes: count(1_000_000).default(20_000),
    /** Votes of one stream between being read and answered. */
    stream_votes: count(100_000).default(1_000),
    /** Votes in one call to ShardRouter, which takes 1,000. */
    batch_votes: count(1_000).default(1_000),
    /** Calls to ShardRouter in flight for one election. */
    calls_in_flight: count(64).default(4),
    /** While a call is in flight, how long the next waits for more votes. */
    linger_ms: milliseconds(100).default(2),
    /** How long one call to ShardRouter may take. */
    call_timeout_ms: milliseconds(60_000).default(5_000),
    /** Calls made for one vote before its caller hears that its shard cannot be reached. */
    attempts: count(10).default(4),
    /** Before the second attempt; three times as long before each further one. */
    retry_delay_ms: milliseconds(10_000).default(100),
    /** How long a vote may take whose caller gave no earlier deadline. */
    vote_timeout_ms: milliseconds(60_000).default(10_000),
    /** Open connections at the HTTP edge. */
    http_connections: count(100_000).default(1_000),
  })
  .prefault({});

export const voteServiceConfig = z.strictObject({
  ...commonFields,
  /** gRPC, mutual TLS: where clients cast votes and operators run elections. */
  listen: address,
  /** HTTPS, mutual TLS: the same by REST and the Connect protocol. */
  http_listen: address,
  tls: tlsFiles,
  trust_domain: trustDomain,
  /** A name with several addresses stands for replicas, which take calls in turn. */
  shard_router: address,
  /** 32 bytes in base64, mode 0600: what pseudonyms are derived from. Never changed while an election is open. */
  voter_secret_file: file,
  /** 32 bytes in base64, mode 0600: the Ed25519 seed that votes are promised with. Without it there are no promises. */
  promise_key_file: file.optional(),
  limits,
});
export type VoteServiceConfig = z.infer<typeof voteServiceConfig>;

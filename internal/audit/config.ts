import { z } from "zod";
import { evidenceConfig } from "../config/evidence.ts";
import { address, commonFields, file, tlsFiles, trustDomain } from "../config/fields.ts";

export const auditServiceConfig = z.strictObject({
  ...commonFields,
  /** gRPC, mutual TLS. */
  listen: address,
  tls: tlsFiles,
  trust_domain: trustDomain,
  /** The database with the log heads: the control instance. */
  postgres: z.strictObject({
    name: z.string().min(1).default("control"),
    host: z.string().min(1),
    port: z.int().min(1).max(0xffff),
    database: z.string().min(1).default("psephos"),
    /** The client certificate of the role psephos_audit. */
    tls: tlsFiles,
  }),
  /** A name with several addresses stands for replicas, which take calls in turn. */
  shard_router: address,
  publisher: address,
  nats: z.strictObject({
    servers: z.array(z.string().regex(/^tls:\/\/[^/]+:\d+$/, "must be tls://host:port")).min(1),
    tls: tlsFiles,
    /** Of the streams: 1 on a laptop, 3 in production. */
    replicas: z.int().min(1).max(5).default(1),
  }),
  evidence: evidenceConfig,
  /** Written here, read by the Publisher. */
  tiles: z.strictObject({ directory: file }),
  /** 32 bytes in base64, mode 0600: the Ed25519 seed that signs events. Without it none are put into the logs. */
  event_key: file.optional(),
  /** Sealed records are compared with the databases all the time, at this rate; 0 is not at all. */
  reconcile: z
    .strictObject({
      records_per_second: z.int().min(0).max(100_000).default(1_000),
      /** Between two rounds through the whole log. */
      pause_ms: z.int().min(100).max(86_400_000).default(60_000),
    })
    .prefault({}),
  limits: z
    .strictObject({
      head_interval_ms: z.int().min(10).max(60_000).default(500),
      poll_interval_ms: z.int().min(10).max(60_000).default(1_000),
      buffer_records: z.int().min(10_000).max(1_000_000).default(50_000),
    })
    .prefault({}),
});
export type AuditServiceConfig = z.infer<typeof auditServiceConfig>;

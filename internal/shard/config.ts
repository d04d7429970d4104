// ShardRouter's configuration file.
import { z } from "zod";
import { address, commonFields, tlsFiles, trustDomain } from "../config/fields.ts";
import { MAX_SHARDS } from "../core/ids.ts";
import { parseShardRange } from "./placement.ts";

/** A batch has up to 1,000 votes (shard.proto), so less than that would refuse every full one. */
const BATCH_VOTES = 1_000;

const instance = z.strictObject({
  /** Stored with each election that has shards here: it stays with the data, wherever the server moves. */
  name: z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}$/, "must be 1 to 63 of a-z, 0-9 and hyphens"),
  host: z.string().min(1),
  port: z.int().min(1).max(0xffff),
  database: z.string().min(1).default("psephos"),
  /** The client certificate of the role psephos_router. */
  tls: tlsFiles,
  /** That of psephos_owner, to apply migrations with. Without it they must have been applied. */
  migrate_tls: tlsFiles.optional(),
});

const placement = z
  .strictObject({
    /** The first is the control instance, which also has the list of elections. */
    instances: z.array(instance).min(1).max(MAX_SHARDS),
    /** For elections still to be created, such as `{"0-7": "pg0", "8-15": "pg1"}`. Spread evenly unless given. */
    shards: z.record(z.string(), z.string()).optional(),
  })
  .superRefine(({ instances, shards }, context) => {
    const names = new Set<string>();
    instances.forEach(({ name }, index) => {
      if (names.has(name)) {
        const path = ["instances", index, "name"];
        context.addIssue({ code: "custom", path, message: "is the name of an earlier instance" });
      }
      names.add(name);
    });
    const taken = new Set<number>();
    for (const [text, name] of Object.entries(shards ?? {})) {
      const refuse = (message: string) =>
        context.addIssue({ code: "custom", path: ["shards", text], message });
      if (!names.has(name)) refuse(`names the instance ${name}, which is not there`);
      const [first, last] = parseShardRange(text) ?? [0, -1];
      if (last < first || last >= MAX_SHARDS) refuse(`must be a shard or a range, up to ${MAX_SHARDS - 1}`);
      for (let shard = first; shard <= Math.min(last, MAX_SHARDS); shard++) {
        if (taken.has(shard)) refuse(`has shard ${shard} a second time`);
        taken.add(shard);
      }
    }
  });

const limits = z.strictObject({
  /** Votes in one transaction. */
  group_votes: z.int().min(1).max(10_000).default(1_000),
  /** Votes of one instance waiting for a transaction; more are refused as OVERLOADED. */
  waiting_votes: z.int().min(BATCH_VOTES).max(1_000_000).default(10_000),
  /** Records of one instance waiting in memory for the audit stream; more are read again later. */
  queued_records: z.int().min(0).max(10_000_000).default(50_000),
  /** Connections to one instance, beside the one that appends. */
  connections: z.int().min(1).max(1_000).default(8),
});

export const shardRouterConfig = z.strictObject({
  ...commonFields,
  listen: address,
  /** This service's identity in the mesh. */
  tls: tlsFiles,
  trust_domain: trustDomain,
  placement,
  nats: z.strictObject({
    servers: z.array(z.string().regex(/^tls:\/\/[^/]+:\d+$/, "must be tls://host:port")).min(1),
    tls: tlsFiles,
    /** Of the streams: 1 on a laptop, 3 in production. */
    replicas: z.int().min(1).max(5).default(1),
  }),
  limits: limits.prefault({}),
});

export type ShardRouterConfig = z.infer<typeof shardRouterConfig>;
export type InstanceConfig = z.infer<typeof instance>;

import { expect, test } from "vitest";
import { voteServiceConfig } from "./config.ts";

const GOOD = {
  listen: "127.0.0.1:7001",
  http_listen: "[::1]:7002",
  metrics_listen: "127.0.0.1:7003",
  tls: { ca: "ca.crt", cert: "vote.crt", key: "vote.key" },
  trust_domain: "psephos.local",
  shard_router: "shard-router:7010",
  voter_secret_file: "voter.secret",
};

test("the least there can be in a file gets the defaults", () => {
  expect(voteServiceConfig.parse(GOOD)).toEqual({
    ...GOOD,
    listen: { host: "127.0.0.1", port: 7001 },
    http_listen: { host: "::1", port: 7002 },
    metrics_listen: { host: "127.0.0.1", port: 7003 },
    shard_router: { host: "shard-router", port: 7010 },
    log_level: "info",
    limits: {
      pending_votes: 20_000,
      stream_votes: 1_000,
      batch_votes: 1_000,
      calls_in_flight: 4,
      linger_ms: 2,
      call_timeout_ms: 5_000,
      attempts: 4,
      retry_delay_ms: 100,
      vote_timeout_ms: 10_000,
      http_connections: 1_000,
    },
  });
});

test.each([
  ["an unknown key", { ...GOOD, surprise: 1 }],
  ["an unknown limit", { ...GOOD, limits: { votes: 1 } }],
  ["a batch that ShardRouter refuses", { ...GOOD, limits: { batch_votes: 1_001 } }],
  ["no limit", { ...GOOD, limits: { pending_votes: null } }],
  ["a limit of zero", { ...GOOD, limits: { attempts: 0 } }],
  ["an address without a port", { ...GOOD, listen: "127.0.0.1" }],
  ["a secret in the file", { ...GOOD, voter_secret: "c2VjcmV0" }],
  ["no voter secret", { ...GOOD, voter_secret_file: undefined }],
])("%s is a mistake", (_name, config) => {
  expect(voteServiceConfig.safeParse(config).success).toBe(false);
});

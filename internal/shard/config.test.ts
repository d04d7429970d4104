import { expect, test } from "vitest";
import { type ShardRouterConfig, shardRouterConfig } from "./config.ts";
import { placeShards } from "./placement.ts";

const tls = { ca: "ca.crt", cert: "x.crt", key: "x.key" };
const instance = (name: string) => ({ name, host: "localhost", port: 5432, tls });
const config = (placement: object, overrides: object = {}) => ({
  listen: "127.0.0.1:7000",
  metrics_listen: "[::1]:7001",
  tls,
  trust_domain: "psephos.local",
  placement: { instances: [instance("pg0"), instance("pg1")], ...placement },
  nats: { servers: ["tls://localhost:4222"], tls },
  ...overrides,
});

const mistakes = (value: object) =>
  shardRouterConfig
    .safeParse(value)
    .error?.issues.map(({ path, message }) => `${path.join(".")}: ${message}`);

test("a short configuration is filled in", () => {
  const parsed: ShardRouterConfig = shardRouterConfig.parse(config({ shards: { "0-7": "pg0", "8": "pg1" } }));
  expect(parsed).toMatchObject({
    listen: { host: "127.0.0.1", port: 7000 },
    metrics_listen: { host: "::1", port: 7001 },
    log_level: "info",
    placement: { instances: [{ database: "psephos" }, {}] },
    nats: { replicas: 1 },
    limits: { group_votes: 1_000, waiting_votes: 10_000, queued_records: 50_000, connections: 8 },
  });
});

test("the mistakes of a placement map are named", () => {
  const shards = { "0-7": "pg0", "7-8": "pg1", "9": "pg2", "b-c": "pg1", "20-10": "pg1", "250-256": "pg0" };
  expect(mistakes(config({ shards }))).toEqual([
    "placement.shards.9: names the instance pg2, which is not there",
    "placement.shards.7-8: has shard 7 a second time",
    "placement.shards.b-c: must be a shard or a range, up to 255",
    "placement.shards.20-10: must be a shard or a range, up to 255",
    "placement.shards.250-256: must be a shard or a range, up to 255",
  ]);
  expect(mistakes(config({ instances: [instance("a"), instance("a")] }))).toEqual([
    "placement.instances.1.name: is the name of an earlier instance",
  ]);
  expect(mistakes(config({ instances: [] }))).toHaveLength(1);
});

test.each([
  ["a key too many", { listn: "x" }],
  ["a limit under a batch", { limits: { waiting_votes: 999 } }],
  ["a nats address without tls", { nats: { servers: ["localhost:4222"], tls } }],
  ["an address without a port", { listen: "localhost" }],
])("%s is refused", (_, overrides) => {
  expect(mistakes(config({}, overrides))).toHaveLength(1);
});

test("new elections go where the map says, or are spread evenly", () => {
  expect(placeShards(5, ["a", "b"], undefined)).toEqual(["a", "b", "a", "b", "a"]);
  expect(placeShards(4, ["a", "b"], { "2-300": "b", "0": "a" })).toEqual(["a", undefined, "b", "b"]);
});

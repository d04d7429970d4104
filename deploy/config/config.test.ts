import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { auditServiceConfig } from "../../internal/audit/config.ts";
import { loadConfig } from "../../internal/config/load-config.ts";
import { publisherConfig } from "../../internal/publisher/config.ts";
import { shardRouterConfig } from "../../internal/shard/config.ts";
import { voteServiceConfig } from "../../internal/vote/config.ts";

const schemas = {
  "audit-service.json": auditServiceConfig,
  "publisher.json": publisherConfig,
  "shard-router.json": shardRouterConfig,
  "vote-service.json": voteServiceConfig,
};
const path = (name: string) => fileURLToPath(new URL(name, import.meta.url));

describe.each(["", "production/"])("%s", (folder) => {
  test.each(Object.entries(schemas))(`${folder}%s is what the service takes`, (name, schema) => {
    expect(() => loadConfig(schema, path(folder + name))).not.toThrow();
  });

  test("there is nothing else here", () => {
    const files = readdirSync(path(`./${folder}`)).filter((name) => name.endsWith(".json"));
    expect(files.sort()).toEqual(Object.keys(schemas));
  });
});

test("one copy of the stream on one machine, three in production", () => {
  for (const [folder, replicas] of [
    ["", 1],
    ["production/", 3],
  ] as const) {
    expect(loadConfig(shardRouterConfig, path(`${folder}shard-router.json`)).nats.replicas).toBe(replicas);
    expect(loadConfig(auditServiceConfig, path(`${folder}audit-service.json`)).nats.replicas).toBe(replicas);
  }
});

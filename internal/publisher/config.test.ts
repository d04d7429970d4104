import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { publisherConfig } from "./config.ts";

const valid = JSON.parse(
  await readFile(new URL("../../deploy/config/publisher.json", import.meta.url), "utf8"),
);

test("takes a configuration", () => {
  expect(publisherConfig.parse(valid)).toMatchObject({
    listen: { port: expect.any(Number) },
    public_listen: { port: expect.any(Number) },
    log_prefix: "psephos.local",
  });
});

test("lists every mistake", () => {
  const { key_file: _, ...rest } = valid;
  const wrong = { ...rest, lsiten: "x", public_listen: "nowhere", tiles: {} };
  const paths = publisherConfig
    .safeParse(wrong)
    .error?.issues.map(({ path, code }) => path.join(".") || code);
  expect(paths?.sort()).toEqual(["key_file", "public_listen", "tiles.directory", "unrecognized_keys"]);
});

test.each(["", "/x", "x/", "a+b", "a b", "https://x", "X.org", "x\n", "x".repeat(192), "a//b"])(
  "refuses the log prefix %j",
  (log_prefix) => {
    expect(publisherConfig.safeParse({ ...valid, log_prefix }).success).toBe(false);
  },
);

test.each(["x", "log.example.org", "log.example.org/votes/2026"])("takes the log prefix %j", (log_prefix) => {
  expect(publisherConfig.parse({ ...valid, log_prefix }).log_prefix).toBe(log_prefix);
});

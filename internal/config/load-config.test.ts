import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { z } from "zod";
import { address, commonFields, file, formatAddress, tlsFiles, trustDomain } from "./fields.ts";
import { ConfigError, loadConfig } from "./load-config.ts";

const folder = mkdtempSync(join(tmpdir(), "psephos-config-"));
afterAll(() => rmSync(folder, { recursive: true }));

const schema = z.strictObject({
  ...commonFields,
  listen: address,
  tls: tlsFiles,
  trust_domain: trustDomain,
  peers: z.array(z.strictObject({ address, secret: file })),
});

function load(text: string) {
  const path = join(folder, "config.json");
  writeFileSync(path, text);
  return loadConfig(schema, path);
}

const good = {
  metrics_listen: "127.0.0.1:0",
  listen: "[::1]:443",
  tls: { ca: "ca.crt", cert: "a.crt", key: "a.key" },
  trust_domain: "psephos.local",
  peers: [{ address: "peer:1", secret: "s" }],
};

test("a file becomes a configuration", () => {
  expect(load(JSON.stringify(good))).toEqual({
    ...good,
    metrics_listen: { host: "127.0.0.1", port: 0 },
    listen: { host: "::1", port: 443 },
    log_level: "info",
    peers: [{ address: { host: "peer", port: 1 }, secret: "s" }],
  });
});

test("every mistake is listed, with its place", () => {
  const bad = {
    ...good,
    listen: "localhost",
    tls: { ca: "ca.crt", cert: "", kye: "a.key" },
    trust_domain: "Not one",
    peers: [
      { address: "peer:1", secret: "s" },
      { address: 7, secret: "s", extra: 1, more: 2 },
    ],
    log_level: "loud",
  };
  expect(() => load(JSON.stringify(bad))).toThrow(ConfigError);
  const lines = message(() => load(JSON.stringify(bad))).split("\n");
  expect(lines[0]).toBe(`${join(folder, "config.json")} cannot be used:`);
  expect(lines.slice(1).map((line) => line.trim().split(": ")[0])).toEqual(
    expect.arrayContaining([
      "listen",
      "tls.cert",
      "tls.key",
      "tls.kye",
      "trust_domain",
      "peers[1].address",
      "peers[1].extra",
      "peers[1].more",
      "log_level",
    ]),
  );
  expect(lines).toHaveLength(10);
});

test("a file that is missing, no JSON or no object is a mistake of its own", () => {
  expect(message(() => loadConfig(schema, join(folder, "nowhere.json")))).toContain("cannot be read");
  expect(message(() => load("{"))).toContain("is not JSON");
  expect(message(() => load("[]"))).toContain("(the file): ");
});

test.each(["a:0", "1.2.3.4:65535", "[::1]:80", "a.b-c:7"])(
  "%s is an address, and is written as it was read",
  (text) => {
    expect(formatAddress(address.parse(text))).toBe(text);
  },
);

test.each(["a", ":80", "a:", "a:65536", "a:b", "[a]:80", "::1:80", "a b:80", "[::1]", "a:-1"])(
  "%s is no address",
  (text) => {
    expect(address.safeParse(text).success).toBe(false);
  },
);

function message(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (error instanceof Error) return error.message;
  }
  throw new Error("nothing was thrown");
}

import { beforeEach, expect, test } from "vitest";
import { TemporaryFolder } from "../../deploy/local/temporary-folder.ts";
import { utf8 } from "../core/bytes.ts";
import { createLogger } from "../telemetry/logger.ts";
import { Metrics } from "../telemetry/metrics.ts";
import { DirectoryStore } from "../worm/directory-store.ts";
import {
  ObjectArchivedError,
  ObjectConflictError,
  ObjectLockError,
  ObjectStoreError,
} from "../worm/object-store.ts";
import { auditMetrics } from "./metrics.ts";
import { WatchedEvidence } from "./watched-evidence.ts";

/** A folder as evidence store, which throws `error` at the calls named in `at`. */
class Refusing extends DirectoryStore {
  error: Error | undefined;
  at: readonly string[] = ["put", "get", "list"];

  override async put(key: string, body: Uint8Array) {
    if (this.error && this.at.includes("put")) throw this.error;
    return super.put(key, body);
  }

  override async get(key: string, versionId?: string) {
    if (this.error && this.at.includes("get")) throw this.error;
    return super.get(key, versionId);
  }

  override async *list(prefix: string) {
    yield* super.list(prefix);
    if (this.error && this.at.includes("list")) throw this.error;
  }
}

const expired = new ObjectStoreError("credentials", "ExpiredToken", "S3 did not store a: they have expired");

let store: Refusing;
let evidence: WatchedEvidence;
let metrics: Metrics;
let lines: { level: string; message: string; reason?: string }[];

beforeEach(async () => {
  const folder = await TemporaryFolder.create();
  store = new Refusing({ directory: folder.path });
  metrics = new Metrics({ service: "test" });
  lines = [];
  const logger = createLogger({
    service: "test",
    level: "info",
    destination: { write: (line) => lines.push(JSON.parse(line)) },
  });
  evidence = new WatchedEvidence({ store, failures: auditMetrics(metrics).evidenceFailures, logger });
  return () => folder[Symbol.asyncDispose]();
});

async function keys(): Promise<string[]> {
  const found = [];
  for await (const key of evidence.list("")) found.push(key);
  return found;
}

test("it is the store, as long as nothing fails", async () => {
  const { versionId } = await evidence.put("a", utf8("x"));
  expect(await evidence.get("a", versionId)).toEqual(utf8("x"));
  expect(await evidence.stat("a")).toMatchObject({ key: "a", bytes: 1 });
  expect(await evidence.get("b")).toBeUndefined();
  expect(await keys()).toEqual(["a"]);
  expect(evidence.failing).toBeUndefined();
  expect(lines).toEqual([]);
});

test("each failure is thrown and counted; its begin and its end are said once", async () => {
  store.error = expired;
  for (let i = 0; i < 3; i++) await expect(evidence.put("a", utf8("x"))).rejects.toBe(expired);
  await expect(keys()).rejects.toBe(expired);
  expect(evidence.failing).toBe(expired.message);
  const text = await metrics.render();
  expect(text).toMatch(/evidence_failures_total\{.*operation="put",failure="credentials".*\} 3\n/);
  expect(text).toMatch(/evidence_failures_total\{.*operation="list",failure="credentials".*\} 1\n/);

  store.error = undefined;
  await evidence.put("a", utf8("x"));
  expect(evidence.failing).toBe(expired.message); // Listing has not been tried since.
  await keys();
  expect(evidence.failing).toBeUndefined();
  expect(lines.map(({ level, reason }) => [level, reason])).toEqual([
    ["error", expired.message],
    ["info", undefined],
  ]);
});

test("reading does not hide that writing is refused", async () => {
  await evidence.put("a", utf8("x"));
  store.error = new ObjectLockError("bucket b has no Object Lock");
  store.at = ["put"];
  await expect(evidence.put("b", utf8("x"))).rejects.toBe(store.error);
  await evidence.get("a");
  expect(evidence.failing).toBe("bucket b has no Object Lock");
  expect(await metrics.render()).toContain('failure="unlocked"');
});

test("what the store says of the log itself is for who asked", async () => {
  await evidence.put("a", utf8("x"));
  await expect(evidence.put("a", utf8("y"))).rejects.toBeInstanceOf(ObjectConflictError);
  expect(evidence.failing).toBeUndefined();
  expect(lines).toEqual([]);
});

test("only what was written for operators is shown", async () => {
  for (const [error, shown] of [
    [new ObjectArchivedError("a"), /^object a is archived/],
    [
      Object.assign(new Error("ENOSPC: /srv/secret"), { code: "ENOSPC" }),
      /^the evidence store failed \(ENOSPC\): see/,
    ],
    [new Error("alice voted"), /^the evidence store failed: see/],
  ] as const) {
    store.error = error;
    await expect(evidence.get("a")).rejects.toBe(error);
    expect(evidence.failing).toMatch(shown);
  }
});

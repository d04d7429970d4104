import { describe, expect, test } from "vitest";
import { closingEntry } from "../ballot/entry.ts";
import { parseManifest } from "../ballot/manifest.ts";
import { fromHex, utf8 } from "../core/bytes.ts";
import { sequence } from "../core/ids.ts";
import { sha256 } from "../core/sha256.ts";
import { readEntry } from "../receipt/find-entry.ts";
import { LOG_KEY, MANIFEST_HASH, TestReceipts, voteEntry, WITNESS_KEY } from "../receipt/test-receipts.ts";
import vectors from "../receipt/vectors.json" with { type: "json" };
import { type CheckReceiptOptions, checkReceipt } from "./check-receipt.ts";

const votes = Array.from({ length: 600 }, (_, i) => voteEntry(i % 3, Math.floor(i / 3) + 1));
const log = new TestReceipts(votes);
const longer = new TestReceipts([...votes, voteEntry(0, 201), voteEntry(1, 201)]);
const forked = new TestReceipts([
  ...votes.slice(0, 300),
  voteEntry(0, 900),
  ...votes.slice(301),
  voteEntry(0, 201),
]);
const manifest = parseManifest(utf8(vectors.manifest.canonical));
const [vector] = vectors.promises;
const promise = vector?.file ?? "";
const promised = readEntry(fromHex(vector?.entry ?? ""));
const CLOSING = closingEntry([{ sequence: sequence(0), hash: sha256(new Uint8Array()) }]);
const NOW = 1_930_000_001_000;

async function check(text: string, of: TestReceipts | undefined, options: Partial<CheckReceiptOptions> = {}) {
  const result = await checkReceipt({
    ...{ text, log: LOG_KEY, manifest, manifestHash: MANIFEST_HASH, witnesses: [WITNESS_KEY], nowMs: NOW },
    newest: of?.opened(),
    fetch: of?.fetch ?? (async () => undefined),
    ...options,
  });
  return { ...result, steps: result.steps.map(({ outcome }) => outcome).join(" ") };
}

describe("a receipt", async () => {
  const receipt = await log.receipt(42, 1_900_000_000);

  test.each([
    ["the log it is of", log],
    ["a log that has grown", longer],
  ])("is good in %s", async (_, newest) => {
    expect(await check(receipt, newest)).toMatchObject({
      verdict: "good",
      steps: "passed passed passed passed passed",
      index: 42,
      size: 601,
      cosigners: ["witness.test/one"],
    });
  });

  test("is good when it is newer than what the page has seen", async () => {
    expect(await check(await longer.receipt(601), log, { fetch: longer.fetch })).toMatchObject({
      verdict: "good",
    });
  });

  test("convicts a log that has been changed since", async () => {
    expect(await check(receipt, forked)).toMatchObject({
      verdict: "rewritten",
      steps: "passed passed passed passed failed",
    });
  });

  test.each([
    ["nothing is known of the log", undefined, {}],
    ["its tiles cannot be read", longer, { fetch: async () => undefined }],
    ["its tiles are broken", longer, { fetch: async () => new Uint8Array(64) }],
  ])("is good by itself while %s", async (_, newest, options) => {
    expect(await check(receipt, newest, options)).toMatchObject({
      verdict: "good-offline",
      steps: "passed passed passed passed unknown",
    });
  });

  test.each([
    [
      "of an entry that it is not of",
      receipt.replace(/^index 42$/m, "index 43"),
      "passed passed passed failed not-reached",
    ],
    [
      "of another log",
      receipt.replace("council-2031", "council-2032"),
      "passed passed failed not-reached not-reached",
    ],
    ["that is none", "c2sp.org/tlog-proof@v1\n", "failed not-reached not-reached not-reached not-reached"],
    ["that is nothing", "", "failed not-reached not-reached not-reached not-reached"],
  ])("%s is not good", async (_, text, steps) => {
    expect(await check(text, log)).toMatchObject({ verdict: "forged", steps });
  });
});

describe("a promise", () => {
  // The vector's vote is the first of shard 0.
  const others = votes.filter(({ shard }) => shard !== 0);
  const without = new TestReceipts(others);
  const kept = new TestReceipts(promised ? [...others, promised] : []);

  test("is kept by a log that has the entry", async () => {
    expect(await check(promise, kept)).toMatchObject({
      verdict: "promise-kept",
      steps: "passed passed passed",
      index: 401,
    });
  });

  test("may still be kept until it is due", async () => {
    expect(await check(promise, without)).toMatchObject({
      verdict: "promise-pending",
      steps: "passed passed not-reached",
      dueAt: 1_930_000_000_000.001 + 86_400_000,
    });
  });

  test.each([
    ["once it is due", without, NOW + 86_400_000],
    ["by a log that is closed", new TestReceipts([...others, CLOSING]), NOW],
    ["by a log that has another record in its place", log, NOW],
  ])("is broken %s", async (_, newest, nowMs) => {
    expect(await check(promise, newest, { nowMs })).toMatchObject({
      verdict: "promise-broken",
      steps: "passed passed failed",
    });
  });

  test("of another key, or of an election without promises, is none", async () => {
    expect(await check(promise.replace("86400", "86401"), kept)).toMatchObject({
      verdict: "forged",
      steps: "passed failed not-reached",
    });
    expect(await check(promise, kept, { manifest: { ...manifest, promises: undefined } })).toMatchObject({
      verdict: "no-promises",
    });
    expect(await check(promise, undefined)).toMatchObject({ verdict: "promise-offline" });
  });
});

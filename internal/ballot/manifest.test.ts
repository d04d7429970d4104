import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodeUtf8, fromHex, toHex, utf8 } from "../core/bytes.ts";
import { ServiceError } from "../core/errors.ts";
import { electionId } from "../core/ids.ts";
import { sha256 } from "../core/sha256.ts";
import {
  choiceIndex,
  encodeManifest,
  logOrigin,
  type Manifest,
  manifestHash,
  parseManifest,
} from "./manifest.ts";
import { testLogKey, testManifest } from "./test-manifest.ts";
import vectors from "./vectors.json" with { type: "json" };

describe("golden vector", () => {
  const bytes = utf8(vectors.manifest.canonical);

  test("parses, and encodes to the same bytes and hash", () => {
    const manifest = parseManifest(bytes);
    expect(manifest).toEqual({
      electionId: "council-2031",
      title: vectors.manifest.json.title,
      choices: vectors.manifest.json.choices,
      shards: 16,
      revoting: "last-counts",
      opensAt: 1_930_000_000_000_000,
      closesAt: 1_930_000_043_200_000,
      tallyKey: fromHex(vectors.manifest.tally_public_key),
      trustees: { shares: 3, threshold: 2 },
      logKey: vectors.manifest.json.log_key,
    });
    expect(decodeUtf8(encodeManifest(manifest))).toBe(vectors.manifest.canonical);
    expect(toHex(manifestHash(manifest))).toBe(vectors.manifest.hash);
    expect(logOrigin(manifest)).toBe(vectors.manifest.origin);
  });

  test("a choice is found by its id, and nothing else is", () => {
    const index = choiceIndex(parseManifest(bytes));
    expect(index.get("choice-0")).toBe(0);
    expect(index.get("choice-3")).toBe(3);
    expect(index.get("Ada")).toBeUndefined();
    expect(index.get("__proto__")).toBeUndefined();
  });

  test("any other encoding of the same manifest is refused", () => {
    const json: Record<string, unknown> = vectors.manifest.json;
    const canonical = vectors.manifest.canonical;
    for (const text of [
      `${canonical}\n`,
      ` ${canonical}`,
      JSON.stringify(json), // keys in another order
      canonical.replace("ö", "\\u00f6"),
      canonical.replace('"shards":16', '"shards":16.0'),
      canonical.replace('"shards":16', '"shards":16,"shards":16'),
    ]) {
      expect(text).not.toBe(canonical);
      expect(problemsOf(() => parseManifest(utf8(text)))).toEqual(["manifest"]);
    }
    expect(problemsOf(() => parseManifest(utf8(`\u{feff}${canonical}`)))).toEqual(["manifest"]);
    expect(problemsOf(() => parseManifest(Uint8Array.of(0x22, 0xff, 0x22)))).toEqual(["manifest"]);
    expect(problemsOf(() => parseManifest(new Uint8Array((1 << 20) + 1)))).toEqual(["manifest"]);
  });
});

test("every manifest that can be encoded parses to itself", () => {
  const text = fc
    .string({ unit: "binary", minLength: 1, maxLength: 20 })
    .filter((value) => value.isWellFormed() && !/\p{Cc}/u.test(value));
  const choices = fc.uniqueArray(fc.record({ id: text, name: text }), {
    minLength: 1,
    maxLength: 12,
    selector: ({ id }) => id,
  });
  const trustees = fc
    .tuple(fc.integer({ min: 2, max: 255 }), fc.integer({ min: 2, max: 255 }))
    .map(([a, b]) => ({ shares: Math.max(a, b), threshold: Math.min(a, b) }));
  const opensAt = fc.maxSafeNat().filter((value) => value < Number.MAX_SAFE_INTEGER);
  const manifests = fc
    .record({
      title: text,
      choices,
      trustees,
      opensAt,
      shards: fc.integer({ min: 1, max: 256 }),
      revoting: fc.constantFrom("forbidden" as const, "last-counts" as const),
      stays: fc.boolean(),
      promises: fc.option(
        fc.record({
          key: fc.constant(testLogKey("psephos.test/test-1/promise", "another")),
          delaySeconds: fc.integer({ min: 1, max: 2_592_000 }),
        }),
        { nil: undefined },
      ),
      tallyKey: fc.uint8Array({ minLength: 32, maxLength: 32 }),
    })
    .map(({ stays, ...fields }) => {
      const closesAt = stays ? null : fields.opensAt + 1;
      return testManifest({ ...fields, closesAt });
    });
  fc.assert(
    fc.property(manifests, (manifest) => {
      const bytes = encodeManifest(manifest);
      expect(parseManifest(bytes)).toEqual(manifest);
      expect(manifestHash(manifest)).toEqual(sha256(bytes));
    }),
  );
});

describe("problems", () => {
  const good = testManifest();
  const long = "é".repeat(129);
  const delaySeconds = 60;
  const promiseKey = testLogKey("psephos.test/test-1/promise", "another");
  const wrongKeyId = good.logKey.replace(/\+[0-9a-f]{8}\+/, "+00000000+");

  test.each<[string, string, Partial<Record<keyof Manifest, unknown>>]>([
    ["election id", "manifest.election_id", { electionId: "Vermont" }],
    ["empty title", "manifest.title", { title: "" }],
    ["title of 258 bytes", "manifest.title", { title: long }],
    ["lone surrogate", "manifest.title", { title: "a\ud800" }],
    ["control character", "manifest.choices[0].name", { choices: [{ id: "a", name: "\u001b[2J" }] }],
    ["no choices", "manifest.choices", { choices: [] }],
    ["two choices of one id", "manifest.choices[1].id", { choices: [good.choices[0], good.choices[0]] }],
    ["no shards", "manifest.shards", { shards: 0 }],
    ["257 shards", "manifest.shards", { shards: 257 }],
    ["half a shard", "manifest.shards", { shards: 1.5 }],
    ["revoting", "manifest.revoting", { revoting: "allowed" }],
    ["negative time", "manifest.opens_at", { opensAt: -1 }],
    ["time beyond 2^53", "manifest.opens_at", { opensAt: 2 ** 53 }],
    ["closing at the opening", "manifest.closes_at", { opensAt: 5, closesAt: 5 }],
    ["short tally key", "manifest.tally_key", { tallyKey: new Uint8Array(31) }],
    ["threshold of one", "manifest.trustees.threshold", { trustees: { shares: 3, threshold: 1 } }],
    ["threshold above shares", "manifest.trustees.threshold", { trustees: { shares: 2, threshold: 3 } }],
    ["log key of no form", "manifest.log_key", { logKey: "psephos.test/test-1" }],
    ["log key with another's id", "manifest.log_key", { logKey: wrongKeyId }],
    ["another election's log", "manifest.log_key", { logKey: testLogKey("psephos.test/test-2") }],
    ["an origin that only ends alike", "manifest.log_key", { logKey: testLogKey("psephos.test-1") }],
    ["promise key of no form", "manifest.promise_key", { promises: { key: "promise", delaySeconds } }],
    [
      "a promise key of another name",
      "manifest.promise_key",
      { promises: { key: testLogKey("psephos.test/test-1", "another"), delaySeconds } },
    ],
    [
      "the log's key as promise key",
      "manifest.promise_key",
      { promises: { key: testLogKey("psephos.test/test-1/promise"), delaySeconds } },
    ],
    ["no delay", "manifest.promise_delay", { promises: { key: promiseKey, delaySeconds: 0 } }],
    ["31 days", "manifest.promise_delay", { promises: { key: promiseKey, delaySeconds: 2_678_400 } }],
    ["a delay without a key", "manifest.promise_delay", { promises: { delaySeconds } }],
    ["a key without a delay", "manifest.promise_delay", { promises: { key: promiseKey } }],
  ])("%s", (_, field, overrides) => {
    // The overrides are wrong on purpose, some of them by type.
    const manifest = { ...good, ...overrides } as Manifest;
    expect(problemsOf(() => encodeManifest(manifest))).toEqual([field]);
  });

  test("limits are inclusive", () => {
    const title = "é".repeat(128);
    const choices = Array.from({ length: 20_000 }, (_, index) => ({ id: `${index}`, name: "x" }));
    encodeManifest(testManifest({ title, choices, shards: 256 }));
  });

  test("all are listed together, with unknown and missing keys", () => {
    const fields = problemsOf(() =>
      parseManifest(
        utf8(
          JSON.stringify({
            format: "psephos/manifest/v2",
            opens_at: 5,
            closes_at: 4,
            choices: [{ id: "", name: "b", party: "c" }],
            "un\u001bknown": 1,
            election_id: electionId("test-2"),
            log_key: good.logKey,
          }),
        ),
      ),
    );
    expect(fields.toSorted()).toEqual(
      [
        "manifest.choices[0].id",
        "manifest.choices[0].party",
        "manifest.closes_at",
        "manifest.format",
        "manifest.log_key",
        "manifest.revoting",
        "manifest.shards",
        "manifest.tally_key",
        "manifest.title",
        "manifest.trustees",
        'manifest["un\\u001bknown"]',
      ].toSorted(),
    );
  });

  test("a thousand of them make a bounded message", () => {
    const choices = Array.from({ length: 1_000 }, () => ({ id: "", name: "" }));
    const error = refusalOf(() => encodeManifest(testManifest({ choices })));
    expect(error.fields).toHaveLength(50);
    expect(error.message).toMatch(/; and \d+ more$/);
  });
});

function refusalOf(action: () => unknown): ServiceError {
  try {
    action();
  } catch (error) {
    if (error instanceof ServiceError && error.kind === "invalid-argument") return error;
    throw error;
  }
  throw new Error("it was accepted");
}

function problemsOf(action: () => unknown): string[] {
  return refusalOf(action).fields.map(({ field }) => field);
}

import { expect, test } from "vitest";
import { manifestHash, parseManifest } from "../ballot/manifest.ts";
import { testLogKey, testManifest } from "../ballot/test-manifest.ts";
import { fromHex, toHex, utf8 } from "../core/bytes.ts";
import { sha256 } from "../core/sha256.ts";
import { parsePromise, promiseFile, verifyPromise } from "../receipt/promise.ts";
import vectors from "../receipt/vectors.json" with { type: "json" };
import { PromiseKey } from "./promise-key.ts";
import type { PromiseSigner } from "./promise-signer.ts";

const manifest = parseManifest(utf8(vectors.manifest.canonical));
const key = new PromiseKey(fromHex(vectors.promise_seed));

function signer(): PromiseSigner {
  const found = key.signerFor(manifest);
  if (!found) throw new Error("the manifest does not name the key");
  return found;
}

/** The votes of the vectors, as ShardRouter answers them. */
const votes = (size: number) =>
  Array.from({ length: size }, (_, number) => ({
    voteId: BigInt(number + 1),
    hash: sha256(utf8(`record ${number}`)),
  }));

test.each(vectors.promises)("vote $index of $size gets the file of the vectors", (vector) => {
  const promises = signer().promise(votes(vector.size), vector.issued_at);
  expect(promises).toHaveLength(vector.size);
  const promise = promises[vector.index];
  expect(promise && promiseFile(promise)).toBe(vector.file);
});

test("each vote's promise verifies, all by one signature", () => {
  const promises = signer().promise(votes(100), 1_930_000_000_000_000);
  expect(new Set(promises.map(({ statement }) => statement)).size).toBe(1);
  // One is checked with its signature; a hundred would take a second.
  const [first] = promises;
  const of = { manifest, manifestHash: manifestHash(manifest) };
  const verified = first && verifyPromise({ promise: parsePromise(promiseFile(first)), ...of });
  expect(verified?.batchSize).toBe(100);
  expect(verified && toHex(verified.manifestHash)).toBe(toHex(manifestHash(manifest)));
  expect(signer().promise([], 0)).toEqual([]);
});

test("nothing is promised that is no committed vote", () => {
  for (const wrong of [
    { voteId: 0n, hash: sha256(utf8("record")) },
    { voteId: 2n ** 53n, hash: sha256(utf8("record")) },
    { voteId: 1n, hash: new Uint8Array(31) },
  ]) {
    expect(() => signer().promise([wrong], 1)).toThrow(RangeError);
  }
});

test("there is a signer only where the manifest names this key", () => {
  expect(key.signerFor(testManifest())).toBeUndefined();
  const other = { key: testLogKey("psephos.test/test-1/promise", "another's"), delaySeconds: 60 };
  expect(key.signerFor(testManifest({ promises: other }))).toBeUndefined();
  expect(new PromiseKey(new Uint8Array(32)).signerFor(manifest)).toBeUndefined();
});

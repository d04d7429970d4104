import { sha256 as nobleSha256 } from "@noble/hashes/sha2.js";

declare const hashBrand: unique symbol;

/** A SHA-256 digest: 32 bytes. Made only by `sha256` and `asHash`. */
export type Hash = Uint8Array & { readonly [hashBrand]: true };

export const HASH_SIZE = 32;

// getBuiltinModule instead of an import keeps this module loadable in a browser, where noble serves.
const nodeCrypto = globalThis.process?.getBuiltinModule?.("node:crypto");

/**
 * Writes SHA-256 (FIPS 180-4) of `bytes` into `out`, from `at` on.
 *
 * Node's one-shot hash gives a string of a character a byte three times as fast as a buffer: each buffer has memory of its
 * own outside of the heap (docs/benchmarks.md).
 */
export const sha256Into: (out: Uint8Array, at: number, bytes: Uint8Array) => void = nodeCrypto
  ? (out, at, bytes) => {
      const digest = nodeCrypto.hash("sha256", bytes, "binary");
      for (let i = 0; i < HASH_SIZE; i++) out[at + i] = digest.charCodeAt(i);
    }
  : (out, at, bytes) => out.set(nobleSha256(bytes), at);

/** SHA-256 (FIPS 180-4) of `bytes`. */
export function sha256(bytes: Uint8Array): Hash {
  const hash = new Uint8Array(HASH_SIZE);
  sha256Into(hash, 0, bytes);
  return hash as Uint8Array as Hash;
}

/** `bytes` as a digest; throws a RangeError when it is not 32 bytes long. */
export function asHash(bytes: Uint8Array): Hash {
  if (bytes.length !== HASH_SIZE) throw new RangeError(`a SHA-256 digest is 32 bytes, got ${bytes.length}`);
  return bytes as Hash;
}

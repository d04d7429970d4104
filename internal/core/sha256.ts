import { sha256 as nobleSha256 } from "@noble/hashes/sha2.js";

declare const hashBrand: unique symbol;

/** A SHA-256 digest: 32 bytes. Made only by `sha256` and `asHash`. */
export type Hash = Uint8Array & { readonly [hashBrand]: true };

export const HASH_SIZE = 32;

// node:crypto's one-shot hash is twice as fast as noble for a record, and no slower for an entry (docs/benchmarks.md).
// getBuiltinModule instead of an import keeps this module loadable in a browser, where noble serves.
const nodeCrypto = globalThis.process?.getBuiltinModule?.("node:crypto");

/** SHA-256 (FIPS 180-4) of `bytes`. */
export const sha256: (bytes: Uint8Array) => Hash = nodeCrypto
  ? (bytes) => nodeCrypto.hash("sha256", bytes, "buffer") as Uint8Array as Hash
  : (bytes) => nobleSha256(bytes) as Hash;

/** `bytes` as a digest; throws a RangeError when it is not 32 bytes long. */
export function asHash(bytes: Uint8Array): Hash {
  if (bytes.length !== HASH_SIZE) throw new RangeError(`a SHA-256 digest is 32 bytes, got ${bytes.length}`);
  return bytes as Hash;
}

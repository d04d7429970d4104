// Ed25519 (RFC 8032), the same in Node and in a browser, and synchronous: a log signs and checks a few notes a second.
import { getPublicKey, hashes, Point, sign, verify } from "@noble/ed25519";
import { sha512 } from "@noble/hashes/sha2.js";
import { malformed } from "./errors.ts";

hashes.sha512 = sha512;

export const ED25519_KEY_SIZE = 32;
export const ED25519_SIGNATURE_SIZE = 64;

/** The public key of a 32-byte seed, which is what RFC 8032 calls the private key. */
export function ed25519PublicKey(seed: Uint8Array): Uint8Array {
  return getPublicKey(seed);
}

export function ed25519Sign(message: Uint8Array, seed: Uint8Array): Uint8Array {
  return sign(message, seed);
}

/**
 * Whether it is the key's signature of the message; a signature of another length is not.
 *
 * Strict, as RFC 8032 section 5.1.7 has it: points in their one encoding and S below the group's order. noble's default,
 * ZIP 215, takes more encodings, so that two implementations could differ on what is signed. Under a public key that
 * `checkEd25519PublicKey` accepts, what an honest signer makes passes here and in every other verifier.
 */
export function ed25519Verify(signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array): boolean {
  if (signature.length !== ED25519_SIGNATURE_SIZE) return false;
  return verify(signature, message, publicKey, { zip215: false });
}

/** Refuses bytes that are no point, and points of small order, under which one signature fits many messages. */
export function checkEd25519PublicKey(publicKey: Uint8Array): void {
  let point: Point;
  try {
    point = Point.fromBytes(publicKey, false);
  } catch (error) {
    throw malformed("an Ed25519 public key is not a point in its canonical encoding", error);
  }
  if (point.isSmallOrder()) throw malformed("an Ed25519 public key is of small order");
}

// The election's X25519 key pair (RFC 7748): choices are sealed to the public half, the private half opens them.
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { concat, fromHex } from "../core/bytes.ts";

export const TALLY_KEY_SIZE = 32;

// node:crypto takes no bare X25519 key: this is the PKCS #8 that stands before one (RFC 8410 section 7).
const PKCS8_PREFIX = fromHex("302e020100300506032b656e04220420");

export interface TallyKeyPair {
  readonly publicKey: Uint8Array;
  readonly privateKey: Uint8Array;
}

/** A new key pair. The private key is to be split among the trustees at once and kept nowhere. */
export function generateTallyKeyPair(): TallyKeyPair {
  const { privateKey } = generateKeyPairSync("x25519");
  const { d, x } = privateKey.export({ format: "jwk" });
  return { privateKey: fromBase64Url(d), publicKey: fromBase64Url(x) };
}

/** The public key of a private one. */
export function tallyPublicKey(privateKey: Uint8Array): Uint8Array {
  if (privateKey.length !== TALLY_KEY_SIZE) throw new RangeError("a tally private key is 32 bytes");
  const der = Buffer.from(concat(PKCS8_PREFIX, privateKey));
  const key: KeyObject = createPublicKey(createPrivateKey({ key: der, format: "der", type: "pkcs8" }));
  return fromBase64Url(key.export({ format: "jwk" }).x);
}

function fromBase64Url(text: string | undefined): Uint8Array {
  // An OKP key's JWK has both members (RFC 8037 section 2); the type covers keys of all kinds.
  if (text === undefined) throw new TypeError("an X25519 key without its JWK members");
  return new Uint8Array(Buffer.from(text, "base64url"));
}

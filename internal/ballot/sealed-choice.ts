// The bytes of a sealed choice, and what both of its sides compute. docs/spec.md, "Sealed choice":
//
//   version ‖ enc[32] ‖ nonce[12] ‖ AES-256-GCM ciphertext of the u16 choice index [2] ‖ tag[16]     = 63 bytes
//
// Always of one length, so that it says nothing about the choice. One HPKE context (RFC 9180) serves many votes: its
// exporter (section 5.3) gives the AES key, and a counter the nonce. HPKE's own Seal costs thirty times as much.
import { Aes256Gcm, CipherSuite, DhkemX25519HkdfSha256, HkdfSha256 } from "@hpke/core";
import { concat, utf8 } from "../core/bytes.ts";
import type { Hash } from "../core/sha256.ts";

/** Sealed by VoteService: the additional data holds the pseudonym, so it opens only as this voter's. */
export const SEALED_BY_SERVICE = 0x01;
/** Sealed by the client, who does not know the pseudonym. */
export const SEALED_BY_CLIENT = 0x02;

export const SEALED_CHOICE_SIZE = 63;
export const ENC_OFFSET = 1;
export const NONCE_OFFSET = 33;
export const CIPHERTEXT_OFFSET = 45;
export const TAG_OFFSET = 47;

export const CIPHER = "aes-256-gcm";
export const CHOICE_KEY_CONTEXT = utf8("psephos/choice-key/v1");
export const CHOICE_KEY_SIZE = 32;

const DOMAIN = utf8("psephos/sealed-choice/v1\n");

/** Base mode, DHKEM(X25519, HKDF-SHA256) 0x0020, HKDF-SHA256 0x0001, AES-256-GCM 0x0002. */
export const hpke = new CipherSuite({
  kem: new DhkemX25519HkdfSha256(),
  kdf: new HkdfSha256(),
  aead: new Aes256Gcm(),
});

/** Whether the bytes have the form of a sealed choice. Whether they open, only the trustees can tell. */
export function isSealedChoice(bytes: Uint8Array): boolean {
  return (
    bytes.length === SEALED_CHOICE_SIZE && (bytes[0] === SEALED_BY_SERVICE || bytes[0] === SEALED_BY_CLIENT)
  );
}

/** Whether the bytes have the form of a choice sealed by a client: the only form VoteService takes from one. */
export function isClientSealedChoice(bytes: Uint8Array): boolean {
  return bytes.length === SEALED_CHOICE_SIZE && bytes[0] === SEALED_BY_CLIENT;
}

/** HPKE's `info`, and the additional data of a choice sealed by a client: it opens in this election only. */
export function sealingInfo(manifestHash: Hash): Uint8Array {
  return concat(DOMAIN, manifestHash);
}

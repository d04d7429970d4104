// Decrypts sealed choices with the tally private key. docs/spec.md, "Sealed choice".
import { createDecipheriv, createSecretKey, type KeyObject, type webcrypto } from "node:crypto";
import { HpkeError } from "@hpke/core";
import { concat, equalBytes, toHex } from "../core/bytes.ts";
import { ServiceError } from "../core/errors.ts";
import { type Manifest, manifestHash } from "./manifest.ts";
import {
  CHOICE_KEY_CONTEXT,
  CHOICE_KEY_SIZE,
  CIPHER,
  CIPHERTEXT_OFFSET,
  ENC_OFFSET,
  hpke,
  isSealedChoice,
  NONCE_OFFSET,
  SEALED_BY_SERVICE,
  sealingInfo,
  TAG_OFFSET,
} from "./sealed-choice.ts";
import { tallyPublicKey } from "./tally-key.ts";

/**
 * Why a vote counts for nobody: it has not the form of a sealed choice, it does not open in this election (nor, sealed
 * by VoteService, as this voter's), or it opens to a number that no choice has.
 */
export type SpoiltReason = "malformed" | "undecryptable" | "no-such-choice";

export type OpenedChoice =
  | { readonly kind: "choice"; readonly index: number }
  | { readonly kind: "spoilt"; readonly reason: SpoiltReason };

/** Deriving a key costs as much as opening fifty choices. Each replica of VoteService has one in use at a time. */
const MAX_CACHED_KEYS = 256;

export interface OpenerOptions {
  readonly manifest: Manifest;
  /** The tally private key, combined from the trustees' shares. */
  readonly privateKey: Uint8Array;
}

interface OpenerParts {
  readonly manifest: Manifest;
  readonly recipientKey: webcrypto.CryptoKeyPair;
}

/** Opens the choices of one election. Whoever holds it can read every vote. */
export class ChoiceOpener {
  readonly #recipientKey: webcrypto.CryptoKeyPair;
  readonly #choices: number;
  readonly #info: Uint8Array;
  /** By enc in hex. The oldest is dropped first: contexts are short-lived, and the log is nearly in their order. */
  readonly #keys = new Map<string, KeyObject>();

  private constructor({ manifest, recipientKey }: OpenerParts) {
    this.#recipientKey = recipientKey;
    this.#choices = manifest.choices.length;
    this.#info = sealingInfo(manifestHash(manifest));
  }

  /** Throws a ServiceError when the private key is not that of the manifest's tally key. */
  static async create({ manifest, privateKey }: OpenerOptions): Promise<ChoiceOpener> {
    // Without this check every vote of the election would come out spoilt.
    if (!equalBytes(tallyPublicKey(privateKey), manifest.tallyKey)) {
      throw new ServiceError("failed-precondition", "the tally private key is not this election's", {
        reason: "WRONG_TALLY_KEY",
      });
    }
    const recipientKey = {
      publicKey: await hpke.kem.deserializePublicKey(manifest.tallyKey),
      privateKey: await hpke.kem.deserializePrivateKey(privateKey),
    };
    return new ChoiceOpener({ manifest, recipientKey });
  }

  /** Opens the choice in a voter's record. Whatever the bytes are, the answer is a choice or why the vote is spoilt. */
  async open(sealedChoice: Uint8Array, pseudonym: Uint8Array): Promise<OpenedChoice> {
    if (!isSealedChoice(sealedChoice)) return spoilt("malformed");
    const byService = sealedChoice[0] === SEALED_BY_SERVICE;
    const enc = sealedChoice.subarray(ENC_OFFSET, NONCE_OFFSET);
    const key = byService ? await this.#serviceKey(enc) : await this.#deriveKey(enc);
    if (key === undefined) return spoilt("undecryptable");

    const index = decrypt(key, sealedChoice, byService ? concat(this.#info, pseudonym) : this.#info);
    if (index === undefined) return spoilt("undecryptable");
    return index < this.#choices ? { kind: "choice", index } : spoilt("no-such-choice");
  }

  async #serviceKey(enc: Uint8Array): Promise<KeyObject | undefined> {
    const id = toHex(enc);
    const cached = this.#keys.get(id);
    if (cached) return cached;
    const key = await this.#deriveKey(enc);
    if (key === undefined) return undefined;
    const [oldest] = this.#keys.keys();
    if (oldest !== undefined && this.#keys.size >= MAX_CACHED_KEYS) this.#keys.delete(oldest);
    this.#keys.set(id, key);
    return key;
  }

  /** The key a context exports; undefined when `enc` is not a point that gives one (RFC 9180 section 7.1.4). */
  async #deriveKey(enc: Uint8Array): Promise<KeyObject | undefined> {
    try {
      const params = { recipientKey: this.#recipientKey, enc, info: this.#info };
      const recipient = await hpke.createRecipientContext(params);
      return createSecretKey(new Uint8Array(await recipient.export(CHOICE_KEY_CONTEXT, CHOICE_KEY_SIZE)));
    } catch (error) {
      if (error instanceof HpkeError) return undefined;
      throw error;
    }
  }
}

/** The number in a sealed choice; undefined when its tag does not fit. */
function decrypt(key: KeyObject, sealedChoice: Uint8Array, additionalData: Uint8Array): number | undefined {
  const nonce = sealedChoice.subarray(NONCE_OFFSET, CIPHERTEXT_OFFSET);
  const decipher = createDecipheriv(CIPHER, key, nonce, { authTagLength: 16 });
  decipher.setAAD(additionalData);
  decipher.setAuthTag(sealedChoice.subarray(TAG_OFFSET));
  const plaintext = decipher.update(sealedChoice.subarray(CIPHERTEXT_OFFSET, TAG_OFFSET));
  try {
    decipher.final();
  } catch {
    // The one thing final() checks in GCM is the tag.
    return undefined;
  }
  return plaintext.readUInt16BE();
}

function spoilt(reason: SpoiltReason): OpenedChoice {
  return { kind: "spoilt", reason };
}

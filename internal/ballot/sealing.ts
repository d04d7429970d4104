// Encrypts choices to the trustees. docs/spec.md, "Sealed choice"; the layout is in sealed-choice.ts.
import { createCipheriv, createSecretKey, type KeyObject } from "node:crypto";
import { concat } from "../core/bytes.ts";
import type { Clock } from "../core/clock.ts";
import { type Manifest, manifestHash } from "./manifest.ts";
import { PSEUDONYM_SIZE } from "./record.ts";
import {
  CHOICE_KEY_CONTEXT,
  CHOICE_KEY_SIZE,
  CIPHER,
  CIPHERTEXT_OFFSET,
  ENC_OFFSET,
  hpke,
  NONCE_OFFSET,
  SEALED_BY_CLIENT,
  SEALED_BY_SERVICE,
  SEALED_CHOICE_SIZE,
  sealingInfo,
  TAG_OFFSET,
} from "./sealed-choice.ts";

// Both far below what AES-GCM allows a key (2^32 messages). They bound what a key read from a running service's
// memory opens: the votes of a minute, and none before it.
const MAX_SEALS = 10_000;
const MAX_AGE_MICROS = 60_000_000;

export interface SealerOptions {
  readonly manifest: Manifest;
  readonly clock: Clock;
}

interface SealerParts extends SealerOptions {
  readonly info: Uint8Array;
  readonly context: SealingContext;
}

/** Seals choices for VoteService. It cannot open what it sealed: only the trustees' key can derive the keys again. */
export class ChoiceSealer {
  readonly #tallyKey: Uint8Array;
  readonly #choices: number;
  readonly #info: Uint8Array;
  readonly #clock: Clock;
  #context: SealingContext;
  #madeAt: number;
  #renewal: Promise<void> | undefined;

  private constructor({ manifest, clock, info, context }: SealerParts) {
    this.#tallyKey = manifest.tallyKey;
    this.#choices = manifest.choices.length;
    this.#info = info;
    this.#clock = clock;
    this.#context = context;
    this.#madeAt = clock.nowMicros();
  }

  /** Throws when the manifest's tally key is no usable X25519 key: before the first vote, not with it. */
  static async create({ manifest, clock }: SealerOptions): Promise<ChoiceSealer> {
    const info = sealingInfo(manifestHash(manifest));
    const context = await newContext(SEALED_BY_SERVICE, manifest.tallyKey, info);
    return new ChoiceSealer({ manifest, clock, info, context });
  }

  /** Seals the choice at `index` of the manifest for one voter: 63 bytes, different each time. */
  async seal(index: number, pseudonym: Uint8Array): Promise<Uint8Array> {
    checkIndex(index, this.#choices);
    if (pseudonym.length !== PSEUDONYM_SIZE) throw new RangeError("a pseudonym is 32 bytes");
    // A loop, because those who waited for the same new context may have used it up by the time this call resumes.
    while (this.#isSpent()) await this.#renew();
    // No await from the check above to the counter's step inside: no two calls can get one nonce.
    return this.#context.seal(index, concat(this.#info, pseudonym));
  }

  #isSpent(): boolean {
    const age = this.#clock.nowMicros() - this.#madeAt;
    // A clock set back must not stretch a key's life.
    return this.#context.seals >= MAX_SEALS || age >= MAX_AGE_MICROS || age < 0;
  }

  /** One renewal at a time, whoever asks; after a failed one the next seal tries again. */
  #renew(): Promise<void> {
    this.#renewal ??= newContext(SEALED_BY_SERVICE, this.#tallyKey, this.#info)
      .then((context) => {
        this.#context = context;
        this.#madeAt = this.#clock.nowMicros();
      })
      .finally(() => {
        this.#renewal = undefined;
      });
    return this.#renewal;
  }
}

/** Seals one choice as a client does that does not want VoteService to see it: a context of its own, used once. */
export async function sealAsClient(manifest: Manifest, index: number): Promise<Uint8Array> {
  checkIndex(index, manifest.choices.length);
  const info = sealingInfo(manifestHash(manifest));
  const context = await newContext(SEALED_BY_CLIENT, manifest.tallyKey, info);
  return context.seal(index, info);
}

/** One HPKE sender context, reduced to the key it exports and a counter. */
class SealingContext {
  /** How many choices it sealed: the next nonce. */
  seals = 0;
  // A KeyObject made once, and no random nonce: four times as fast as key bytes and randomBytes each time
  // (docs/benchmarks.md).
  readonly #key: KeyObject;
  /** version ‖ enc ‖ 0…: what all its sealed choices begin with. */
  readonly #template: Uint8Array;

  constructor(version: number, key: ArrayBuffer, enc: ArrayBuffer) {
    this.#key = createSecretKey(new Uint8Array(key));
    this.#template = new Uint8Array(SEALED_CHOICE_SIZE);
    this.#template[0] = version;
    this.#template.set(new Uint8Array(enc), ENC_OFFSET);
  }

  seal(index: number, additionalData: Uint8Array): Uint8Array {
    const sealed = this.#template.slice();
    const view = new DataView(sealed.buffer);
    // Stepped before anything can throw: an error must not leave a nonce to be used again.
    view.setUint32(CIPHERTEXT_OFFSET - 4, this.seals++);

    const cipher = createCipheriv(CIPHER, this.#key, sealed.subarray(NONCE_OFFSET, CIPHERTEXT_OFFSET));
    cipher.setAAD(additionalData);
    view.setUint16(CIPHERTEXT_OFFSET, index);
    sealed.set(cipher.update(sealed.subarray(CIPHERTEXT_OFFSET, TAG_OFFSET)), CIPHERTEXT_OFFSET);
    cipher.final();
    sealed.set(cipher.getAuthTag(), TAG_OFFSET);
    return sealed;
  }
}

async function newContext(version: number, tallyKey: Uint8Array, info: Uint8Array): Promise<SealingContext> {
  const recipientPublicKey = await hpke.kem.deserializePublicKey(tallyKey);
  const sender = await hpke.createSenderContext({ recipientPublicKey, info });
  return new SealingContext(version, await sender.export(CHOICE_KEY_CONTEXT, CHOICE_KEY_SIZE), sender.enc);
}

/** The message does not repeat the index: it is a choice. */
function checkIndex(index: number, choices: number): void {
  if (!Number.isInteger(index) || index < 0 || index >= choices) {
    throw new RangeError("a choice's index is its place in the manifest");
  }
}

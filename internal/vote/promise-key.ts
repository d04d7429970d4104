import { createPrivateKey, type KeyObject } from "node:crypto";
import { type Manifest, manifestHash } from "../ballot/manifest.ts";
import { nameOfKey } from "../ballot/manifest-json.ts";
import { readSecretFile } from "../config/secret-file.ts";
import { ed25519PublicKey } from "../tlog/ed25519.ts";
import { ALGORITHM_ED25519, verifierKey } from "../tlog/note-verifier.ts";
import { PromiseSigner } from "./promise-signer.ts";

/** PrivateKeyInfo of an Ed25519 key, up to its 32-byte seed (RFC 8410 section 7). */
const PKCS8_PREFIX = Buffer.from("302e020100300506032b657004220420", "hex");

/**
 * The deployment's Ed25519 key for promises. All replicas of the service have the same. It signs no log: whoever steals
 * it can promise what nobody keeps, and that is all.
 */
export class PromiseKey {
  readonly publicKey: Uint8Array;
  /** node:crypto signs more than ten times as fast as noble. */
  readonly #privateKey: KeyObject;

  /** `seed`: what RFC 8032 calls the private key, 32 bytes. */
  constructor(seed: Uint8Array) {
    this.publicKey = ed25519PublicKey(seed);
    const key = Buffer.concat([PKCS8_PREFIX, seed]);
    this.#privateKey = createPrivateKey({ key, format: "der", type: "pkcs8" });
  }

  /** Reads the seed's file. */
  static async load(path: string): Promise<PromiseKey> {
    return new PromiseKey(await readSecretFile(path));
  }

  /** Undefined for an election without promises, and for one whose manifest names another key. */
  signerFor(manifest: Manifest): PromiseSigner | undefined {
    const { promises } = manifest;
    if (promises === undefined) return undefined;
    const name = nameOfKey(promises.key);
    if (verifierKey(name, ALGORITHM_ED25519, this.publicKey) !== promises.key) return undefined;
    return new PromiseSigner({
      manifest,
      manifestHash: manifestHash(manifest),
      delaySeconds: promises.delaySeconds,
      name,
      publicKey: this.publicKey,
      privateKey: this.#privateKey,
    });
  }
}

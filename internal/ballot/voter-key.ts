// The key under which an election knows its voters. docs/spec.md, "Pseudonym".
import { createHmac, createSecretKey, hkdfSync, type KeyObject } from "node:crypto";
import { utf8 } from "../core/bytes.ts";
import { type ShardId, shardId } from "../core/ids.ts";
import type { Hash } from "../core/sha256.ts";

const SECRET_SIZE = 32;
const KEY_INFO = utf8("psephos/voter-key/v1");
const REQUEST_DOMAIN = utf8("psephos/request/v1\n");
const REQUEST_TOKEN_SIZE = 16;

/**
 * One election's voter key. Pseudonyms of different elections cannot be linked, and whoever has the records but not
 * the deployment's voter secret cannot test guessed voter ids against them.
 */
export class VoterKey {
  // A KeyObject made once: five times as fast as passing the key's bytes to createHmac each time
  // (docs/benchmarks.md).
  readonly #key: KeyObject;

  private constructor(key: KeyObject) {
    this.#key = key;
  }

  /** HKDF-SHA256 (RFC 5869) of the deployment's 32-byte voter secret, salted with the manifest's hash. */
  static derive(secret: Uint8Array, manifestHash: Hash): VoterKey {
    if (secret.length !== SECRET_SIZE) throw new RangeError("a voter secret is 32 bytes");
    const key = hkdfSync("sha256", secret, manifestHash, KEY_INFO, SECRET_SIZE);
    return new VoterKey(createSecretKey(new Uint8Array(key)));
  }

  /** The 32 bytes that stand for a voter everywhere outside VoteService. */
  pseudonym(voterId: string): Uint8Array {
    return createHmac("sha256", this.#key).update(wellFormed(voterId)).digest();
  }

  /** The 16 bytes by which a shard recognises a retry of the same request by the same voter. */
  requestToken(pseudonym: Uint8Array, requestId: string): Uint8Array {
    const mac = createHmac("sha256", this.#key);
    const digest = mac.update(REQUEST_DOMAIN).update(pseudonym).update(wellFormed(requestId)).digest();
    return new Uint8Array(digest.subarray(0, REQUEST_TOKEN_SIZE));
  }
}

/** The shard a voter's votes go to. Anyone can recompute it from a record, so no voter can have one in two shards. */
export function shardOf(pseudonym: Uint8Array, shards: number): ShardId {
  if (pseudonym.length < 4) throw new RangeError("a pseudonym of less than four bytes");
  let start = 0;
  for (let i = 0; i < 4; i++) start = 256 * start + (pseudonym[i] ?? 0);
  return shardId(start % shards);
}

/** UTF-8 turns every lone surrogate into U+FFFD: two different ids would become one voter. */
function wellFormed(text: string): string {
  if (!text.isWellFormed()) throw new RangeError("an id with a lone surrogate has no UTF-8 form");
  return text;
}

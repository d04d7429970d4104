// The vote record: what a shard stores, chains and hands to the audit path. docs/spec.md, "Record".
import { concat, u16, utf8, writeU64 } from "../core/bytes.ts";
import { type Sequence, type ShardId, voteIdOf } from "../core/ids.ts";
import { HASH_SIZE, type Hash, sha256 } from "../core/sha256.ts";

/** One vote as stored: who voted only as a keyed pseudonym, what was chosen only encrypted to the trustees. */
export interface VoteRecord {
  readonly shard: ShardId;
  /** 1, 2, 3 … within the shard. */
  readonly sequence: Sequence;
  /** HMAC-SHA-256 of the voter id: 32 bytes. */
  readonly voterPseudonym: Uint8Array;
  /** 1 for a voter's first vote; more only where the manifest says `last-counts`. */
  readonly revision: number;
  /** 63 bytes: sealed-choice.ts. */
  readonly sealedChoice: Uint8Array;
  /** Microseconds since 1970. It never goes backwards within a shard. */
  readonly castAt: number;
  /** Covers all of the above and the hash of the record before. */
  readonly hash: Hash;
}

/** A record without its hash: what the hash is computed from, with the hash of the record before. */
export type RecordContent = Omit<VoteRecord, "hash">;

export const PSEUDONYM_SIZE = 32;

const GENESIS_DOMAIN = utf8("psephos/genesis/v1\n");
const RECORD_DOMAIN = utf8("psephos/record/v1\n");
// domain ‖ prev_hash[32] ‖ u64 vote_id ‖ u16 length, pseudonym[32] ‖ u32 revision ‖ u16 length, choice ‖ u64 cast_at
const PREVIOUS = RECORD_DOMAIN.length;
const VOTE_ID = PREVIOUS + HASH_SIZE;
const PSEUDONYM = VOTE_ID + 8;
const REVISION = PSEUDONYM + 2 + PSEUDONYM_SIZE;
const CHOICE = REVISION + 4;
const FIXED_SIZE = CHOICE + 2 + 8;

/** What a shard's first record chains to: it ties every record to one manifest and one shard. */
export function genesisHash(manifestHash: Hash, shard: ShardId): Hash {
  return sha256(concat(GENESIS_DOMAIN, manifestHash, u16(shard)));
}

// The bytes hashed last, kept for the next record: nearly every record has the same length, and joining the fields
// anew each time takes three times as long (docs/benchmarks.md). No await stands between filling and hashing.
let preimage = new Uint8Array(0);
let view = new DataView(preimage.buffer);

/**
 * The hash of a record of an election with `shards` shards, after the record whose hash is `previous`.
 *
 * Throws a RangeError when a field does not fit its place in the encoding.
 */
export function recordHash(previous: Hash, shards: number, record: RecordContent): Hash {
  const { shard, sequence, voterPseudonym, revision, sealedChoice, castAt } = record;
  if (shard >= shards) throw new RangeError(`shard ${shard} of an election with ${shards}`);
  if (sequence < 1) throw new RangeError("sequences begin at 1");
  if (voterPseudonym.length !== PSEUDONYM_SIZE) throw new RangeError("a pseudonym is 32 bytes");
  if (sealedChoice.length > 0xffff) throw new RangeError("a sealed choice is at most 65,535 bytes");
  if (revision < 1 || revision > 0xffff_ffff || !Number.isInteger(revision)) {
    throw new RangeError("a revision is an integer from 1 to 2^32 - 1");
  }
  if (castAt < 0 || !Number.isSafeInteger(castAt)) {
    throw new RangeError("a time is an integer from 0 to 2^53 - 1 microseconds");
  }

  const size = FIXED_SIZE + sealedChoice.length;
  if (preimage.length !== size) {
    preimage = new Uint8Array(size);
    preimage.set(RECORD_DOMAIN);
    view = new DataView(preimage.buffer);
  }
  preimage.set(previous, PREVIOUS);
  writeU64(view, VOTE_ID, voteIdOf(shard, sequence, shards));
  view.setUint16(PSEUDONYM, PSEUDONYM_SIZE);
  preimage.set(voterPseudonym, PSEUDONYM + 2);
  view.setUint32(REVISION, revision);
  view.setUint16(CHOICE, sealedChoice.length);
  preimage.set(sealedChoice, CHOICE + 2);
  writeU64(view, size - 8, castAt);
  return sha256(preimage);
}

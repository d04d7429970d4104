// The rows of shards as pg returns them.
import type { VoteRecord } from "../ballot/record.ts";
import { type ShardId, sequence, shardId } from "../core/ids.ts";
import { asHash } from "../core/sha256.ts";
import type { StoredHead } from "../shard/ports.ts";

/** A row of shard_heads as pg returns it. */
export interface HeadColumns {
  readonly election: number;
  readonly shard: number;
  readonly sequence: number;
  readonly hash: Uint8Array;
  readonly cast_at: number;
  readonly closed: boolean;
  readonly sealed_sequence: number;
  readonly genesis: Uint8Array;
}

export function headOf(row: HeadColumns): StoredHead {
  return {
    election: row.election,
    shard: shardId(row.shard),
    sequence: sequence(row.sequence),
    hash: asHash(row.hash),
    castAt: row.cast_at,
    closed: row.closed,
    sealedSequence: sequence(row.sealed_sequence),
    genesis: asHash(row.genesis),
  };
}

/** A row of records, without its place and its request. */
export interface RecordColumns {
  readonly sequence: number;
  readonly voter_pseudonym: Uint8Array;
  readonly revision: number;
  readonly sealed_choice: Uint8Array;
  readonly cast_at: number;
  readonly record_hash: Uint8Array;
}

export function recordOf(shard: ShardId, row: RecordColumns): VoteRecord {
  return {
    shard,
    sequence: sequence(row.sequence),
    voterPseudonym: row.voter_pseudonym,
    revision: row.revision,
    sealedChoice: row.sealed_choice,
    castAt: row.cast_at,
    hash: asHash(row.record_hash),
  };
}

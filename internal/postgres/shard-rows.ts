// The rows of shards as pg returns them.
import { sequence, shardId } from "../core/ids.ts";
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
  };
}

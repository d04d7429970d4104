// The rows of shards as they go in and out. What they mean to the service is said in internal/shard/ports.ts.
import type { ChainHead } from "../ballot/chain.ts";
import type { VoteRecord } from "../ballot/record.ts";
import { type Sequence, type ShardId, sequence, shardId } from "../core/ids.ts";
import { asHash, type Hash } from "../core/sha256.ts";

/** A shard of an election, by the election's number. */
export interface ShardKey {
  readonly election: number;
  readonly shard: ShardId;
}

export interface HeadRow extends ChainHead {
  readonly election: number;
  readonly closed: boolean;
  readonly sealedSequence: Sequence;
}

/** A voter and a request of theirs. */
export interface VoterKey extends ShardKey {
  readonly voterPseudonym: Uint8Array;
  readonly requestToken: Uint8Array;
}

/** The vote of a voter who has one: that of the same request, or else the latest. */
export interface KnownVote {
  /** Of the voter in the list that was asked for. */
  readonly index: number;
  readonly sameRequest: boolean;
  readonly sequence: Sequence;
  readonly revision: number;
  readonly castAt: number;
  readonly hash: Hash;
}

export interface NewRecord extends VoteRecord {
  readonly election: number;
  readonly requestToken: Uint8Array;
}

export interface NewHead extends ChainHead {
  readonly election: number;
}

/** The shards and voters of a group of votes. */
export interface Group {
  /** In order of election and shard, none twice. */
  readonly shards: readonly ShardKey[];
  readonly voters: readonly VoterKey[];
}

/** What the database has of a group, under the locks of its heads. */
export interface Found {
  readonly heads: readonly HeadRow[];
  readonly votes: readonly KnownVote[];
}

/** What a group adds. */
export interface Writes {
  readonly records: readonly NewRecord[];
  /** The new head of each shard that has a record here. */
  readonly heads: readonly NewHead[];
}

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

export function headOf(row: HeadColumns): HeadRow {
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

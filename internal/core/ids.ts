// Identifiers that must not be mixed up. Each is made only by the function of its name, which checks it.

declare const brand: unique symbol;
type Brand<T, Name> = T & { readonly [brand]: Name };

/** Names an election everywhere: in URLs, object keys and stream subjects. 1–63 of a–z, 0–9 and inner hyphens. */
export type ElectionId = Brand<string, "ElectionId">;
/** A logical shard of an election, 0 to the manifest's number of shards less one. */
export type ShardId = Brand<number, "ShardId">;
/** A record's place in its shard's chain: 1, 2, 3 … without a gap. 0 stands for "before the first". */
export type Sequence = Brand<number, "Sequence">;
/** A vote's number in its election: (sequence − 1) × shards + shard + 1. */
export type VoteId = Brand<number, "VoteId">;
/** How many entries a log has. */
export type TreeSize = Brand<number, "TreeSize">;

/** The most shards a manifest may ask for. */
export const MAX_SHARDS = 256;

const ELECTION_ID = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

export function isElectionId(text: string): text is ElectionId {
  return ELECTION_ID.test(text);
}

export function electionId(text: string): ElectionId {
  if (!isElectionId(text)) {
    throw new RangeError("an election id is 1 to 63 of a-z, 0-9 and inner hyphens");
  }
  return text;
}

export function shardId(value: number): ShardId {
  if (!Number.isInteger(value) || value < 0 || value >= MAX_SHARDS) {
    throw new RangeError(`a shard is an integer from 0 to ${MAX_SHARDS - 1}`);
  }
  return value as ShardId;
}

export function sequence(value: number | bigint): Sequence {
  return safeCount("a sequence", value) as Sequence;
}

export function voteId(value: number | bigint): VoteId {
  const id = safeCount("a vote id", value);
  if (id === 0) throw new RangeError("a vote id is at least 1");
  return id as VoteId;
}

export function treeSize(value: number | bigint): TreeSize {
  return safeCount("a tree size", value) as TreeSize;
}

/** Counts are plain numbers: 2^53 − 1 is 30 million times 300 million votes, and BigInt costs an allocation each. */
function safeCount(what: string, value: number | bigint): number {
  const count = Number(value);
  if (!Number.isSafeInteger(count) || count < 0) {
    throw new RangeError(`${what} is an integer from 0 to 2^53 - 1`);
  }
  return count;
}

/** The vote id of a position. Ids are dense when shards grow evenly and never collide. */
export function voteIdOf(shard: ShardId, seq: Sequence, shards: number): VoteId {
  return voteId((seq - 1) * shards + shard + 1);
}

/** The position a vote id names; the inverse of `voteIdOf`. */
export function positionOf(id: VoteId, shards: number): { shard: ShardId; sequence: Sequence } {
  return { shard: shardId((id - 1) % shards), sequence: sequence(Math.floor((id - 1) / shards) + 1) };
}

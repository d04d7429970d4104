// The hash chain of a shard, from both sides: appending to it and verifying it. docs/spec.md, "Chain".
import { equalBytes } from "../core/bytes.ts";
import { messageOf } from "../core/errors.ts";
import { type Sequence, type ShardId, sequence, shardId } from "../core/ids.ts";
import type { Hash } from "../core/sha256.ts";
import { genesisHash, type RecordContent, recordHash, type VoteRecord } from "./record.ts";
import type { ShardHead } from "./shard-head.ts";
import { shardOf } from "./voter-key.ts";

/** The end of one shard's chain: all that is needed to append to it or to verify what follows. */
export interface ChainHead extends ShardHead {
  readonly shard: ShardId;
  /** The last record's time in microseconds since 1970; 0 before the first, or where it is not known. */
  readonly castAt: number;
}

/** Which rule of the chain a record breaks. */
export type ChainRule = "shard" | "sequence" | "time" | "encoding" | "hash";

/** A record that does not follow the one before it. Whoever gets one stops: the chain is broken or was tampered with. */
export class ChainError extends Error {
  override readonly name = "ChainError";
  readonly shard: ShardId;
  readonly sequence: Sequence;
  readonly rule: ChainRule;

  constructor(record: { shard: ShardId; sequence: Sequence }, rule: ChainRule, problem: string) {
    super(`shard ${record.shard}, sequence ${record.sequence}: ${problem}`);
    this.shard = record.shard;
    this.sequence = record.sequence;
    this.rule = rule;
  }
}

/** Where a shard begins. */
export function genesisHead(manifestHash: Hash, shard: ShardId): ChainHead {
  return { shard, sequence: sequence(0), hash: genesisHash(manifestHash, shard), castAt: 0 };
}

/** Where every shard of an election begins, in order of shard. */
export function genesisHeads(manifestHash: Hash, shards: number): ChainHead[] {
  return Array.from({ length: shards }, (_, shard) => genesisHead(manifestHash, shardId(shard)));
}

/** The head after `record`. Throws a ChainError unless the record is exactly the one that may follow `head`. */
export function verifyNext(head: ChainHead, record: VoteRecord, shards: number): ChainHead {
  if (record.shard !== head.shard) {
    throw new ChainError(record, "shard", `in a run of shard ${head.shard}`);
  }
  if (record.sequence !== head.sequence + 1) {
    throw new ChainError(record, "sequence", `follows sequence ${head.sequence}`);
  }
  if (record.castAt < head.castAt) {
    throw new ChainError(record, "time", "cast before the record it follows");
  }
  const expected = hashAfter(head, record, shards);
  if (!equalBytes(record.hash, expected)) {
    throw new ChainError(record, "hash", "its hash does not cover its content and the record before");
  }
  // Last, because it blames whoever appended the record and not what became of it since: the one-vote rule is kept
  // shard by shard, and a voter in two shards would escape it.
  if (shardOf(record.voterPseudonym, shards) !== record.shard) {
    throw new ChainError(record, "shard", "its voter belongs to another shard");
  }
  return { shard: head.shard, sequence: record.sequence, hash: record.hash, castAt: record.castAt };
}

/** The head after consecutive records of one shard. */
export function verifyRun(head: ChainHead, records: Iterable<VoteRecord>, shards: number): ChainHead {
  let end = head;
  for (const record of records) end = verifyNext(end, record, shards);
  return end;
}

function hashAfter(head: ChainHead, record: RecordContent, shards: number): Hash {
  try {
    return recordHash(head.hash, shards, record);
  } catch (error) {
    throw new ChainError(record, "encoding", messageOf(error));
  }
}

/** A vote on its way into a shard. */
export interface NewVote {
  readonly voterPseudonym: Uint8Array;
  readonly revision: number;
  readonly sealedChoice: Uint8Array;
}

/**
 * Chains votes to a head, in order. Whoever calls it holds the head's lock until the records are committed.
 *
 * All get the time `nowMicros`, or the head's time where the clock is behind it: another replica's clock may be ahead
 * of this one's, and within a shard time never goes backwards.
 */
export function appendVotes(
  head: ChainHead,
  votes: readonly NewVote[],
  { shards, nowMicros }: { shards: number; nowMicros: number },
): { records: VoteRecord[]; head: ChainHead } {
  const { shard } = head;
  const castAt = Math.max(nowMicros, head.castAt);
  const records: VoteRecord[] = [];
  let end = head;
  for (const { voterPseudonym, revision, sealedChoice } of votes) {
    const next = sequence(end.sequence + 1);
    const content = { shard, sequence: next, voterPseudonym, revision, sealedChoice, castAt };
    if (shardOf(voterPseudonym, shards) !== shard) {
      throw new ChainError(content, "shard", "its voter belongs to another shard");
    }
    const hash = hashAfter(end, content, shards);
    records.push({ ...content, hash });
    end = { shard, sequence: next, hash, castAt };
  }
  return { records, head: end };
}

/** Verifies the records of a whole election as they come, shards in any mixture. */
export class ChainVerifier {
  readonly #heads: ChainHead[];

  /** `heads` has one for each shard, in order: `genesisHeads` or where an earlier verification ended. */
  constructor({ heads }: { heads: readonly ChainHead[] }) {
    heads.forEach((head, shard) => {
      if (head.shard !== shard) throw new RangeError("chain heads must be in order of shard, one for each");
    });
    this.#heads = [...heads];
  }

  get heads(): readonly ChainHead[] {
    return this.#heads;
  }

  /** Accepts the next record of its shard, or throws a ChainError and stays where it was. */
  accept(record: VoteRecord): void {
    const head = this.#heads[record.shard];
    if (!head) throw new ChainError(record, "shard", `the election has ${this.#heads.length} shards`);
    this.#heads[record.shard] = verifyNext(head, record, this.#heads.length);
  }
}

// What a repair needs of a database instance. internal/postgres fits it; failures are ServiceErrors.
import type { ChainHead } from "../ballot/chain.ts";
import type { VoteRecord } from "../ballot/record.ts";
import type { ElectionId, Sequence, ShardId } from "../core/ids.ts";
import type { Hash } from "../core/sha256.ts";

/** A shard's row of shard_heads. */
export interface DatabaseHead extends ChainHead {
  readonly genesis: Hash;
  readonly closed: boolean;
  readonly sealedSequence: Sequence;
}

/** An election as the control instance has it. */
export interface DatabaseElection {
  /** By which all instances know it. */
  readonly number: number;
  readonly manifestBytes: Uint8Array;
  /** The instance of each shard, in order of shard. */
  readonly placement: readonly string[];
  readonly state: "creating" | "open" | "closing" | "closed";
}

/** How the staged records of a shard are in the database. Each that is not as it was sealed counts once. */
export interface DamagedRows {
  readonly missing: number;
  readonly changed: number;
  /** Rows that are another one of the staged records. */
  readonly moved: number;
  /** Rows that are one too many under their sequence. */
  readonly duplicate: number;
}

/** What a database has of a shard, as far as its repair depends on it. */
export interface ShardFacts {
  readonly shard: ShardId;
  readonly rows: DamagedRows;
  readonly head: DatabaseHead | undefined;
  /** The staged record that follows the head, where there is one. */
  readonly afterHead: VoteRecord | undefined;
  /** The rows right after the sealed ones, two at most. Undefined for a row that is no record. */
  readonly next: readonly (VoteRecord | undefined)[];
  /** Where the rows after the sealed ones end, if they continue them; read only where the head does not say. */
  readonly tail: ChainHead | undefined;
  /** The first row, other than was sealed, whose hash covers its content and the row before: as services write rows. */
  readonly appended: Sequence | undefined;
  /** A row after the sealed ones with voter and revision of a staged record that is not in the database. */
  readonly secondVote: Sequence | undefined;
}

export interface InstanceFacts {
  /** In order of shard, as they were asked for. */
  readonly shards: readonly ShardFacts[];
  /** Constraints and triggers that are not as the migrations made them. */
  readonly guards: readonly string[];
}

/** Where the evidence leaves a shard. */
export interface SealedEnd extends ChainHead {
  readonly genesis: Hash;
}

export interface RepairRequest {
  readonly election: number;
  /** How many the election has. */
  readonly shards: number;
  /** Those with shards on this instance, in order of shard. */
  readonly ends: readonly SealedEnd[];
}

/** What is to be written: the staged records of these shards, and these heads. */
export interface RepairOrder {
  readonly shards: readonly ShardId[];
  readonly heads: readonly DatabaseHead[];
}

export interface RepairedGuards {
  readonly restored: readonly string[];
  /** With the reason. */
  readonly left: readonly string[];
}

export interface InstanceRepaired extends RepairedGuards {
  /** How long heads were locked, so that nobody could vote there, in milliseconds. */
  readonly lockedMs: number;
}

/** One database instance, with records staged where only this session sees them, until it ends. */
export interface RepairInstance {
  /** What the placement map calls it. */
  readonly name: string;

  /** Keeps an election's state as it is until disposed of: nobody closes it meanwhile. On the control instance. */
  hold(
    electionId: ElectionId,
  ): Promise<AsyncDisposable & { readonly election: DatabaseElection | undefined }>;

  /** Adds sealed records that the database has not as they were sealed. */
  stage(records: readonly VoteRecord[]): Promise<void>;

  /** What the database has, at one moment. */
  examine(request: RepairRequest): Promise<InstanceFacts>;

  /**
   * In one transaction: locks the heads, so that nobody appends, looks again, and writes what `decide` orders: staged
   * records that are not there as they were sealed, heads, and the constraints and triggers that are missing.
   *
   * `decide` is synchronous, and when it throws nothing is written. When this rejects with `unavailable` and the reason
   * COMMIT_UNKNOWN all of it was written or nothing, otherwise nothing. It can be run again in any case.
   */
  repair(request: RepairRequest, decide: (facts: InstanceFacts) => RepairOrder): Promise<InstanceRepaired>;
}

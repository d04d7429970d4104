// What a restore needs of a database instance. internal/postgres fits it; failures are ServiceErrors.
import type { LogHead } from "../audit/head.ts";
import type { ChainHead } from "../ballot/chain.ts";
import type { VoteRecord } from "../ballot/record.ts";
import type { Sequence, ShardId } from "../core/ids.ts";
import type { Hash } from "../core/sha256.ts";
import type { ElectionState, ShardKey, StoredElection, StoredHead } from "../shard/ports.ts";

/** What an instance has of one shard of an election. */
export interface FoundShard {
  readonly shard: ShardId;
  /** How many records there are, and the highest sequence among them: equal where none is missing. */
  readonly records: number;
  readonly last: Sequence;
  readonly head: FoundHead | undefined;
}

export type FoundHead = StoredHead & { readonly genesis: Hash };

/** A shard's head as it is to be. */
export interface RestoredHead extends ChainHead {
  readonly genesis: Hash;
  readonly closed: boolean;
  readonly sealedSequence: Sequence;
}

export interface FoundElections {
  /** The control instance's own. */
  readonly elections: readonly StoredElection[];
  readonly copies: readonly StoredElection[];
  /** The highest number that anything here has, 0 where there is nothing. */
  readonly highestNumber: number;
}

/** What only the control instance has of an election. */
export interface ControlData {
  readonly logHead: LogHead;
  readonly state: ElectionState;
}

/** One database instance, to be filled. */
export interface RestoreInstance {
  /** What the placement map calls it. */
  readonly name: string;
  /** How many `insert`s it works on at once. */
  readonly lanes: number;

  /** Brings the schema to this program's. */
  migrate(): Promise<void>;

  /**
   * Keeps the services out until `admit`, whatever becomes of this process, and other restores out until this object is
   * disposed of: nobody is to vote into half a chain. Answers whether the services were in until now; an earlier run that
   * did not come to its end has left them out. Rejects with `failed-precondition`, and leaves everything as it was, while
   * one of them or another restore is connected.
   */
  shutOut(): Promise<boolean>;
  admit(): Promise<void>;

  findElections(): Promise<FoundElections>;
  findLogHead(election: StoredElection): Promise<LogHead | undefined>;
  /** In order of shard; those of which there is neither head nor record are missing. */
  findShards(election: number): Promise<FoundShard[]>;

  /** The first of these records, in order of shard and sequence, that is not here exactly as it is there. */
  findDifference(
    election: number,
    records: readonly VoteRecord[],
  ): Promise<{ readonly shard: ShardId; readonly sequence: Sequence } | undefined>;

  /** Records in order, `first` and `last` included. Those that are not there are missing. */
  readRecords(key: ShardKey, first: Sequence, last: Sequence): Promise<VoteRecord[]>;

  /**
   * Puts the indexes of records off until `index`, if there are no records. Sorting all of them at the end takes a part of
   * the time that adding each at its place takes, the more so the less of an index fits into memory.
   */
  putIndexesOff(): Promise<void>;
  /** Makes the indexes that are missing; without them nothing is looked for and nobody let in. */
  index(): Promise<void>;

  /**
   * Adds an election in state `creating` under its number, unless it is there. The next election that is created gets a
   * number above `highest`.
   */
  addElection(election: StoredElection, highest: number): Promise<void>;

  /** Adds records of an election, all or none. Durable when it resolves. */
  insert(election: number, records: readonly VoteRecord[]): Promise<void>;

  /**
   * In one transaction: the heads, the copy of the election and, on the control instance, where the log stands and the
   * election's state, with which it becomes visible. What is there already moves forward.
   */
  finish(
    election: StoredElection,
    heads: readonly RestoredHead[],
    control: ControlData | undefined,
  ): Promise<void>;
}

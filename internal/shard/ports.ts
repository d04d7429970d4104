// What ShardRouter needs of the world. internal/postgres and internal/stream fit these; failures are ServiceErrors, whose
// kind says what is known: `unavailable` is an instance that cannot be reached or an answer that was lost, `aborted` a
// transaction rolled back for a reason that passes, `failed-precondition` data that a constraint refused.
import type { ChainHead } from "../ballot/chain.ts";
import type { VoteRecord } from "../ballot/record.ts";
import type { ElectionId, Sequence, ShardId } from "../core/ids.ts";
import type { Hash } from "../core/sha256.ts";

/** A shard of an election, by the election's number. */
export interface ShardKey {
  readonly election: number;
  readonly shard: ShardId;
}

/** A shard's head as stored. */
export interface StoredHead extends ChainHead {
  readonly election: number;
  /** Whether the sequence is final. */
  readonly closed: boolean;
  /** How far AuditService said the shard is sealed. */
  readonly sealedSequence: Sequence;
  /** What the chain begins at: it ties the head to one manifest, which the election's number does not. */
  readonly genesis: Hash;
}

/** A voter and a request of theirs. */
export interface VoterKey extends ShardKey {
  readonly voterPseudonym: Uint8Array;
  readonly requestToken: Uint8Array;
}

/** The vote of a voter who has one: that of the same request, or else the latest. */
export interface KnownVote {
  /** Of the voter in `Group.voters`. */
  readonly index: number;
  readonly sameRequest: boolean;
  readonly sequence: Sequence;
  readonly revision: number;
  readonly castAt: number;
  readonly hash: Hash;
}

/** The shards and voters of a group of votes. */
export interface Group {
  /** In order of election and shard, none twice: the order of locking. */
  readonly shards: readonly ShardKey[];
  readonly voters: readonly VoterKey[];
}

/** What an instance has of a group, under the locks of its heads. Heads and votes that are not there are missing. */
export interface Found {
  readonly heads: readonly StoredHead[];
  readonly votes: readonly KnownVote[];
}

export interface NewRecord extends VoteRecord {
  readonly election: number;
  readonly requestToken: Uint8Array;
}

export interface NewHead extends ChainHead {
  readonly election: number;
}

/** What a group adds. */
export interface Writes {
  readonly records: readonly NewRecord[];
  /** The new head of each shard that has a record here. */
  readonly heads: readonly NewHead[];
}

/** What no service leaves in a database. */
export interface Astray {
  /** A row that belongs to no chain: nobody reads it with the others, and it may still stand in a voter's way. */
  readonly row: number | undefined;
  /** Whether the head has another hash than the row it names: the next vote would be chained to that. */
  readonly head: boolean;
}

/** One database instance with some shards. Every method is one transaction, and safe to repeat. */
export interface ShardInstance {
  /** What the placement map calls it. */
  readonly name: string;

  /** Of the elections with shards here. */
  readonly copies: ElectionCopies;

  /**
   * Locks the group's heads in order, then looks its voters up, then calls `decide` and commits what that returns. It
   * resolves when that is durable. When it rejects, the writes may be committed or not, unless `decide` was not called;
   * whoever repeats it finds all of them or none. One call at a time.
   */
  append(group: Group, decide: (found: Found) => Writes): Promise<void>;

  /**
   * Resolves when no append holds the shard's head any more that held it when this was called, not even one whose
   * connection is gone and whose server does not know yet.
   */
  settle(key: ShardKey): Promise<void>;

  /** Resolves if votes can be written here. */
  ping(): Promise<void>;

  /** Makes heads that are missing. Rejects with `data-loss` where one is another election's. */
  createHeads(election: number, heads: readonly { shard: ShardId; genesis: Hash }[]): Promise<void>;

  /** The heads of an election here, in order of shard. */
  readHeads(election: number): Promise<StoredHead[]>;

  /** The heads of all elections that have records after their sealed sequence. */
  readUnsealedHeads(): Promise<StoredHead[]>;

  /** Closes all heads of an election here, each under its lock. */
  closeHeads(election: number): Promise<void>;

  /** Records in order, `first` and `last` included. Those that are not there are missing. */
  readRecords(key: ShardKey, first: Sequence, last: Sequence): Promise<VoteRecord[]>;

  /** What is not of a shard's chain. A row that is missing is for whoever reads them. */
  findAstray(key: ShardKey): Promise<Astray>;

  /** Where a voter's records after a revision are, in order of revision; at most `limit`. */
  findRecords(
    key: ShardKey,
    voterPseudonym: Uint8Array,
    afterRevision: number,
    limit: number,
  ): Promise<{ readonly sequence: Sequence; readonly revision: number }[]>;

  /** Moves sealed sequences forward, never back; rejects with `failed-precondition` beyond a chain's end. */
  confirmSealed(election: number, shards: readonly { shard: ShardId; sequence: Sequence }[]): Promise<void>;
}

/** `creating` until every shard has its head. It only moves forward. */
export type ElectionState = "creating" | "open" | "closing" | "closed";

export interface NewElection {
  readonly electionId: ElectionId;
  /** Canonical JSON. */
  readonly manifestBytes: Uint8Array;
  /** The name of each shard's instance, in order of shard. */
  readonly placement: readonly string[];
  /** Microseconds since 1970. */
  readonly createdAt: number;
}

/** An election's number, which the tables of shards know it by, as some process has it. */
export interface NumberedElection {
  readonly election: number;
  readonly electionId: ElectionId;
}

export interface StoredElection extends NewElection, NumberedElection {
  readonly state: ElectionState;
}

/**
 * What an instance knows of elections by itself, so that they go on while the control instance is down: everything that
 * never changes. The state of a copy is `open` or `closing`, as the heads beside it say.
 */
export interface ElectionCopies {
  /** Adds a copy of an election that is created, unless it is there. */
  add(election: StoredElection): Promise<void>;
  find(id: ElectionId): Promise<StoredElection | undefined>;
  findByNumber(election: number): Promise<StoredElection | undefined>;
}

/** What elections there are: kept on the control instance. */
export interface ElectionStore {
  /** Adds an election in state `creating`, unless one of its id is there. */
  add(election: NewElection): Promise<void>;
  find(id: ElectionId): Promise<StoredElection | undefined>;
  findByNumber(election: number): Promise<StoredElection | undefined>;
  stateOf(election: number): Promise<ElectionState | undefined>;
  /** All that are created, in order of id. */
  list(): Promise<StoredElection[]>;
  /** Moves an election to its next state; nothing happens in another state than `from`. */
  advance(election: number, from: ElectionState, to: ElectionState): Promise<void>;
}

/** The way to AuditService. It may lose what it took: sequence numbers are dense, and gaps are read from here. */
export interface RecordPublisher {
  /** Settles within its own time limit. `body` is a RecordBatch. */
  publish(electionId: ElectionId, body: Uint8Array): Promise<void>;
}

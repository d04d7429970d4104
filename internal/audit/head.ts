import type { ShardHead } from "../ballot/shard-head.ts";
import { equalBytes } from "../core/bytes.ts";
import type { ElectionId, TreeSize } from "../core/ids.ts";
import type { Hash } from "../core/sha256.ts";

/** A size of a log, and the tree's root at it. */
export interface LogEnd {
  readonly treeSize: TreeSize;
  readonly root: Hash;
}

/** Where an election's log stands: the row whose compare-and-swap is the commit point. */
export interface LogHead extends LogEnd {
  readonly electionId: ElectionId;
  /** The last sealed record of each shard, in order of shard; the genesis before the first. */
  readonly shardHeads: readonly ShardHead[];
  /** Whether the last entry is the closing entry. */
  readonly closed: boolean;
  /** Microseconds since 1970. */
  readonly committedAt: number;
}

/** Keeps log heads. internal/postgres fits it. */
export interface HeadStore {
  load(electionId: ElectionId): Promise<LogHead | undefined>;
  /** Stores the first head of an election; false when there is one already. */
  create(head: LogHead): Promise<boolean>;
  /** Replaces `old` by `next`; false when the stored head is not `old`. Durable when it answers true. */
  compareAndSwap(old: LogHead, next: LogHead): Promise<boolean>;
  /**
   * Makes this process the active one of an election, until the lease is disposed of or its session ends; undefined
   * while another process is. It spares a standby needless work: what keeps history single is the swap.
   */
  tryLock(electionId: ElectionId): Promise<Lease | undefined>;
}

export interface Lease extends AsyncDisposable {
  /** Aborted when the session that held the lease is lost. */
  readonly lost: AbortSignal;
}

/** Whether two heads are the same log. */
export function sameHead(a: LogEnd, b: LogEnd): boolean {
  return a.treeSize === b.treeSize && equalBytes(a.root, b.root);
}

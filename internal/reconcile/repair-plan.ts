// What becomes of a shard. Rows that the evidence has are made again; a row that may be an acknowledged vote and is nowhere
// else is never touched.
import { ChainError, type ChainHead, verifyNext } from "../ballot/chain.ts";
import type { VoteRecord } from "../ballot/record.ts";
import { equalBytes } from "../core/bytes.ts";
import type { Sequence, ShardId } from "../core/ids.ts";
import type { DamagedRows, DatabaseHead, SealedEnd, ShardFacts } from "./repair-ports.ts";

export type ShardPlan =
  | { readonly kind: "nothing"; readonly shard: ShardId }
  | { readonly kind: "refused"; readonly shard: ShardId; readonly rows: DamagedRows; readonly reason: string }
  | {
      readonly kind: "repair";
      readonly shard: ShardId;
      readonly rows: DamagedRows;
      /** The head as it is to be; undefined where it is right. */
      readonly head: DatabaseHead | undefined;
    };

export interface PlanShardOptions {
  readonly facts: ShardFacts;
  readonly end: SealedEnd;
  /** How many the election has. */
  readonly shards: number;
  /** Whether the election takes no more votes. */
  readonly closed: boolean;
  /** The last sequence that is known to be acknowledged. */
  readonly acknowledged: Sequence;
}

export function planShard(options: PlanShardOptions): ShardPlan {
  const { facts, end } = options;
  const { shard, rows, head, appended, secondVote } = facts;
  const refused = (reason: string): ShardPlan => ({ kind: "refused", shard, rows, reason });

  if (head && !equalBytes(head.genesis, end.genesis)) {
    return refused("its head is of another election: this is not the instance that had the shard");
  }
  // Services append to the head alone. While that is on the sealed chain, no row beside the chain is theirs.
  const onChain = head !== undefined && isOnChain(head, options);
  if (!onChain && appended !== undefined) {
    return refused(
      `from sequence ${appended} on it has other rows than were sealed, chained to the ones before as services write them. ` +
        "They may be votes that were acknowledged after an older backup was restored, and are nowhere else: save them, and " +
        "delete them as the superuser, before this is run again",
    );
  }
  if (secondVote !== undefined) {
    return refused(
      `sequence ${secondVote}, not sealed yet, is the vote of a voter whose sealed vote is gone from the database: ` +
        "both cannot be in it, and neither is to be dropped",
    );
  }
  // Ahead of the evidence it stays, whatever its rows: what is not sealed is not for this to judge.
  const stays = head && (head.sequence > end.sequence || (onChain && head.sequence === end.sequence));
  const target = stays ? undefined : headOf(options);
  if (typeof target === "string") return refused(target);
  const damaged = rows.missing + rows.changed + rows.moved + rows.duplicate;
  return damaged > 0 || target ? { kind: "repair", shard, rows, head: target } : { kind: "nothing", shard };
}

function isOnChain(head: DatabaseHead, { facts, end, shards }: PlanShardOptions): boolean {
  if (head.sequence === end.sequence) return equalBytes(head.hash, end.hash);
  if (head.sequence > end.sequence) return continued(end, facts.next, shards);
  return follows(head, facts.afterHead, shards);
}

/** Whether the first of these rows continues the chain, and is the only one of its sequence. */
function continued(end: ChainHead, [first, ...more]: ShardFacts["next"], shards: number): boolean {
  return (
    follows(end, first, shards) && more.every((row) => row !== undefined && row.sequence > end.sequence + 1)
  );
}

/** What the head is to be, or why it cannot be said. */
function headOf({ facts, end, closed, acknowledged }: PlanShardOptions): DatabaseHead | string {
  const last = facts.next.length === 0 ? end : facts.tail;
  if (!last) {
    return (
      "its head is lost or moved back, and the rows after the sealed ones do not continue them: where new votes are to " +
      "follow nobody can say"
    );
  }
  if (last.sequence < acknowledged) {
    return (
      `its head is lost or moved back, and votes up to sequence ${acknowledged} are acknowledged that the database has lost ` +
      "or the public log does not cover yet: wait until AuditService has sealed them and they are public, and run this again"
    );
  }
  const { shard, sequence, hash } = last;
  // A head's time never goes back.
  const castAt = Math.max(last.castAt, facts.head?.castAt ?? 0);
  return { shard, sequence, hash, castAt, genesis: end.genesis, closed, sealedSequence: end.sequence };
}

function follows(head: ChainHead, record: VoteRecord | undefined, shards: number): boolean {
  if (!record) return false;
  try {
    verifyNext(head, record, shards);
    return true;
  } catch (error) {
    if (error instanceof ChainError) return false;
    throw error;
  }
}

import type { ShardHead } from "../ballot/shard-head.ts";
import { type ElectionId, voteIdOf } from "../core/ids.ts";
import { checkpointKey } from "../evidence/layout.ts";
import type { Segment } from "../evidence/segment.ts";
import { parseVoteCheckpoint, type VoteCheckpoint } from "../evidence/vote-checkpoint.ts";
import type { ObjectStore, StoredObject } from "../worm/object-store.ts";
import { HaltError } from "./halt.ts";
import type { LogEnd } from "./head.ts";
import { lastBlockOf, segmentsTo } from "./stored-segments.ts";

/** All that `checkpoint.json` says of a finished block, but for the signature. */
export type Block = Omit<VoteCheckpoint, "electionId" | "note">;

type LastVote = NonNullable<VoteCheckpoint["lastVote"]>;

/**
 * Reads the finished block that ends at `end` back from the evidence store: what its checkpoint vouches for is what lies
 * there, whoever wrote it and whenever. Putting a segment's own bytes again is how the store says under which version
 * it has them.
 */
export async function readBlock(evidence: ObjectStore, election: ElectionId, end: LogEnd): Promise<Block> {
  const number = lastBlockOf(end.treeSize);
  const found = await segmentsTo(evidence, election, end);
  const stored: StoredObject[] = [];
  for (const { key, body } of found) stored.push(await evidence.put(key, body));
  const segments = found.map(({ segment }) => segment);
  const last = segments.at(-1);
  if (!last) throw new RangeError("the empty log has no block");
  return {
    number,
    treeSize: end.treeSize,
    treeRoot: end.root,
    segments: stored,
    lastVote: lastVoteIn(segments) ?? (await lastVoteBefore(evidence, election, number)),
    shardHeads: headsAfter(last),
  };
}

/** Looks from the end: nearly always the last segment has it. */
function lastVoteIn(segments: readonly Segment[]): LastVote | undefined {
  for (const { entries, shardHeads } of segments.toReversed()) {
    const vote = entries.findLast((entry) => entry.type === "vote");
    if (vote) {
      const { shard, sequence, hash } = vote.record;
      return { id: voteIdOf(shard, sequence, shardHeads.length), hash };
    }
  }
  return undefined;
}

/** A block may hold the closing entry alone; the block before it, if there is one, has its checkpoint already. */
async function lastVoteBefore(
  evidence: ObjectStore,
  election: ElectionId,
  number: number,
): Promise<LastVote | null> {
  if (number === 1) return null;
  const key = checkpointKey(election, number - 1);
  const body = await evidence.get(key);
  if (!body) throw new HaltError(`${key} is missing from the evidence store`);
  return parseVoteCheckpoint(body).lastVote;
}

function headsAfter({ shardHeads, entries }: Segment): ShardHead[] {
  const heads = [...shardHeads];
  for (const entry of entries) {
    if (entry.type === "vote")
      heads[entry.record.shard] = { sequence: entry.record.sequence, hash: entry.record.hash };
  }
  return heads;
}

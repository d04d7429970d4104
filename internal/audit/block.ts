import type { ShardHead } from "../ballot/shard-head.ts";
import { type ElectionId, type TreeSize, treeSize, voteIdOf } from "../core/ids.ts";
import { checkpointKey, checkpointNumberOf } from "../evidence/layout.ts";
import { decodeSegment, type Segment } from "../evidence/segment.ts";
import { parseVoteCheckpoint, type VoteCheckpoint } from "../evidence/vote-checkpoint.ts";
import type { ObjectStore, StoredObject } from "../worm/object-store.ts";
import { segmentKeys } from "./evidence-replay.ts";
import { HaltError } from "./halt.ts";

/** All that `checkpoint.json` says of a finished block, but for the signature. */
export type Block = Omit<VoteCheckpoint, "electionId" | "note">;

type LastVote = NonNullable<VoteCheckpoint["lastVote"]>;

/** The number of the block a log of this size ends in; 0 for the empty log. */
export function lastBlockOf(size: TreeSize): number {
  return size === 0 ? 0 : checkpointNumberOf(size - 1);
}

/**
 * Reads a finished block back from the evidence store: what its checkpoint vouches for is what lies there, whoever
 * wrote it and whenever. Putting a segment's own bytes again is how the store says under which version it has them.
 */
export async function readBlock(evidence: ObjectStore, election: ElectionId, number: number): Promise<Block> {
  const segments: StoredObject[] = [];
  const bodies: Uint8Array[] = [];
  for (const key of await segmentKeys(evidence, election, number)) {
    const body = await evidence.get(key);
    if (!body) throw new HaltError(`${key} is listed by the evidence store and cannot be read from it`);
    segments.push(await evidence.put(key, body));
    bodies.push(body);
  }
  const lastBody = bodies.at(-1);
  if (!lastBody) throw new HaltError(`block ${number} has no segments in the evidence store`);
  const last = decodeSegment(lastBody);
  return {
    number,
    treeSize: treeSize(last.firstIndex + last.entries.length),
    treeRoot: last.rootAfter,
    segments,
    lastVote: lastVoteIn(bodies) ?? (await lastVoteBefore(evidence, election, number)),
    shardHeads: headsAfter(last),
  };
}

/** Looks from the end: nearly always the last segment has it. */
function lastVoteIn(bodies: readonly Uint8Array[]): LastVote | undefined {
  for (const body of bodies.toReversed()) {
    const { entries, shardHeads } = decodeSegment(body);
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

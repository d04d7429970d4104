import { equalBytes } from "../core/bytes.ts";
import { voteIdOf } from "../core/ids.ts";
import { mapConcurrently } from "../core/map-concurrently.ts";
import { checkpointNumberOf, voteKey } from "../evidence/layout.ts";
import type { Segment, SegmentLines } from "../evidence/segment.ts";
import type { SegmentEntry, SegmentLine } from "../evidence/segment-line.ts";
import { encodeVoteObject } from "../evidence/vote-object.ts";
import {
  ObjectConflictError,
  type ObjectStore,
  ObjectStoreError,
  type StoredObject,
} from "../worm/object-store.ts";
import { HaltError } from "./halt.ts";

/** Each takes a round trip to the store and back: a bucket answers hundreds at once, a disk flushes them together. */
const VOTES_AT_ONCE = 64;

/**
 * Writes each vote of a segment as an object of its own and reads it back, and answers the segment that refers to them.
 * A record always has the same bytes, so that doing it again, here or in another process, gives the same references. A
 * crash on the way leaves objects that no segment names; nothing of the log depends on them.
 */
export async function putVotes(evidence: ObjectStore, segment: Segment): Promise<SegmentLines> {
  const { electionId, firstIndex, shardHeads, entries } = segment;
  const refer = async (entry: SegmentEntry, position: number): Promise<SegmentLine> => {
    if (entry.type !== "vote") return entry;
    const { shard, sequence } = entry.record;
    const id = voteIdOf(shard, sequence, shardHeads.length);
    const key = voteKey(electionId, checkpointNumberOf(firstIndex + position), id);
    const body = encodeVoteObject(entry.record);
    const { versionId, sha256 } = await putAndReadBack(evidence, key, body).catch(orHalt);
    return { type: "vote-ref", id, versionId, sha256 };
  };
  return { ...segment, entries: await mapConcurrently(entries, VOTES_AT_ONCE, refer) };
}

/**
 * An object counts as evidence once it was read back. Throws a HaltError when it is not what was written. That nothing
 * is read is no such thing: an answer on the way may have been wrong, and the same put again settles it.
 */
export async function putAndReadBack(
  evidence: ObjectStore,
  key: string,
  body: Uint8Array,
): Promise<StoredObject> {
  const stored = await evidence.put(key, body);
  const back = await evidence.get(key, stored.versionId);
  if (!back) throw new ObjectStoreError("failed", "NotReadBack", `${key} was put and cannot be read back`);
  if (!equalBytes(back, body)) throw new HaltError(`${key} does not read back as it was written`);
  return stored;
}

/** Every process writes the same bytes of a record, so that other ones are another record: two histories of its shard. */
function orHalt(error: unknown): never {
  if (!(error instanceof ObjectConflictError)) throw error;
  throw new HaltError(error.message, { cause: error });
}

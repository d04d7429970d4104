import type { VoteRecord } from "../ballot/record.ts";
import type { ElectionId, Sequence, ShardId } from "../core/ids.ts";
import { checkpointNumberOf, parseSegmentKey } from "../evidence/layout.ts";
import { decodeSegment, type Segment } from "../evidence/segment.ts";
import type { ObjectStore } from "../worm/object-store.ts";
import { HaltError } from "./halt.ts";
import { segmentKeys } from "./stored-segments.ts";

/** A sealed record and where it lies. */
export interface LocatedRecord {
  readonly index: number;
  readonly record: VoteRecord;
  readonly segmentKey: string;
}

/** The record behind a log index; undefined when the entry there is not a vote. */
export async function recordAt(
  evidence: ObjectStore,
  election: ElectionId,
  index: number,
): Promise<LocatedRecord | undefined> {
  for (const key of await segmentKeys(evidence, election, checkpointNumberOf(index))) {
    const range = parseSegmentKey(key);
    if (!range || index < range.first || index > range.last) continue;
    const entry = (await readSegment(evidence, key)).entries[index - range.first];
    return entry?.type === "vote" ? { index, record: entry.record, segmentKey: key } : undefined;
  }
  throw new HaltError(`no segment in the evidence store has log index ${index}`);
}

/**
 * A sealed record by its place in its shard. There is no index of these, and none is needed: every segment says where
 * each shard stood before it, which only grows along the log, so that blocks and then segments can be halved.
 */
export async function recordOf(
  evidence: ObjectStore,
  election: ElectionId,
  place: { readonly shard: ShardId; readonly sequence: Sequence; readonly blocks: number },
): Promise<LocatedRecord | undefined> {
  const { shard, sequence, blocks } = place;
  const startsBefore = (segment: Segment) => (segment.shardHeads[shard]?.sequence ?? 0) < sequence;

  const block = await lastWhere(blocks, async (i) => {
    const [first] = await segmentKeys(evidence, election, i + 1);
    return first !== undefined && startsBefore(await readSegment(evidence, first));
  });
  const keys = await segmentKeys(evidence, election, block + 1);
  const at = await lastWhere(keys.length, async (i) =>
    startsBefore(await readSegment(evidence, keys[i] ?? "")),
  );
  const key = keys[at];
  if (key === undefined) return undefined;
  const { entries, firstIndex } = await readSegment(evidence, key);
  for (const [offset, entry] of entries.entries()) {
    if (entry.type === "vote" && entry.record.shard === shard && entry.record.sequence === sequence) {
      return { index: firstIndex + offset, record: entry.record, segmentKey: key };
    }
  }
  return undefined;
}

/** The last i in 0 … count − 1 for which `test` holds, where it holds for a first part of them; 0 when for none. */
async function lastWhere(count: number, test: (i: number) => Promise<boolean>): Promise<number> {
  let low = 0;
  let high = count - 1;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (await test(middle)) low = middle;
    else high = middle - 1;
  }
  return low;
}

async function readSegment(evidence: ObjectStore, key: string): Promise<Segment> {
  const body = await evidence.get(key);
  if (!body) throw new HaltError(`${key} is missing from the evidence store`);
  return decodeSegment(body);
}

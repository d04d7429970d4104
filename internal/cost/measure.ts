import type { ElectionId } from "../core/ids.ts";
import { mapConcurrently } from "../core/map-concurrently.ts";
import { parseSegmentKey, parseVoteKey, votesPrefix } from "../evidence/layout.ts";
import type { ObjectStore } from "../worm/object-store.ts";
import type { Layout, Measures } from "./cost.ts";

/** Keys that are looked at; a store may have three hundred million. */
const MOST_LISTED = 50_000;
/** Objects of a kind whose sizes are asked for, one request each: enough to be a mean. */
const SAMPLE = 700;
const AT_ONCE = 16;

export interface Measured {
  readonly layout: Layout;
  /** What was there to be measured. */
  readonly measures: Partial<Measures>;
  readonly objects: number;
}

/** The sizes of an election's objects as they lie in its evidence store: of some of each kind where there are many. */
export async function measure(
  store: Pick<ObjectStore, "list" | "stat">,
  election: ElectionId,
): Promise<Measured> {
  const segmentKeys: string[] = [];
  const voteKeys: string[] = [];
  const checkpointKeys: string[] = [];
  let listed = 0;
  for await (const key of store.list(votesPrefix(election))) {
    if (parseSegmentKey(key)) segmentKeys.push(key);
    else if (parseVoteKey(key)) voteKeys.push(key);
    else if (key.endsWith("/checkpoint.json")) checkpointKeys.push(key);
    if (++listed === MOST_LISTED) break;
  }
  const segments = await sizes(store, segmentKeys);
  const votes = await sizes(store, voteKeys);
  const checkpoints = await sizes(store, checkpointKeys);
  const entries = segments.reduce((sum, { key }) => sum + entriesIn(key), 0);
  const measures = {
    ...(entries > 0 && { segmentBytes: total(segments) / entries, segmentVotes: entries / segments.length }),
    ...(votes.length > 0 && { voteBytes: total(votes) / votes.length }),
    ...(checkpoints.length > 0 && { checkpointBytes: total(checkpoints) / checkpoints.length }),
  };
  return {
    layout: votes.length > 0 ? "object-per-vote" : "segments",
    measures,
    objects: segments.length + votes.length + checkpoints.length,
  };
}

interface Sized {
  readonly key: string;
  readonly bytes: number;
}

/** Of objects that are spread evenly over `keys`. */
async function sizes(store: Pick<ObjectStore, "stat">, keys: readonly string[]): Promise<Sized[]> {
  const step = Math.max(1, keys.length / SAMPLE);
  const sample = keys.filter((_, index) => Math.floor(index / step) !== Math.floor((index - 1) / step));
  const found = await mapConcurrently(sample, AT_ONCE, async (key) => {
    const info = await store.stat(key);
    return info && { key, bytes: info.bytes };
  });
  return found.filter((each) => each !== undefined);
}

function total(objects: readonly Sized[]): number {
  return objects.reduce((sum, { bytes }) => sum + bytes, 0);
}

function entriesIn(key: string): number {
  const { first, last } = parseSegmentKey(key) ?? { first: 0, last: -1 };
  return last - first + 1;
}

import type { ElectionId } from "../core/ids.ts";
import { parseSegmentKey, votesPrefix } from "../evidence/layout.ts";
import type { ObjectStore } from "../worm/object-store.ts";
import type { Layout, Measures } from "./cost.ts";

/** Enough to be a mean; a store may have three hundred million objects. */
const MOST_OBJECTS = 50_000;

export interface Measured {
  readonly layout: Layout;
  /** What was there to be measured. */
  readonly measures: Partial<Measures>;
  readonly objects: number;
}

/** The sizes of an election's objects as they lie in its evidence store, of the first ones where there are many. */
export async function measure(
  store: Pick<ObjectStore, "list" | "stat">,
  election: ElectionId,
): Promise<Measured> {
  const [segments, votes, checkpoints] = [new Mean(), new Mean(), new Mean()];
  let entries = 0;
  let objects = 0;
  for await (const key of store.list(votesPrefix(election))) {
    if (objects === MOST_OBJECTS) break;
    const bytes = (await store.stat(key))?.bytes;
    if (bytes === undefined) continue;
    objects++;
    const range = parseSegmentKey(key);
    if (range) {
      segments.add(bytes);
      entries += range.last - range.first + 1;
    } else if (key.endsWith("/checkpoint.json")) checkpoints.add(bytes);
    else votes.add(bytes);
  }
  const measures = {
    ...(entries > 0 && { segmentBytes: segments.total / entries, segmentVotes: entries / segments.count }),
    ...(votes.count > 0 && { voteBytes: votes.total / votes.count }),
    ...(checkpoints.count > 0 && { checkpointBytes: checkpoints.total / checkpoints.count }),
  };
  return { layout: votes.count > 0 ? "object-per-vote" : "segments", measures, objects };
}

class Mean {
  count = 0;
  total = 0;

  add(value: number): void {
    this.count++;
    this.total += value;
  }
}

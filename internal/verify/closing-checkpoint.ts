import type { ElectionId } from "../core/ids.ts";
import { checkpointKey, checkpointNumberOf, parseSegmentKey, votesPrefix } from "../evidence/layout.ts";
import { decodeSegmentLines } from "../evidence/segment.ts";
import type { ObjectStore } from "../worm/object-store.ts";

/**
 * The key of the vote checkpoint that closes an election, if its turn to be written has come: the closing entry is
 * stored, and the checkpoint follows it once the Publisher has signed. That takes moments, or as long as the Publisher is
 * down. Undefined when it is there, or the election is open; also when an object makes no sense, which is for
 * verifyEvidence to say. Reads the last segment alone.
 */
export async function pendingClosingCheckpoint(
  store: Pick<ObjectStore, "get" | "list">,
  electionId: ElectionId,
): Promise<string | undefined> {
  let last: string | undefined;
  for await (const key of store.list(votesPrefix(electionId))) if (parseSegmentKey(key)) last = key;
  const range = last === undefined ? undefined : parseSegmentKey(last);
  if (last === undefined || range === undefined) return undefined;
  try {
    const body = await store.get(last);
    if (!body || decodeSegmentLines(body).entries.at(-1)?.type !== "closing") return undefined;
    const checkpoint = checkpointKey(electionId, checkpointNumberOf(range.first));
    return (await store.get(checkpoint)) ? undefined : checkpoint;
  } catch {
    return undefined;
  }
}

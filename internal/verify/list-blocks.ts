import type { ElectionId, VoteId } from "../core/ids.ts";
import {
  blockPrefix,
  checkpointKey,
  manifestKey,
  parseSegmentKey,
  parseVoteKey,
  type SegmentRange,
} from "../evidence/layout.ts";
import type { ObjectStore } from "../worm/object-store.ts";
import type { VerificationReport } from "./report.ts";

/** One version of an object, or a delete marker, as a store that has versions lists them: newest first. */
export interface ListedVersion {
  readonly key: string;
  readonly deleteMarker: boolean;
}

export interface SurveyOptions {
  readonly store: Pick<ObjectStore, "list">;
  readonly electionId: ElectionId;
  readonly report: VerificationReport;
  /** Lists every version under a prefix, in a store that has them: what was put over the evidence is then reported. */
  readonly listVersions?: ((prefix: string) => AsyncIterable<ListedVersion>) | undefined;
}

/** How far an election's evidence goes. */
export interface Survey {
  /** The last block with a segment; 0 where there is none. Vote objects alone are of a commit that is under way. */
  readonly lastBlock: number;
  /** The last block that has anything. */
  readonly lastListed: number;
  /** Entries, by the segments' names. */
  readonly entries: number;
}

/** Goes through an election's keys once, however many there are, and reports those that have no place. */
export async function survey(options: SurveyOptions): Promise<Survey> {
  const { store, electionId, report, listVersions } = options;
  let [lastBlock, lastListed, entries] = [0, 0, 0];
  const prefix = `${electionId}/`;
  for await (const key of listVersions ? firstVersions(listVersions(prefix), report) : store.list(prefix)) {
    if (key === manifestKey(electionId)) continue;
    const listed = blockOf(electionId, key);
    if (!listed) {
      report.problem({ object: key }, "has no place in an evidence store");
      continue;
    }
    lastListed = listed.number;
    if (!listed.segment) continue;
    lastBlock = listed.number;
    entries = Math.max(entries, listed.segment.last + 1);
  }
  return { lastBlock, lastListed, entries };
}

/** What lies over a first version hides or replaces it for whoever names no version. Readers of evidence do name one. */
async function* firstVersions(
  versions: AsyncIterable<ListedVersion>,
  report: VerificationReport,
): AsyncIterable<string> {
  let key: string | undefined;
  let [markers, objects] = [0, 0];
  const finish = function* () {
    if (key === undefined) return;
    if (objects > 1) report.warn({ object: key }, over(objects - 1, "newer version"));
    if (markers > 0) report.warn({ object: key }, over(markers, "delete marker"));
    if (objects > 0) yield key;
  };
  for await (const version of versions) {
    if (version.key !== key) {
      yield* finish();
      [key, markers, objects] = [version.key, 0, 0];
    }
    if (version.deleteMarker) markers++;
    else objects++;
  }
  yield* finish();
}

function over(count: number, what: string): string {
  return `has ${count} ${what}${count === 1 ? "" : "s"} over it; the first version is the evidence`;
}

export interface ListedBlock {
  readonly number: number;
  /** Of its segments, in order. */
  readonly segments: readonly string[];
  readonly hasCheckpoint: boolean;
  /** The votes that are objects of their own. */
  readonly votes: readonly VoteId[];
}

/** What one block has. */
export async function listBlock(
  store: Pick<ObjectStore, "list">,
  electionId: ElectionId,
  number: number,
): Promise<ListedBlock> {
  const segments: string[] = [];
  const votes: VoteId[] = [];
  let hasCheckpoint = false;
  for await (const key of store.list(blockPrefix(electionId, number))) {
    const listed = blockOf(electionId, key);
    if (listed?.vote !== undefined) votes.push(listed.vote);
    else if (listed?.segment) segments.push(key);
    else if (listed) hasCheckpoint = true;
  }
  return { number, segments, hasCheckpoint, votes };
}

interface ListedKey {
  readonly number: number;
  /** Undefined for a vote, and for the vote checkpoint. */
  readonly segment?: SegmentRange | undefined;
  readonly vote?: VoteId | undefined;
}

/** What a key is, if it has a place in a block. */
function blockOf(electionId: ElectionId, key: string): ListedKey | undefined {
  const number = Number(/\/checkpoint_(\d{10})\/[^/]+$/.exec(key)?.[1] ?? 0);
  if (number < 1 || !key.startsWith(blockPrefix(electionId, number))) return undefined;
  if (key === checkpointKey(electionId, number)) return { number };
  const vote = parseVoteKey(key)?.id;
  if (vote !== undefined) return { number, vote };
  const segment = parseSegmentKey(key);
  return segment && { number, segment };
}

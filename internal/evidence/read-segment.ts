// Reading a segment from its store, whichever layout it was written in. A store may have both.
import { FormatError } from "../ballot/format-error.ts";
import type { VoteRecord } from "../ballot/record.ts";
import { toHex } from "../core/bytes.ts";
import { mapConcurrently } from "../core/map-concurrently.ts";
import { sha256 } from "../core/sha256.ts";
import { checkpointNumberOf, voteKey } from "./layout.ts";
import { decodeSegmentLines, keyOfSegment, type Segment, type SegmentLines } from "./segment.ts";
import type { SegmentEntry, SegmentHeader, SegmentLine, VoteReference } from "./segment-line.ts";
import { decodeVoteObject, type NamedVote } from "./vote-object.ts";

/** What reading needs of a store. internal/worm fits it. */
export interface EvidenceSource {
  get(key: string, versionId?: string): Promise<Uint8Array | undefined>;
}

/** A segment as it lies in the evidence store. */
export interface FoundSegment {
  readonly key: string;
  /** The object. */
  readonly body: Uint8Array;
  readonly segment: Segment;
}

/** A vote that a segment refers to. */
export interface ReferredVote extends VoteReference, NamedVote {
  /** The log index of the entry. */
  readonly index: number;
}

/** Vote objects that are read at once. */
const VOTES_AT_ONCE = 64;

/**
 * The segment under a key, with the records of all its votes; undefined when there is no such object. Throws a
 * FormatError that names the object at fault: the segment, or a vote that is not there or not what the segment names.
 */
export async function readSegment(
  source: EvidenceSource,
  key: string,
  versionId?: string,
): Promise<FoundSegment | undefined> {
  const body = await source.get(key, versionId);
  if (!body) return undefined;
  const lines = decodeSegmentLines(body);
  if (keyOfSegment(lines) !== key) throw new FormatError(`${key} holds ${keyOfSegment(lines)}`);
  const segment = await resolveSegment(lines, (vote) => readVote(source, vote));
  return segment && { key, body, segment };
}

/**
 * The segment with what `read` answers in the place of each reference. Undefined when it answers that of one: then all
 * the others were read, too.
 */
export async function resolveSegment(
  segment: SegmentLines,
  read: (vote: ReferredVote) => Promise<VoteRecord | undefined>,
): Promise<Segment | undefined> {
  const { entries: lines } = segment;
  if (lines.every((line) => line.type !== "vote-ref")) return { ...segment, entries: lines };
  const resolve = async (line: SegmentLine, position: number): Promise<SegmentEntry | undefined> => {
    if (line.type !== "vote-ref") return line;
    const record = await read(referredVote(segment, line, position));
    return record && { type: "vote", record };
  };
  const resolved = await mapConcurrently(lines, VOTES_AT_ONCE, resolve);
  const entries = resolved.filter((entry) => entry !== undefined);
  return entries.length === resolved.length ? { ...segment, entries } : undefined;
}

/** The entry that a line of a segment stands for. No other vote is read. */
export async function readEntry(
  source: EvidenceSource,
  segment: SegmentPlace,
  position: number,
  line: SegmentLine,
): Promise<SegmentEntry> {
  if (line.type !== "vote-ref") return line;
  return { type: "vote", record: await readVote(source, referredVote(segment, line, position)) };
}

type SegmentPlace = Pick<SegmentHeader, "electionId" | "firstIndex" | "shardHeads">;

/** Where the vote lies that the line at a position of the segment refers to. */
function referredVote(
  { electionId, firstIndex, shardHeads }: SegmentPlace,
  line: VoteReference,
  position: number,
): ReferredVote {
  const index = firstIndex + position;
  const key = voteKey(electionId, checkpointNumberOf(index), line.id);
  return { ...line, key, index, shards: shardHeads.length };
}

async function readVote(source: EvidenceSource, vote: ReferredVote): Promise<VoteRecord> {
  const { key, versionId } = vote;
  const body = await source.get(key, versionId);
  if (!body) throw new FormatError(`${key} is not there`);
  if (toHex(sha256(body)) !== vote.sha256)
    throw new FormatError(`${key} has other bytes than its segment names`);
  return decodeVoteObject(body, vote);
}

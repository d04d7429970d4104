// Where everything lies in an evidence store. docs/spec.md, "Evidence layout":
//
//   <election>/manifest.json
//   <election>/votes/checkpoint_0000000001/entries_0000000000-0000000730.ndjson.zst    first and last log index
//   <election>/votes/checkpoint_0000000001/checkpoint.json
//   <election>/votes/checkpoint_0000000001/vote_12345.json                             in the layout object-per-vote
//
// Numbers of blocks and entries have ten digits, so that a listing in order of key is in order of the log.
import { type ElectionId, isElectionId, type VoteId, voteId } from "../core/ids.ts";

/** Whether a segment has its votes in its own lines, or each is an object to which a line refers. */
export const EVIDENCE_LAYOUTS = ["segments", "object-per-vote"] as const;
export type EvidenceLayout = (typeof EVIDENCE_LAYOUTS)[number];

/** Log entries a vote checkpoint covers: number 1 has entries 0 to 9,999. */
export const BLOCK_ENTRIES = 10_000;
/** The most entries a segment holds. A segment lies within one block. */
export const SEGMENT_ENTRIES = 1_000;

const MAX_NUMBER = 9_999_999_999;

/** The log indices in a segment, both inclusive. */
export interface SegmentRange {
  readonly first: number;
  readonly last: number;
}

export function manifestKey(election: ElectionId): string {
  return `${election}/manifest.json`;
}

/** What all segment and checkpoint keys of an election begin with. */
export function votesPrefix(election: ElectionId): string {
  return `${election}/votes/`;
}

/** What all keys of one block begin with. */
export function blockPrefix(election: ElectionId, number: number): string {
  return `${votesPrefix(election)}checkpoint_${digits(number)}/`;
}

/** Throws a RangeError unless the range is 1 to 1,000 entries of one block. */
export function segmentKey(election: ElectionId, first: number, last: number): string {
  const range = `entries_${digits(first)}-${digits(last)}`;
  if (last < first || last - first >= SEGMENT_ENTRIES) throw new RangeError(`no segment can hold ${range}`);
  const number = checkpointNumberOf(first);
  if (number !== checkpointNumberOf(last)) throw new RangeError(`${range} crosses the end of a block`);
  return `${blockPrefix(election, number)}${range}.ndjson.zst`;
}

/** What the keys of a block's segments begin with. */
export function blockSegmentsPrefix(election: ElectionId, number: number): string {
  return `${blockPrefix(election, number)}entries_`;
}

/** What the keys of all segments begin with that begin with one log index: one segment, and perhaps orphans. */
export function segmentPrefix(election: ElectionId, first: number): string {
  return `${blockPrefix(election, checkpointNumberOf(first))}entries_${digits(first)}-`;
}

/** The election and range a segment key names; undefined for any other key. */
export function parseSegmentKey(key: string): (SegmentRange & { election: ElectionId }) | undefined {
  const match = /^([^/]+)\/votes\/checkpoint_\d{10}\/entries_(\d{10})-(\d{10})\.ndjson\.zst$/.exec(key);
  const [election, first, last] = [match?.[1] ?? "", Number(match?.[2]), Number(match?.[3])];
  if (!match || !isElectionId(election)) return undefined;
  try {
    return segmentKey(election, first, last) === key ? { election, first, last } : undefined;
  } catch {
    return undefined;
  }
}

/** The object of a vote whose entry is in the block. */
export function voteKey(election: ElectionId, number: number, id: VoteId): string {
  return `${voteObjectsPrefix(election, number)}${id}.json`;
}

/** What the keys of a block's vote objects begin with. */
export function voteObjectsPrefix(election: ElectionId, number: number): string {
  return `${blockPrefix(election, number)}vote_`;
}

/** What a vote's object key names; undefined for any other key. */
export function parseVoteKey(
  key: string,
): { readonly election: ElectionId; readonly number: number; readonly id: VoteId } | undefined {
  const match = /^([^/]+)\/votes\/checkpoint_(\d{10})\/vote_([1-9]\d{0,15})\.json$/.exec(key);
  const [election, number, id] = [match?.[1] ?? "", Number(match?.[2]), Number(match?.[3])];
  if (!match || number < 1 || !isElectionId(election) || !Number.isSafeInteger(id)) return undefined;
  return { election, number, id: voteId(id) };
}

export function checkpointKey(election: ElectionId, number: number): string {
  if (number < 1) throw new RangeError("checkpoint numbers begin at 1");
  return `${blockPrefix(election, number)}checkpoint.json`;
}

/** The number of the vote checkpoint that covers a log index. */
export function checkpointNumberOf(index: number): number {
  return Math.floor(index / BLOCK_ENTRIES) + 1;
}

/** The log index a block begins with. */
export function firstIndexOf(number: number): number {
  return (number - 1) * BLOCK_ENTRIES;
}

function digits(value: number): string {
  if (!Number.isInteger(value) || value < 0 || value > MAX_NUMBER) {
    throw new RangeError("a number in an evidence key is an integer of at most ten digits");
  }
  return String(value).padStart(10, "0");
}

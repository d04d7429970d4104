import { ChainError, type ChainHead, verifyNext } from "../ballot/chain.ts";
import { type ClosingEntry, closingEntry, encodeEntry } from "../ballot/entry.ts";
import { FormatError } from "../ballot/format-error.ts";
import type { VoteRecord } from "../ballot/record.ts";
import type { ShardHead } from "../ballot/shard-head.ts";
import { equalBytes } from "../core/bytes.ts";
import { type ElectionId, type ShardId, shardId, type VoteId, voteIdOf } from "../core/ids.ts";
import { HASH_SIZE, type Hash } from "../core/sha256.ts";
import { parseEvent, verifyEvent } from "../evidence/event.ts";
import { checkpointKey, parseSegmentKey } from "../evidence/layout.ts";
import { type ReferredVote, resolveSegment } from "../evidence/read-segment.ts";
import { decodeSegmentLines, keyOfSegment, logEntryOf, type Segment } from "../evidence/segment.ts";
import type { SegmentEntry } from "../evidence/segment-line.ts";
import { decodeVoteObject } from "../evidence/vote-object.ts";
import { type Subtree, subtreesOf } from "../tlog/compact-range.ts";
import { TlogError } from "../tlog/errors.ts";
import type { NoteVerifier } from "../tlog/note-verifier.ts";
import { leafHash } from "../tlog/tree.ts";
import { ObjectArchivedError } from "../worm/object-store.ts";
import type { EvidenceReader, NamedObject } from "./evidence-reader.ts";
import { faultOf } from "./fault.ts";
import { type Findings, type Place, VerificationReport } from "./report.ts";

/** A segment to read and check. */
export interface SegmentTask {
  readonly electionId: ElectionId;
  readonly key: string;
  /** The block's. */
  readonly number: number;
  /** As the block's vote checkpoint names it, if it does. */
  readonly named: NamedObject | undefined;
}

/** A record of a segment whose hash is right and covers the record before. */
export interface SoundRecord {
  readonly index: number;
  readonly record: VoteRecord;
}

/**
 * A segment of which everything was checked that takes no other segment to check: that its records continue the shard
 * heads of its own header, and what its entries add to the tree. Whether the segments before it lead to those heads and
 * to that tree, EvidenceLog compares. Plain data, which may come from another thread.
 */
export interface CheckedSegment {
  readonly firstIndex: number;
  readonly count: number;
  readonly manifestHash: Hash;
  /** As the header has them. */
  readonly shardHeads: readonly ShardHead[];
  readonly rootBefore: Hash;
  readonly rootAfter: Hash;
  /** The leaf hashes of its entries, one behind another. */
  readonly leaves: Uint8Array;
  /** What they add to a tree of `firstIndex` entries. */
  readonly subtrees: readonly Subtree[];
  /** By entry; 0 for one that is no vote. */
  readonly voteIds: Float64Array;
  /** Where it leaves each shard. */
  readonly heads: readonly ChainHead[];
  /** The first vote of each shard that has one here: its time was not compared with the one before. */
  readonly firstVotes: readonly { readonly index: number; readonly head: ChainHead }[];
  readonly lastVote: { readonly id: VoteId; readonly hash: Hash } | undefined;
  readonly closing: ClosingEntry | undefined;
  /** Documents of changes of the log's key. By which key they are signed, EvidenceLog knows. */
  readonly keyChanges: readonly { readonly index: number; readonly note: string }[];
  /** What was counted, and what is wrong with it. */
  readonly findings: Findings;
}

/** What a segment holds, where it was read. */
export interface SegmentContent {
  /** Undefined when it, or a vote that it refers to, could not be read. */
  readonly segment: Segment | undefined;
  readonly records: readonly SoundRecord[];
}

export interface SegmentFindings<Content> {
  /** Of reading it. What is wrong with its entries, `checked` has. */
  readonly findings: Findings;
  /** Undefined when it, or a vote that it refers to, could not be read. */
  readonly checked: CheckedSegment | undefined;
  /** The votes that its lines refer to; undefined when its lines could not be read. */
  readonly references: readonly VoteId[] | undefined;
  /** What it holds, in the form that the checker gives it. */
  readonly content: Content;
}

/** Checks segments, here or on other threads. */
export interface SegmentChecker<Content> {
  /** How many segments are worth being asked for at once. */
  readonly ahead: number;
  check(task: SegmentTask): Promise<SegmentFindings<Content>>;
}

export interface CheckSegmentOptions {
  readonly reader: EvidenceReader;
  /** The key that events are signed with, where it is known. */
  readonly eventKey: NoteVerifier | undefined;
}

/** Vote objects are put before the segment that names them, and in the layout's worst case a long halt lies between. */
const VOTE_LOCK_SLACK_MS = 24 * 60 * 60 * 1000;

const NO_CONTENT: SegmentContent = { segment: undefined, records: [] };

/** Reads a segment and checks it by itself. Rejects only when the store cannot be asked. */
export async function checkSegment(
  task: SegmentTask,
  { reader, eventKey }: CheckSegmentOptions,
): Promise<SegmentFindings<SegmentContent>> {
  const { electionId, key, number, named } = task;
  const report = new VerificationReport();
  let references: VoteId[] | undefined;
  try {
    const body = named
      ? await reader.readNamed(named, checkpointKey(electionId, number), report)
      : await reader.read(key, report);
    if (!body) throw new Error("is listed and cannot be read");
    const lines = decodeSegmentLines(body);
    if (keyOfSegment(lines) !== key) throw new Error(`holds ${keyOfSegment(lines)}`);
    report.checked.segments++;
    references = lines.entries.filter((line) => line.type === "vote-ref").map(({ id }) => id);
    const lockedUntil = named?.retainUntil && new Date(named.retainUntil.getTime() - VOTE_LOCK_SLACK_MS);
    const segment = await resolveSegment(lines, (vote) =>
      readVote(reader, report, key, { ...vote, retainUntil: lockedUntil ?? null }),
    );
    if (!segment) return { findings: report, checked: undefined, references, content: NO_CONTENT };
    const { checked, records } = checkEntries(key, segment, eventKey);
    return { findings: report, checked, references, content: { segment, records } };
  } catch (error) {
    // The report lists it already.
    if (!(error instanceof ObjectArchivedError)) {
      report.problem({ object: key, index: parseSegmentKey(key)?.first }, faultOf(error));
    }
    return { findings: report, checked: undefined, references: undefined, content: NO_CONTENT };
  }
}

async function readVote(
  reader: EvidenceReader,
  report: VerificationReport,
  by: string,
  vote: ReferredVote & NamedObject,
): Promise<VoteRecord | undefined> {
  const place = { object: vote.key, index: vote.index };
  try {
    const body = await reader.readNamed(vote, by, report);
    if (body) return decodeVoteObject(body, vote);
    report.problem(place, `is named by ${by} and is not there`);
  } catch (error) {
    if (error instanceof FormatError) report.problem(place, error.message);
    else if (!(error instanceof ObjectArchivedError)) throw error;
  }
  return undefined;
}

function checkEntries(object: string, segment: Segment, eventKey: NoteVerifier | undefined) {
  const { entries, shardHeads, firstIndex } = segment;
  const report = new VerificationReport();
  // The times before are for EvidenceLog to compare, which has them.
  const start = shardHeads.map((head, shard): ChainHead => ({ ...head, shard: shardId(shard), castAt: 0 }));
  const chain = new SegmentChain(object, start, report);
  const keyChanges: { index: number; note: string }[] = [];
  const leaves = new Uint8Array(entries.length * HASH_SIZE);
  for (const [offset, entry] of entries.entries()) {
    const index = firstIndex + offset;
    if (entry.type === "vote") chain.accept(index, offset, entry.record, entries.length);
    if (entry.type === "event") {
      report.checked.events++;
      if (parseEvent(entry.note).kind === "key-change") keyChanges.push({ index, note: entry.note });
      else checkEvent(report, { object, index }, entry.note, eventKey);
    }
    if (entry.type === "closing" && !closes(entry, chain.heads)) {
      report.problem({ object, index }, "closes other totals than the records give");
    }
    leaves.set(leafHash(encodeEntry(logEntryOf(entry))), offset * HASH_SIZE);
  }
  const last = entries.at(-1);
  const checked: CheckedSegment = {
    ...chain.end(entries.length),
    firstIndex,
    count: entries.length,
    manifestHash: segment.manifestHash,
    shardHeads,
    rootBefore: segment.rootBefore,
    rootAfter: segment.rootAfter,
    leaves,
    subtrees: subtreesOf(firstIndex, leaves),
    closing: last?.type === "closing" ? last : undefined,
    keyChanges,
    findings: report,
  };
  return { checked, records: chain.records };
}

/** The chains of all shards through one segment. */
class SegmentChain {
  readonly heads: ChainHead[];
  readonly records: SoundRecord[] = [];
  readonly #object: string;
  readonly #report: VerificationReport;
  readonly #first = new Map<ShardId, { index: number; head: ChainHead }>();
  #voteIds: Float64Array | undefined;
  #lastVote: CheckedSegment["lastVote"];

  constructor(object: string, heads: ChainHead[], report: VerificationReport) {
    this.#object = object;
    this.heads = heads;
    this.#report = report;
  }

  accept(index: number, offset: number, record: VoteRecord, entries: number): void {
    const { shard, sequence, hash, castAt } = record;
    const shards = this.heads.length;
    const place = { object: this.#object, index, shard, sequence };
    const head = this.heads[shard];
    if (!head) {
      this.#report.problem(place, `the election has ${shards} shards`);
      return;
    }
    let next: ChainHead = { shard, sequence, hash, castAt };
    try {
      next = verifyNext(head, record, shards);
      this.#report.checked.records++;
      this.records.push({ index, record });
    } catch (error) {
      if (!(error instanceof ChainError)) throw error;
      this.#report.problem(place, error.message);
    }
    if (!this.#first.has(shard)) this.#first.set(shard, { index, head: next });
    this.heads[shard] = next;
    const id = voteIdOf(shard, sequence, shards);
    this.#lastVote = { id, hash };
    this.#voteIds ??= new Float64Array(entries);
    this.#voteIds[offset] = id;
  }

  end(entries: number): Pick<CheckedSegment, "heads" | "firstVotes" | "lastVote" | "voteIds"> {
    const voteIds = this.#voteIds ?? new Float64Array(entries);
    return { heads: this.heads, firstVotes: [...this.#first.values()], lastVote: this.#lastVote, voteIds };
  }
}

function closes(entry: SegmentEntry & ClosingEntry, heads: readonly ChainHead[]): boolean {
  return equalBytes(encodeEntry(entry), encodeEntry(closingEntry(heads)));
}

/** Its form was checked when the segment was decoded. */
function checkEvent(
  report: VerificationReport,
  place: Place,
  note: string,
  eventKey: NoteVerifier | undefined,
): void {
  if (!eventKey) {
    report.unchecked("who signed the events: give --event-key to demand the key you know");
    return;
  }
  try {
    verifyEvent(note, eventKey);
  } catch (error) {
    if (!(error instanceof TlogError)) throw error;
    report.problem(place, `the event: ${error.message}`);
  }
}

import type { ClosingEntry } from "../ballot/entry.ts";
import { type Manifest, parseManifest } from "../ballot/manifest.ts";
import type { ShardHead } from "../ballot/shard-head.ts";
import { Tally } from "../ballot/tally.ts";
import { equalBytes } from "../core/bytes.ts";
import type { ElectionId } from "../core/ids.ts";
import { sha256 } from "../core/sha256.ts";
import {
  BLOCK_ENTRIES,
  blockPrefix,
  checkpointKey,
  firstIndexOf,
  manifestKey,
  parseSegmentKey,
  parseVoteKey,
} from "../evidence/layout.ts";
import { decodeSegmentLines, keyOfSegment, type Segment } from "../evidence/segment.ts";
import { parseVoteCheckpoint, type StoredSegment, type VoteCheckpoint } from "../evidence/vote-checkpoint.ts";
import { openCheckpoint } from "../tlog/checkpoint.ts";
import { NoteVerifier } from "../tlog/note-verifier.ts";
import type { ObjectStore } from "../worm/object-store.ts";
import { EvidenceLog, type KnownTree, sameHeads } from "./evidence-log.ts";
import { faultOf } from "./fault.ts";
import { logSegments } from "./log-segments.ts";
import { readNamed } from "./named-object.ts";
import type { VerificationReport } from "./report.ts";
import { VoteObjects } from "./vote-objects.ts";

export interface VerifyEvidenceOptions {
  readonly store: Pick<ObjectStore, "get" | "list">;
  readonly electionId: ElectionId;
  readonly report: VerificationReport;
  /** The log's verifier key as the caller knows it; without it, the one the manifest names is used. */
  readonly logKey?: string | undefined;
  /** The verifier key of AuditService's events as the caller knows it; without it, nobody vouches for them. */
  readonly eventKey?: string | undefined;
  /** A signed tree that is known from elsewhere: the evidence must lead to it. */
  readonly known?: KnownTree | undefined;
  /** Count the votes as they stood at this moment, in microseconds since 1970; the newest unless given. */
  readonly asOf?: number | undefined;
  readonly sink?: EvidenceSink | undefined;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/**
 * Takes the log as it is read, in order. It is good for nothing before the report says that all is well. With a sink no
 * tally is kept, which holds a record of every voter: whoever takes the records applies the one-vote rule.
 */
export interface EvidenceSink {
  segment(key: string, segment: Segment): Promise<void>;
  checkpoint(checkpoint: VoteCheckpoint): Promise<void>;
}

export interface VerifiedEvidence {
  readonly manifest: Manifest;
  readonly treeSize: number;
  readonly closing: ClosingEntry | undefined;
  /** Where the evidence leaves each shard; undefined when its last segments could not be read. */
  readonly shardHeads: readonly ShardHead[] | undefined;
  /** Holds every verified record, ready to be counted; none where a sink took them. */
  readonly tally: Tally;
}

/**
 * Verifies an election from its evidence store alone: every object is read and decoded, every record hash and chain
 * computed again, every entry hashed into the tree, every vote checkpoint and its signature compared, and the
 * one-vote rule applied. After a problem it goes on with what can still be checked, and says what cannot.
 *
 * Undefined when there is no manifest to verify anything against. Throws when the store cannot be listed.
 */
export async function verifyEvidence(options: VerifyEvidenceOptions): Promise<VerifiedEvidence | undefined> {
  const opened = await openManifest(options);
  if (!opened) return undefined;
  const { manifest, manifestHash, log } = opened;
  const { known, report } = options;
  const eventKey = options.eventKey === undefined ? undefined : NoteVerifier.parse(options.eventKey);
  const tally = new Tally({ manifest, asOf: options.asOf });
  const counted = options.sink ? undefined : tally;
  const evidence = new EvidenceLog({ manifest, manifestHash, known, eventKey, report, tally: counted });
  const blocks = await listBlocks(options);
  // Vote objects alone are of a commit that is under way, or that never was.
  const [last = 0, lastBlock] = [...blocks].findLast(([, { keys }]) => keys.length > 0) ?? [];
  const total = (parseSegmentKey(lastBlock?.keys.at(-1) ?? "")?.last ?? 0) + 1;
  for (const [number, block] of blocks) {
    await verifyBlock({ ...options, ...block, log, evidence, number, isLast: number >= last, total });
  }
  if (known && evidence.size < known.size) {
    const place = { index: evidence.size };
    report.problem(place, `the public log has ${known.size} entries, the evidence ${evidence.size}`);
  }
  if (known && evidence.size > known.size) {
    report.unchecked(`entries from ${known.size} on against the public log, which ends before them`);
  }
  return {
    manifest,
    treeSize: evidence.size,
    closing: evidence.closing,
    shardHeads: evidence.heads,
    tally,
  };
}

async function openManifest({ store, electionId, report, logKey }: VerifyEvidenceOptions) {
  const object = manifestKey(electionId);
  try {
    const bytes = await store.get(object);
    if (!bytes) throw new Error("is not there");
    const manifest = parseManifest(bytes);
    if (manifest.electionId !== electionId) throw new Error(`is of the election ${manifest.electionId}`);
    report.checked.bytes += bytes.length;
    return { manifest, manifestHash: sha256(bytes), log: NoteVerifier.parse(logKey ?? manifest.logKey) };
  } catch (error) {
    report.problem({ object }, faultOf(error));
    return undefined;
  }
}

interface ListedBlock {
  /** Of its segments and its vote checkpoint, in order. */
  readonly keys: string[];
  /** Whether it has votes that are objects of their own. Their keys are too many to hold for all blocks. */
  hasVoteObjects: boolean;
}

/** Every key of the election but its manifest's, by block. */
async function listBlocks({
  store,
  electionId,
  report,
}: VerifyEvidenceOptions): Promise<Map<number, ListedBlock>> {
  const blocks = new Map<number, ListedBlock>();
  for await (const key of store.list(`${electionId}/`)) {
    if (key === manifestKey(electionId)) continue;
    const number = Number(/\/checkpoint_(\d{10})\/[^/]+$/.exec(key)?.[1] ?? 0);
    const vote = parseVoteKey(key);
    const known =
      number > 0 &&
      key.startsWith(blockPrefix(electionId, number)) &&
      (vote || parseSegmentKey(key) || key === checkpointKey(electionId, number));
    if (!known) {
      report.problem({ object: key }, "has no place in an evidence store");
      continue;
    }
    const block = blocks.get(number) ?? { keys: [], hasVoteObjects: false };
    if (vote) block.hasVoteObjects = true;
    else block.keys.push(key);
    blocks.set(number, block);
  }
  return blocks;
}

interface Block extends VerifyEvidenceOptions, ListedBlock {
  readonly log: NoteVerifier;
  readonly evidence: EvidenceLog;
  readonly number: number;
  /** No block with segments follows. */
  readonly isLast: boolean;
  /** Entries in the whole store, by the segments' names. */
  readonly total: number;
}

async function verifyBlock(block: Block): Promise<void> {
  const { electionId, report, number, keys } = block;
  const object = checkpointKey(electionId, number);
  // It says by which version to read the segments, whatever their keys show by now.
  const checkpoint = keys.includes(object) ? await readCheckpoint(block, object) : undefined;
  const named = new Map(checkpoint?.segments.map((segment) => [segment.key, segment]));
  const segments = keys.filter((key) => key !== object);
  const ofLog = await logSegments({ ...block, keys: segments, checkpoint });
  const votes = new VoteObjects(block);
  for (const key of segments) {
    if (!ofLog.includes(key)) {
      report.unreferencedSegment(key);
      continue;
    }
    if (checkpoint && !named.has(key)) report.problem({ object: key }, `is not named by ${object}`);
    await verifySegment(block, votes, key, named.get(key));
  }
  for (const key of named.keys()) {
    if (keys.includes(key)) continue;
    report.problem({ object: key }, `is named by ${object} and is not there`);
    votes.lose();
  }
  if (block.hasVoteObjects) {
    await votes.listUnreferenced({ finished: keys.includes(object) || !block.isLast });
  }
  if (checkpoint) {
    compareCheckpoint(block, object, checkpoint);
    await block.sink?.checkpoint(checkpoint);
  }
  if (!keys.includes(object)) withoutCheckpoint(block, object);
}

async function readCheckpoint({ store, report }: Block, object: string): Promise<VoteCheckpoint | undefined> {
  try {
    const body = await store.get(object);
    if (!body) throw new Error("is listed and cannot be read");
    report.checked.bytes += body.length;
    return parseVoteCheckpoint(body);
  } catch (error) {
    report.problem({ object }, faultOf(error));
    return undefined;
  }
}

async function verifySegment(
  block: Block,
  votes: VoteObjects,
  key: string,
  named: StoredSegment | undefined,
): Promise<void> {
  const { store, report, electionId, number, evidence, sink, onProgress, total } = block;
  let segment: Segment | undefined;
  const range = parseSegmentKey(key);
  if (!range) return;
  try {
    const by = checkpointKey(electionId, number);
    const body = named ? await readNamed({ store, report, by, named }) : await store.get(key);
    if (!body) throw new Error("is listed and cannot be read");
    if (!named) report.checked.bytes += body.length;
    const lines = decodeSegmentLines(body);
    if (keyOfSegment(lines) !== key) throw new Error(`holds ${keyOfSegment(lines)}`);
    report.checked.segments++;
    segment = await votes.resolve(key, lines);
    if (segment) await evidence.accept(key, segment);
    else evidence.lose(range);
  } catch (error) {
    report.problem({ object: key, index: range.first }, faultOf(error));
    evidence.lose(range);
    votes.lose();
  }
  if (segment) await sink?.segment(key, segment);
  onProgress?.(evidence.size, total);
}

/** All that the checkpoint of a finished block says must be what was just read. */
function compareCheckpoint(
  { report, evidence, log }: Block,
  object: string,
  checkpoint: VoteCheckpoint,
): void {
  const differs = (what: string) => report.problem({ object }, `${what} differs from what is stored`);
  try {
    const { checkpoint: signed } = openCheckpoint({ note: checkpoint.note, log });
    report.checked.notes++;
    if (signed.size !== checkpoint.treeSize || !equalBytes(signed.root, checkpoint.treeRoot)) {
      report.problem({ object }, "is signed for another tree than it names");
    }
  } catch (error) {
    report.problem({ object }, faultOf(error));
  }
  const { size, root, heads, lastVote } = evidence;
  if (checkpoint.treeSize !== size) differs(`tree_size ${checkpoint.treeSize}`);
  if (root && !equalBytes(checkpoint.treeRoot, root)) differs("tree_root");
  if (heads && !sameHeads(checkpoint.shardHeads, heads)) differs("shard_heads");
  if (lastVote !== undefined && !sameVote(checkpoint.lastVote, lastVote)) differs("last_vote_id");
  report.checked.checkpoints++;
}

/**
 * A checkpoint is written once its block is signed, so that the newest may not be there yet. One whose block the public
 * log shows signed must be.
 */
function withoutCheckpoint({ known, evidence, number, isLast, report }: Block, object: string): void {
  const { closing, size } = evidence;
  const end = closing ? size : number * BLOCK_ENTRIES;
  const isDue = known ? end <= known.size : closing !== undefined || !isLast;
  if (isDue) report.problem({ object }, "is not there although its block is finished");
  else if (!known)
    report.unchecked(`signatures of entries from ${firstIndexOf(number)} on: there are none yet`);
}

function sameVote(a: VoteCheckpoint["lastVote"], b: VoteCheckpoint["lastVote"]): boolean {
  return a === null || b === null ? a === b : a.id === b.id && equalBytes(a.hash, b.hash);
}

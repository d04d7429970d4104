import type { ClosingEntry } from "../ballot/entry.ts";
import { type Manifest, parseManifest } from "../ballot/manifest.ts";
import type { ShardHead } from "../ballot/shard-head.ts";
import type { Tally } from "../ballot/tally.ts";
import { equalBytes, toHex } from "../core/bytes.ts";
import { messageOf } from "../core/errors.ts";
import type { ElectionId } from "../core/ids.ts";
import { sha256 } from "../core/sha256.ts";
import {
  BLOCK_ENTRIES,
  blockPrefix,
  checkpointKey,
  firstIndexOf,
  manifestKey,
  parseSegmentKey,
} from "../evidence/layout.ts";
import { decodeSegment, keyOfSegment } from "../evidence/segment.ts";
import { parseVoteCheckpoint, type StoredSegment, type VoteCheckpoint } from "../evidence/vote-checkpoint.ts";
import { openCheckpoint } from "../tlog/checkpoint.ts";
import { NoteVerifier } from "../tlog/note-verifier.ts";
import { ObjectCorruptError, type ObjectStore } from "../worm/object-store.ts";
import { EvidenceLog, type KnownTree, sameHeads } from "./evidence-log.ts";
import { logSegments } from "./log-segments.ts";
import type { VerificationReport } from "./report.ts";

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
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

export interface VerifiedEvidence {
  readonly manifest: Manifest;
  readonly treeSize: number;
  readonly closing: ClosingEntry | undefined;
  /** Where the evidence leaves each shard; undefined when its last segments could not be read. */
  readonly shardHeads: readonly ShardHead[] | undefined;
  /** Holds every verified record, ready to be counted. */
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
  const evidence = new EvidenceLog({ manifest, manifestHash, known, eventKey, report });
  const blocks = await listBlocks(options);
  const last = [...blocks.keys()].at(-1);
  const lastKey = blocks.get(last ?? 0)?.at(-1) ?? "";
  const total = (parseSegmentKey(lastKey)?.last ?? 0) + 1;
  for (const [number, keys] of blocks) {
    await verifyBlock({ ...options, log, evidence, number, keys, isLast: number === last, total });
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
    tally: evidence.tally,
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
    report.problem({ object }, messageOf(error));
    return undefined;
  }
}

/** Every key of the election but its manifest's, by block. */
async function listBlocks({
  store,
  electionId,
  report,
}: VerifyEvidenceOptions): Promise<Map<number, string[]>> {
  const blocks = new Map<number, string[]>();
  for await (const key of store.list(`${electionId}/`)) {
    if (key === manifestKey(electionId)) continue;
    const number = Number(/\/checkpoint_(\d{10})\/[^/]+$/.exec(key)?.[1] ?? 0);
    const known =
      number > 0 &&
      key.startsWith(blockPrefix(electionId, number)) &&
      (parseSegmentKey(key) || key === checkpointKey(electionId, number));
    if (!known) {
      report.problem({ object: key }, "has no place in an evidence store");
      continue;
    }
    const keys = blocks.get(number) ?? [];
    keys.push(key);
    blocks.set(number, keys);
  }
  return blocks;
}

interface Block extends VerifyEvidenceOptions {
  readonly log: NoteVerifier;
  readonly evidence: EvidenceLog;
  readonly number: number;
  readonly keys: readonly string[];
  /** No block follows. */
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
  for (const key of segments) {
    if (!ofLog.includes(key)) {
      report.unreferencedSegment(key);
      continue;
    }
    if (checkpoint && !named.has(key)) report.problem({ object: key }, `is not named by ${object}`);
    await verifySegment(block, key, named.get(key));
  }
  for (const key of named.keys()) {
    if (!keys.includes(key)) report.problem({ object: key }, `is named by ${object} and is not there`);
  }
  if (checkpoint) compareCheckpoint(block, object, checkpoint);
  else if (!keys.includes(object)) withoutCheckpoint(block, object);
}

async function readCheckpoint({ store, report }: Block, object: string): Promise<VoteCheckpoint | undefined> {
  try {
    const body = await store.get(object);
    if (!body) throw new Error("is listed and cannot be read");
    report.checked.bytes += body.length;
    return parseVoteCheckpoint(body);
  } catch (error) {
    report.problem({ object }, messageOf(error));
    return undefined;
  }
}

async function verifySegment(block: Block, key: string, named: StoredSegment | undefined): Promise<void> {
  const { report, evidence, onProgress, total } = block;
  const range = parseSegmentKey(key);
  if (!range) return;
  try {
    const body = named ? await readNamed(block, named) : await block.store.get(key);
    if (!body) throw new Error("is listed and cannot be read");
    report.checked.bytes += body.length;
    const segment = decodeSegment(body);
    if (keyOfSegment(segment) !== key) throw new Error(`holds ${keyOfSegment(segment)}`);
    report.checked.segments++;
    await evidence.accept(key, segment);
  } catch (error) {
    report.problem({ object: key, index: range.first }, messageOf(error));
    evidence.lose(range);
  }
  onProgress?.(evidence.size, total);
}

/** The bytes that a checkpoint names, or else those that are there now: they show what was changed. */
async function readNamed(
  { store, electionId, number, report }: Block,
  { key, versionId, sha256: hash, bytes }: StoredSegment,
): Promise<Uint8Array | undefined> {
  const object = checkpointKey(electionId, number);
  let body: Uint8Array | undefined;
  try {
    body = await store.get(key, versionId);
  } catch (error) {
    if (!(error instanceof ObjectCorruptError)) throw error;
  }
  const versioned = body !== undefined;
  body ??= await store.get(key);
  if (!body) return undefined;
  const asNamed = toHex(sha256(body)) === hash && body.length === bytes;
  if (versioned && !asNamed) {
    report.problem({ object }, `names another hash or length of ${key} than the version that it names has`);
  } else if (!versioned && asNamed) {
    report.problem({ object }, `names a version of ${key} that the store does not have`);
  } else if (!versioned) {
    report.problem({ object: key }, `has other bytes than ${object} names`);
  }
  return body;
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
    report.problem({ object }, messageOf(error));
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

// checkpoint.json: what a finished block of the log consists of, written once its head is signed.
// docs/spec.md, "Vote checkpoint".
import { z } from "zod";
import { FormatError } from "../ballot/format-error.ts";
import type { ShardHead } from "../ballot/shard-head.ts";
import { toHex, utf8 } from "../core/bytes.ts";
import { type ElectionId, type TreeSize, treeSize, type VoteId, voteId } from "../core/ids.ts";
import type { Hash } from "../core/sha256.ts";
import { count, election, hashHex, readStrict, shardHeads, textOf, writeShardHeads } from "./json.ts";
import { BLOCK_ENTRIES, firstIndexOf, parseSegmentKey } from "./layout.ts";

/** A segment as it was stored: the version and digest to read it by, whatever its key shows later. */
export interface StoredSegment {
  readonly key: string;
  readonly versionId: string;
  /** SHA-256 of the object in lower-case hex. */
  readonly sha256: string;
  /** The object's size. */
  readonly bytes: number;
  /** Until when nobody can delete it; null in a store without retention. */
  readonly retainUntil: Date | null;
}

/** A numbered block of 10,000 log entries, or what a closed log has of its last one. */
export interface VoteCheckpoint {
  readonly electionId: ElectionId;
  /** 1, 2, 3 … */
  readonly number: number;
  /** The log's size and root at the block's end. */
  readonly treeSize: TreeSize;
  readonly treeRoot: Hash;
  /** The block's segments in order; together they hold each of its entries once. */
  readonly segments: readonly StoredSegment[];
  /** The last vote of the log up to here; null while it has none. */
  readonly lastVote: { readonly id: VoteId; readonly hash: Hash } | null;
  /** Each shard's head at the block's end. */
  readonly shardHeads: readonly ShardHead[];
  /** The log checkpoint of this size as the Publisher signed it: a C2SP signed note. */
  readonly note: string;
}

export const CHECKPOINT_FORMAT = "psephos/checkpoint/v1";

/** The checkpoint as an evidence object, one line of JSON. Throws a FormatError when it breaks a rule of the format. */
export function encodeVoteCheckpoint(checkpoint: VoteCheckpoint): Uint8Array {
  check(checkpoint);
  return utf8(write(checkpoint));
}

/** Reads an evidence object. Throws a FormatError. */
export function parseVoteCheckpoint(object: Uint8Array): VoteCheckpoint {
  try {
    const checkpoint = readStrict(textOf(object), checkpointJson, write);
    check(checkpoint);
    return checkpoint;
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    throw new FormatError(`vote checkpoint: ${error.message}`, { cause: error });
  }
}

const segmentJson = z
  .strictObject({
    key: z.string(),
    version_id: z.string().min(1),
    sha256: z.string().regex(/^[0-9a-f]{64}$/, "not a hash in hex"),
    bytes: count,
    retain_until: z
      .string()
      .refine((time) => !Number.isNaN(Date.parse(time)), "not a time")
      .transform((time) => new Date(time))
      .nullable(),
  })
  .transform(
    (segment): StoredSegment => ({
      key: segment.key,
      versionId: segment.version_id,
      sha256: segment.sha256,
      bytes: segment.bytes,
      retainUntil: segment.retain_until,
    }),
  );

const checkpointJson = z
  .strictObject({
    format: z.literal(CHECKPOINT_FORMAT),
    election_id: election,
    number: z.int().min(1),
    first_index: count,
    tree_size: count,
    tree_root: hashHex,
    segments: z.array(segmentJson),
    last_vote_id: z.int().min(1).nullable(),
    last_record_hash: hashHex.nullable(),
    shard_heads: shardHeads,
    note: z.string().min(1),
  })
  .transform(
    (file): VoteCheckpoint => ({
      electionId: file.election_id,
      number: file.number,
      treeSize: treeSize(file.tree_size),
      treeRoot: file.tree_root,
      segments: file.segments,
      // Where only one of the two is null, writing it again gives another text, which is refused.
      lastVote:
        file.last_vote_id === null || file.last_record_hash === null
          ? null
          : { id: voteId(file.last_vote_id), hash: file.last_record_hash },
      shardHeads: file.shard_heads,
      note: file.note,
    }),
  );

function write(checkpoint: VoteCheckpoint): string {
  const text = JSON.stringify({
    format: CHECKPOINT_FORMAT,
    election_id: checkpoint.electionId,
    number: checkpoint.number,
    first_index: firstIndexOf(checkpoint.number),
    tree_size: checkpoint.treeSize,
    tree_root: toHex(checkpoint.treeRoot),
    segments: checkpoint.segments.map((segment) => ({
      key: segment.key,
      version_id: segment.versionId,
      sha256: segment.sha256,
      bytes: segment.bytes,
      retain_until: segment.retainUntil?.toISOString() ?? null,
    })),
    last_vote_id: checkpoint.lastVote?.id ?? null,
    last_record_hash: checkpoint.lastVote ? toHex(checkpoint.lastVote.hash) : null,
    shard_heads: writeShardHeads(checkpoint.shardHeads),
    note: checkpoint.note,
  });
  return `${text}\n`;
}

/** The segments must hold the block's entries, each once: a gap here is a vote nobody would miss later. */
function check({ electionId, number, treeSize, segments }: VoteCheckpoint): void {
  const first = firstIndexOf(number);
  if (treeSize <= first || treeSize > first + BLOCK_ENTRIES) {
    throw new FormatError(`vote checkpoint ${number} of a log of ${treeSize} entries`);
  }
  let next = first;
  for (const { key } of segments) {
    const range = parseSegmentKey(key);
    if (range?.election !== electionId || range.first !== next) {
      throw new FormatError(`the segment after entry ${next - 1} is not one that begins with entry ${next}`);
    }
    next = range.last + 1;
  }
  if (next !== treeSize) throw new FormatError(`the segments end at entry ${next - 1}, not ${treeSize - 1}`);
}

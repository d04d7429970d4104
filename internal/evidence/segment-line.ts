// The lines of a segment: a header, then a line an entry. docs/spec.md, "Segment".
import { z } from "zod";
import type { ClosingEntry, ManifestEntry } from "../ballot/entry.ts";
import type { VoteRecord } from "../ballot/record.ts";
import type { ShardHead } from "../ballot/shard-head.ts";
import { toHex } from "../core/bytes.ts";
import { type ElectionId, MAX_SHARDS, sequence, shardId, type VoteId, voteId } from "../core/ids.ts";
import type { Hash } from "../core/sha256.ts";
import {
  base64Bytes,
  count,
  election,
  hashHex,
  readStrict,
  shardHeads,
  textOf,
  toBase64,
  writeShardHeads,
} from "./json.ts";
import { SEGMENT_ENTRIES } from "./layout.ts";
import { readVoteLine } from "./vote-line.ts";

export const SEGMENT_FORMAT = "psephos/segment/v1";

/** A line feed. No other character of UTF-8 has this byte in it. */
export const LINE_END = 0x0a;

export interface SegmentHeader {
  readonly electionId: ElectionId;
  readonly manifestHash: Hash;
  /** The log index of the first entry. */
  readonly firstIndex: number;
  /** How many entries follow. */
  readonly count: number;
  /** Each shard's head before the first entry. */
  readonly shardHeads: readonly ShardHead[];
  /** The tree's root without these entries, and with them. */
  readonly rootBefore: Hash;
  readonly rootAfter: Hash;
}

/** A log entry with what the evidence keeps of it: for a vote, the whole record. */
export type SegmentEntry =
  | ManifestEntry
  | { readonly type: "vote"; readonly record: VoteRecord }
  | { readonly type: "event" /** The event document. */; readonly note: string }
  | ClosingEntry;

/** Stands for a vote that is an object of its own, which has the line. */
export interface VoteReference {
  readonly type: "vote-ref";
  readonly id: VoteId;
  /** The version of the object to read, whatever its key shows later. */
  readonly versionId: string;
  /** SHA-256 of the object in lower-case hex. */
  readonly sha256: string;
}

/** An entry as a segment has it. */
export type SegmentLine = SegmentEntry | VoteReference;

export function writeHeader(header: SegmentHeader): string {
  return JSON.stringify({
    format: SEGMENT_FORMAT,
    election_id: header.electionId,
    manifest_hash: toHex(header.manifestHash),
    first_index: header.firstIndex,
    count: header.count,
    shard_heads: writeShardHeads(header.shardHeads),
    root_before: toHex(header.rootBefore),
    root_after: toHex(header.rootAfter),
  });
}

/** Throws a FormatError. */
export function readHeader(line: Uint8Array): SegmentHeader {
  return readStrict(textOf(line), headerJson, writeHeader);
}

export function writeLine(entry: SegmentLine): string {
  switch (entry.type) {
    case "vote-ref": {
      const { id, versionId, sha256 } = entry;
      return JSON.stringify({ type: "vote-ref", id, version_id: versionId, sha256 });
    }
    case "manifest":
      return JSON.stringify({ type: "manifest", hash: toHex(entry.manifestHash) });
    case "vote": {
      const { record } = entry;
      return JSON.stringify({
        type: "vote",
        shard: record.shard,
        sequence: record.sequence,
        voter: toBase64(record.voterPseudonym),
        revision: record.revision,
        choice: toBase64(record.sealedChoice),
        cast_at: record.castAt,
        hash: toHex(record.hash),
      });
    }
    case "event":
      return JSON.stringify({ type: "event", note: entry.note });
    case "closing":
      return JSON.stringify({
        type: "closing",
        shard_heads: writeShardHeads(entry.shardHeads),
        total: entry.totalVotes,
      });
  }
}

/** Reads the line that `text` has from `start` to before `end`. Throws a FormatError. */
export function readLine(text: Uint8Array, start: number, end: number): SegmentLine {
  const record = readVoteLine(text, start, end);
  return record ? { type: "vote", record } : readAnyLine(text.subarray(start, end));
}

/** Reads a line of any type, and says what is wrong with it: throws a FormatError. */
export function readAnyLine(line: Uint8Array): SegmentLine {
  return readStrict(textOf(line), lineJson, writeLine);
}

const headerJson = z
  .strictObject({
    format: z.literal(SEGMENT_FORMAT),
    election_id: election,
    manifest_hash: hashHex,
    first_index: count,
    count: z.int().min(1).max(SEGMENT_ENTRIES),
    shard_heads: shardHeads,
    root_before: hashHex,
    root_after: hashHex,
  })
  .transform(
    (line): SegmentHeader => ({
      electionId: line.election_id,
      manifestHash: line.manifest_hash,
      firstIndex: line.first_index,
      count: line.count,
      shardHeads: line.shard_heads,
      rootBefore: line.root_before,
      rootAfter: line.root_after,
    }),
  );

const manifestJson = z
  .strictObject({ type: z.literal("manifest"), hash: hashHex })
  .transform((line): SegmentEntry => ({ type: "manifest", manifestHash: line.hash }));

const voteJson = z
  .strictObject({
    type: z.literal("vote"),
    shard: z
      .int()
      .min(0)
      .max(MAX_SHARDS - 1),
    sequence: z.int().min(1),
    voter: base64Bytes,
    revision: z.int().min(1).max(0xffff_ffff),
    choice: base64Bytes,
    cast_at: count,
    hash: hashHex,
  })
  .transform(
    (line): SegmentEntry => ({
      type: "vote",
      record: {
        shard: shardId(line.shard),
        sequence: sequence(line.sequence),
        voterPseudonym: line.voter,
        revision: line.revision,
        sealedChoice: line.choice,
        castAt: line.cast_at,
        hash: line.hash,
      },
    }),
  );

const eventJson = z
  .strictObject({ type: z.literal("event"), note: z.string().min(1) })
  .transform((line): SegmentEntry => ({ type: "event", note: line.note }));

const closingJson = z
  .strictObject({ type: z.literal("closing"), shard_heads: shardHeads, total: count })
  .transform(
    (line): SegmentEntry => ({ type: "closing", shardHeads: line.shard_heads, totalVotes: line.total }),
  );

const referenceJson = z
  .strictObject({
    type: z.literal("vote-ref"),
    id: z.int().min(1),
    version_id: z.string().min(1),
    sha256: z.string().regex(/^[0-9a-f]{64}$/, "not a hash in hex"),
  })
  .transform(
    (line): SegmentLine => ({
      type: "vote-ref",
      id: voteId(line.id),
      versionId: line.version_id,
      sha256: line.sha256,
    }),
  );

const lineJson = z.discriminatedUnion("type", [
  voteJson,
  referenceJson,
  manifestJson,
  eventJson,
  closingJson,
]);

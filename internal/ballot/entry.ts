// The entries of the public log: leaf data that stands for votes and shows neither voter nor choice.
// docs/spec.md, "Log entry". The first byte is the type.
import { concat, readU64, u16, u64 } from "../core/bytes.ts";
import { MAX_SHARDS, type Sequence, type ShardId, sequence, shardId } from "../core/ids.ts";
import { asHash, HASH_SIZE, type Hash } from "../core/sha256.ts";
import { FormatError } from "./format-error.ts";
import type { VoteRecord } from "./record.ts";
import type { ShardHead } from "./shard-head.ts";

/** The first entry of every log: `0x01 ‖ manifest_hash[32]`. */
export interface ManifestEntry {
  readonly type: "manifest";
  readonly manifestHash: Hash;
}

/** A vote: `0x02 ‖ u16 shard ‖ u64 sequence ‖ record_hash[32]`. */
export interface VoteEntry {
  readonly type: "vote";
  readonly shard: ShardId;
  readonly sequence: Sequence;
  readonly recordHash: Hash;
}

/** Something that happened to the election's storage, not a vote: `0x03 ‖ event_hash[32]`. */
export interface EventEntry {
  readonly type: "event";
  /** SHA-256 of the event document, which the evidence has. */
  readonly eventHash: Hash;
}

/** The last entry of a closed log: `0x04 ‖ u16 shards ‖ shards × (u64 final_sequence ‖ head_hash[32]) ‖ u64 total`. */
export interface ClosingEntry {
  readonly type: "closing";
  readonly shardHeads: readonly ShardHead[];
  readonly totalVotes: number;
}

export type LogEntry = ManifestEntry | VoteEntry | EventEntry | ClosingEntry;

const MANIFEST = 0x01;
const VOTE = 0x02;
const EVENT = 0x03;
const CLOSING = 0x04;
const MANIFEST_SIZE = 1 + HASH_SIZE;
const VOTE_SIZE = 1 + 2 + 8 + HASH_SIZE;
const EVENT_SIZE = 1 + HASH_SIZE;
const HEAD_SIZE = 8 + HASH_SIZE;

/** The entry that stands for a record. */
export function voteEntry(record: VoteRecord): VoteEntry {
  return { type: "vote", shard: record.shard, sequence: record.sequence, recordHash: record.hash };
}

/** The closing entry over every shard's final head. */
export function closingEntry(heads: readonly ShardHead[]): ClosingEntry {
  const shardHeads = heads.map(({ sequence, hash }) => ({ sequence, hash }));
  return { type: "closing", shardHeads, totalVotes: totalOf(heads) };
}

export function encodeEntry(entry: LogEntry): Uint8Array {
  switch (entry.type) {
    case "manifest":
      return concat(Uint8Array.of(MANIFEST), entry.manifestHash);
    case "vote": {
      // Most entries are votes: one array, not four.
      const bytes = new Uint8Array(VOTE_SIZE);
      bytes[0] = VOTE;
      bytes[1] = entry.shard >> 8;
      bytes[2] = entry.shard;
      // Without a view, which costs as much as all the rest: from the last byte on, each takes what is left modulo 256.
      for (let at = 10, left: number = entry.sequence; left > 0; at--, left = Math.floor(left / 256))
        bytes[at] = left;
      bytes.set(entry.recordHash, 11);
      return bytes;
    }
    case "event":
      return concat(Uint8Array.of(EVENT), entry.eventHash);
    case "closing": {
      const heads = entry.shardHeads.flatMap((head) => [u64(head.sequence), head.hash]);
      return concat(Uint8Array.of(CLOSING), u16(entry.shardHeads.length), ...heads, u64(entry.totalVotes));
    }
  }
}

/** Reads an entry. Every entry has one encoding; anything else is a FormatError. */
export function decodeEntry(bytes: Uint8Array): LogEntry {
  try {
    return decode(bytes);
  } catch (error) {
    // The id constructors refuse what is out of range; here that is a malformed entry like any other.
    if (error instanceof RangeError) throw new FormatError(`log entry: ${error.message}`, { cause: error });
    throw error;
  }
}

function decode(bytes: Uint8Array): LogEntry {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  switch (bytes[0]) {
    case MANIFEST:
      expectSize(bytes, MANIFEST_SIZE);
      return { type: "manifest", manifestHash: hashAt(bytes, 1) };
    case VOTE: {
      expectSize(bytes, VOTE_SIZE);
      const [shard, number] = [shardId(view.getUint16(1)), sequence(readU64(view, 3))];
      if (number === 0) throw new RangeError("sequences begin at 1");
      return { type: "vote", shard, sequence: number, recordHash: hashAt(bytes, 11) };
    }
    case EVENT:
      expectSize(bytes, EVENT_SIZE);
      return { type: "event", eventHash: hashAt(bytes, 1) };
    case CLOSING: {
      const shards = view.getUint16(1);
      if (shards < 1 || shards > MAX_SHARDS) throw new RangeError(`${shards} shards`);
      expectSize(bytes, 3 + shards * HEAD_SIZE + 8);
      const shardHeads: ShardHead[] = [];
      for (let at = 3; at < bytes.length - 8; at += HEAD_SIZE) {
        shardHeads.push({ sequence: sequence(readU64(view, at)), hash: hashAt(bytes, at + 8) });
      }
      const totalVotes = readU64(view, bytes.length - 8);
      if (totalVotes !== totalOf(shardHeads)) throw new RangeError("the total is not the sum of the shards");
      return { type: "closing", shardHeads, totalVotes };
    }
    default:
      throw new FormatError("log entry: unknown type");
  }
}

function expectSize(bytes: Uint8Array, size: number): void {
  if (bytes.length !== size) throw new FormatError(`log entry: ${bytes.length} bytes instead of ${size}`);
}

/** A copy, because `bytes` may be a view of a network frame. Not slice(), which on a Buffer does not copy. */
function hashAt(bytes: Uint8Array, offset: number): Hash {
  return asHash(new Uint8Array(bytes.subarray(offset, offset + HASH_SIZE)));
}

function totalOf(heads: readonly ShardHead[]): number {
  return heads.reduce((total, head) => total + head.sequence, 0);
}

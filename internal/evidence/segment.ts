// A segment: consecutive log entries with the records behind them, as one immutable evidence object. Together with the
// segments before it, it rebuilds chains, tree and count without any database. docs/spec.md, "Segment".
import { promisify } from "node:util";
import { constants, zstdCompressSync, zstdDecompress, zstdDecompressSync } from "node:zlib";
import { closingEntry, type LogEntry, voteEntry } from "../ballot/entry.ts";
import { FormatError } from "../ballot/format-error.ts";
import { equalBytes, utf8 } from "../core/bytes.ts";
import { messageOf } from "../core/errors.ts";
import { eventEntry, parseEvent } from "./event.ts";
import { segmentKey } from "./layout.ts";
import {
  LINE_END,
  readHeader,
  readLine,
  type SegmentEntry,
  type SegmentHeader,
  type SegmentLine,
  writeHeader,
  writeLine,
} from "./segment-line.ts";

/** A segment as its object has it: in the layout object-per-vote, references stand for its votes. */
export type SegmentLines = Omit<SegmentHeader, "count"> & { readonly entries: readonly SegmentLine[] };

/** A segment with all of its records: `readSegment` gives it, whatever the store's layout. */
export type Segment = Omit<SegmentHeader, "count"> & { readonly entries: readonly SegmentEntry[] };

/**
 * The most a segment unpacks to: 1,000 votes of 400 bytes, and two lists of 256 shard heads, are half a megabyte. The
 * rest is for events.
 * zstd packs gigabytes of zeros into a few kilobytes, and a reader of evidence trusts no store.
 */
const MAX_UNPACKED_BYTES = 2 << 20;

/** What goes into the public log for an entry. */
export function logEntryOf(entry: SegmentEntry): LogEntry {
  if (entry.type === "vote") return voteEntry(entry.record);
  return entry.type === "event" ? eventEntry(entry.note) : entry;
}

/** The segment's object key. Throws a RangeError unless it has 1 to 1,000 entries of one block. */
export function keyOfSegment({ electionId, firstIndex, entries }: SegmentLines): string {
  return segmentKey(electionId, firstIndex, firstIndex + entries.length - 1);
}

/** The segment as an evidence object. Throws a FormatError when it breaks a rule of the format. */
export function encodeSegment(segment: SegmentLines): Uint8Array {
  const params = { [constants.ZSTD_c_checksumFlag]: 1 };
  return zstdCompressSync(encodeSegmentText(segment), { params });
}

/** Reads an evidence object. Throws a FormatError that names the line; the header is line 1. */
export function decodeSegmentLines(object: Uint8Array): SegmentLines {
  return readText(unpack(object));
}

/** The same of an object that has all of its records in its lines. Whoever has the store uses `readSegment`. */
export function decodeSegment(object: Uint8Array): Segment {
  return decodeSegmentText(unpack(object));
}

/** A segment of which the header is read, and the entries are not. */
export interface OpenSegment {
  readonly header: SegmentHeader;
  /** Reads one line, by the entry's position from 0. Throws a FormatError, also when there is none. */
  line(position: number): SegmentLine;
}

/**
 * For whoever looks for one record, in a process that has other work: unpacked on another thread, and no more lines are
 * read than are asked for (a whole segment takes some 10 ms). What is left out are the rules between the lines, so that
 * an entry is worth what it is compared with. Rejects with a FormatError.
 */
export async function openSegment(object: Uint8Array): Promise<OpenSegment> {
  const lines = splitText(await unpackElsewhere(object));
  return { header: lines.header, line: (position) => lineAt(lines, position) };
}

/** The segment's lines, before compression. */
export function encodeSegmentText(segment: SegmentLines): Uint8Array {
  check(segment);
  let text = `${writeHeader({ ...segment, count: segment.entries.length })}\n`;
  for (const entry of segment.entries) text += `${writeLine(entry)}\n`;
  const bytes = utf8(text);
  // Events can be forty times as long as votes: what no reader would unpack must not become evidence.
  if (bytes.length > MAX_UNPACKED_BYTES)
    throw new FormatError(`segment: larger than ${MAX_UNPACKED_BYTES} bytes`);
  return bytes;
}

/** The other way round. */
export function decodeSegmentText(text: Uint8Array): Segment {
  const segment = readText(text);
  const entries = segment.entries.filter((entry) => entry.type !== "vote-ref");
  if (entries.length < segment.entries.length)
    throw new FormatError("segment: its votes are in other objects");
  return { ...segment, entries };
}

function readText(text: Uint8Array): SegmentLines {
  const lines = splitText(text);
  const { count, ...rest } = lines.header;
  const segment = {
    ...rest,
    entries: Array.from({ length: count }, (_, position) => lineAt(lines, position)),
  };
  check(segment);
  return segment;
}

interface Lines {
  readonly header: SegmentHeader;
  readonly text: Uint8Array;
  /** Where each line ends, that of the header too. */
  readonly ends: readonly number[];
}

function splitText(text: Uint8Array): Lines {
  if (text.at(-1) !== LINE_END) throw new FormatError("segment: the last line has no end");
  const ends: number[] = [];
  for (let end = text.indexOf(LINE_END); end >= 0; end = text.indexOf(LINE_END, end + 1)) ends.push(end);
  const header = inLine(0, () => readHeader(text.subarray(0, ends[0])));
  if (header.count !== ends.length - 1) {
    throw new FormatError(`segment: ${ends.length - 1} entries where the header says ${header.count}`);
  }
  return { header, text, ends };
}

/** By the entry's position. Line 0 is the header. */
function lineAt({ text, ends }: Lines, position: number): SegmentLine {
  const [start, end] = [(ends[position] ?? text.length) + 1, ends[position + 1] ?? text.length];
  return inLine(position + 1, () => readLine(text, start, end));
}

/** With `info` the result has this form (Node's zlib documentation, "Class: Options"), which its types leave out. */
interface Unpacked {
  readonly buffer: Uint8Array;
  readonly engine: { readonly bytesWritten: number };
}

const UNPACKING = { maxOutputLength: MAX_UNPACKED_BYTES, info: true };
const zstdDecompressAsync = promisify(zstdDecompress);

function unpack(object: Uint8Array): Uint8Array {
  try {
    return wholeFrame(object, zstdDecompressSync(object, UNPACKING) as unknown as Unpacked);
  } catch (error) {
    throw new FormatError(`segment: does not unpack: ${messageOf(error)}`, { cause: error });
  }
}

async function unpackElsewhere(object: Uint8Array): Promise<Uint8Array> {
  try {
    return wholeFrame(object, (await zstdDecompressAsync(object, UNPACKING)) as unknown as Unpacked);
  } catch (error) {
    throw new FormatError(`segment: does not unpack: ${messageOf(error)}`, { cause: error });
  }
}

/** zstd stops at the end of its frame: what someone appended to it would stay unseen. */
function wholeFrame(object: Uint8Array, { buffer, engine }: Unpacked): Uint8Array {
  if (engine.bytesWritten !== object.length) throw new RangeError("bytes follow the compressed frame");
  return buffer;
}

/** Says in which line of the segment, counted from 0, a FormatError comes from. For people they count from 1. */
function inLine<T>(line: number, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    throw new FormatError(`segment: line ${line + 1}: ${error.message}`, { cause: error });
  }
}

/** The rules that hold between lines. Chains and roots are for whoever has the segments before. */
function check(segment: SegmentLines): void {
  try {
    keyOfSegment(segment);
  } catch (error) {
    throw new FormatError(`segment: ${messageOf(error)}`, { cause: error });
  }
  segment.entries.forEach((entry, position) => {
    const problem = inLine(position + 1, () => problemOf(segment, entry, position));
    if (problem) throw new FormatError(`segment: line ${position + 2}: ${problem}`);
  });
}

function problemOf(segment: SegmentLines, entry: SegmentLine, position: number): string | undefined {
  const shards = segment.shardHeads.length;
  const isFirstOfLog = segment.firstIndex + position === 0;
  if (isFirstOfLog !== (entry.type === "manifest"))
    return "the manifest is entry 0, and entry 0 is the manifest";
  switch (entry.type) {
    case "manifest":
      return equalBytes(entry.manifestHash, segment.manifestHash) ? undefined : "not the header's manifest";
    case "vote":
      return entry.record.shard < shards ? undefined : `shard ${entry.record.shard} of ${shards}`;
    case "vote-ref":
      // Any id is one of some shard. Whether the object is that vote, whoever reads it sees.
      return undefined;
    case "event":
      return parseEvent(entry.note).electionId === segment.electionId
        ? undefined
        : "an event of another election";
    case "closing":
      if (position !== segment.entries.length - 1) return "entries follow the closing one";
      if (entry.shardHeads.length !== shards) return "not one head for each shard";
      return entry.totalVotes === closingEntry(entry.shardHeads).totalVotes ? undefined : "a wrong total";
  }
}

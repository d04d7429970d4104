// For tests: an election's evidence and public log, as the services leave them, in memory, to be tampered with.
import { AuditFixture } from "../audit/audit-fixture.ts";
import { readBlock } from "../audit/block.ts";
import type { Commit } from "../audit/election-log.ts";
import { EventKey } from "../audit/event-key.ts";
import { lastBlockOf } from "../audit/stored-segments.ts";
import { appendVotes } from "../ballot/chain.ts";
import { closingEntry } from "../ballot/entry.ts";
import type { Manifest } from "../ballot/manifest.ts";
import type { VoteRecord } from "../ballot/record.ts";
import { decodeUtf8, toHex, utf8 } from "../core/bytes.ts";
import { type ElectionId, type VoteId, voteIdOf } from "../core/ids.ts";
import { type Hash, sha256 } from "../core/sha256.ts";
import { keyChangeFile, keyChangePath } from "../evidence/key-change.ts";
import {
  BLOCK_ENTRIES,
  checkpointKey,
  checkpointNumberOf,
  type EvidenceLayout,
  parseVoteKey,
  voteKey,
} from "../evidence/layout.ts";
import { decodeSegmentLines, encodeSegment, type Segment } from "../evidence/segment.ts";
import type { SegmentEntry, SegmentLine } from "../evidence/segment-line.ts";
import { encodeVoteCheckpoint } from "../evidence/vote-checkpoint.ts";
import { decodeVoteObject, encodeVoteObject } from "../evidence/vote-object.ts";
import { type Checkpoint, formatCheckpoint, openCheckpoint } from "../tlog/checkpoint.ts";
import { NoteSigner, signNote } from "../tlog/note.ts";
import { NoteVerifier } from "../tlog/note-verifier.ts";
import { parseTilePath, tileWidthAt } from "../tlog/tile.ts";
import { TileReader } from "../tlog/tile-reader.ts";
import { ObjectCorruptError, type ObjectStore } from "../worm/object-store.ts";
import type { PublicSource } from "./http-source.ts";
import { VerificationReport } from "./report.ts";
import { verifyEvidence } from "./verify-evidence.ts";
import { verifyPublicLog } from "./verify-public.ts";

/** Objects by key or path. */
export class MemoryStore extends Map<string, Uint8Array> implements Pick<ObjectStore, "list"> {
  /** As `ObjectStore.get`. */
  async read(key: string, versionId?: string): Promise<Uint8Array | undefined> {
    const body = this.get(key);
    if (body && versionId !== undefined && versionId !== toHex(sha256(body))) {
      throw new ObjectCorruptError(key, "has other bytes");
    }
    return body;
  }

  async *list(prefix: string): AsyncIterable<string> {
    yield* [...this.keys()].filter((key) => key.startsWith(prefix)).sort();
  }

  /** Changes an object. */
  edit(key: string, change: (body: Uint8Array) => Uint8Array): void {
    const body = this.get(key);
    if (!body) throw new RangeError(`there is no ${key}`);
    this.set(key, change(new Uint8Array(body)));
  }
}

/** Signs the events of test logs. */
export const TEST_EVENT_KEY = new EventKey(new Uint8Array(32).fill(7));

export interface TestLogOptions {
  /** How many votes each commit takes in. */
  readonly commits?: readonly number[];
  /** Without a closing entry. */
  readonly open?: boolean;
  readonly layout?: EvidenceLayout;
  /** How many events come after each commit. */
  readonly events?: number;
  /** After the first commit the log gets this document, and from then on its checkpoints these signatures. */
  readonly keyChange?: { readonly note: string; readonly signers: readonly NoteSigner[] };
  /** The first voter votes again, which ShardRouter would have refused. */
  readonly doubleVote?: boolean;
}

interface Parts {
  readonly manifest: Manifest;
  readonly manifestHash: Hash;
  readonly published: MemoryStore;
  readonly evidence: MemoryStore;
  readonly records: readonly (readonly VoteRecord[])[];
}

/** A log's own key is that of seed 1. */
export function testLogSigner(election: string, seed = 1): NoteSigner {
  return NoteSigner.fromSeed(`psephos.test/${election}`, new Uint8Array(32).fill(seed));
}

export class TestLog {
  readonly electionId: ElectionId;
  readonly manifest: Manifest;
  readonly manifestHash: Hash;
  /** What the public endpoint serves, by path. */
  readonly published: MemoryStore;
  readonly evidence: MemoryStore;
  /** What the databases hold, by shard. */
  readonly records: readonly (readonly VoteRecord[])[];

  private constructor(parts: Parts) {
    this.electionId = parts.manifest.electionId;
    this.manifest = parts.manifest;
    this.manifestHash = parts.manifestHash;
    this.published = parts.published;
    this.evidence = parts.evidence;
    this.records = parts.records;
  }

  static async create({
    commits = [20, 30],
    open = false,
    layout = "segments",
    events = 0,
    keyChange,
    doubleVote = false,
  }: TestLogOptions = {}): Promise<TestLog> {
    await using fixture = await AuditFixture.create({ layout });
    const { election, shards, evidence, tiles } = fixture;
    const { electionId, manifestHash, manifestBytes } = election;
    const log = await fixture.open();
    const published = new MemoryStore([["manifest.json", manifestBytes]]);
    let signers: readonly NoteSigner[] = [testLogSigner(electionId)];
    let changedAt: number | undefined;

    const commit = async (entries: readonly SegmentEntry[]): Promise<void> => {
      for (let done = 0; done < entries.length; ) {
        const part = entries.slice(done, done + log.room);
        await publish(await log.commit(part));
        done += part.length;
      }
    };
    const publish = async ({ head }: Commit): Promise<void> => {
      const note = sign(signers, { size: head.treeSize, root: head.root });
      published.set("checkpoint", utf8(note));
      if (!head.closed && head.treeSize % BLOCK_ENTRIES > 0) return;
      const number = lastBlockOf(head.treeSize);
      published.set(numbered(number), utf8(note));
      const block = await readBlock(evidence, electionId, head);
      await evidence.put(
        checkpointKey(electionId, number),
        encodeVoteCheckpoint({ ...block, electionId, note }),
      );
    };

    // Two are enough: a signature takes a millisecond, and thousands of events can fill a block.
    const documents = [0, 1].map((number) => testEvent(election.manifest, number));
    await commit([{ type: "manifest", manifestHash }]);
    for (const votes of commits) {
      await commit(
        shards
          .cast(votes)
          .flat()
          .map((record) => ({ type: "vote", record })),
      );
      if (keyChange && changedAt === undefined) {
        changedAt = log.head.treeSize;
        signers = keyChange.signers;
        await commit([{ type: "event", note: keyChange.note }]);
      }
      await commit(
        Array.from({ length: events }, (_, n) => documents[n % 2]).filter((event) => event !== undefined),
      );
    }
    if (doubleVote) await commit([{ type: "vote", record: repeatFirstVote(fixture) }]);
    if (!open) await commit([closingEntry(log.head.shardHeads)]);

    for await (const key of tiles.list(`${electionId}/`)) {
      published.set(key.slice(electionId.length + 1), (await tiles.get(key)) ?? new Uint8Array());
    }
    if (keyChange && changedAt !== undefined) {
      const { treeSize: size, root } = log.head;
      const reader = new TileReader({ fetch: async (path) => published.get(path), size, root });
      const proof = await reader.inclusionProof(changedAt);
      const checkpoint = decodeUtf8(published.get("checkpoint") ?? new Uint8Array());
      const file = keyChangeFile({ note: keyChange.note, index: changedAt, proof, checkpoint });
      published.set(keyChangePath(1), utf8(file));
    }
    const stored = new MemoryStore();
    for await (const key of evidence.list("")) stored.set(key, (await evidence.get(key)) ?? new Uint8Array());
    return new TestLog({ ...election, published, evidence: stored, records: shards.records });
  }

  /** A copy whose objects can be changed. */
  clone(): TestLog {
    const published = new MemoryStore(this.published);
    return new TestLog({ ...this, published, evidence: new MemoryStore(this.evidence) });
  }

  get source(): PublicSource {
    return async (path) => this.published.get(path);
  }

  /** The published log's. */
  get size(): number {
    const note = this.published.get("checkpoint") ?? new Uint8Array();
    return openCheckpoint({ note, log: NoteVerifier.parse(this.manifest.logKey) }).checkpoint.size;
  }

  /** What the checkpoint refers to: all that is published, but for partial tiles of the sizes the log once had. */
  get referenced(): string[] {
    const size = this.size;
    return [...this.published.keys()].filter((path) => {
      if (!path.startsWith("tile/")) return true;
      const { level, index, width } = parseTilePath(path);
      return width === tileWidthAt(size, level === "entries" ? 0 : level, index);
    });
  }

  /** The segments' keys, in order. */
  get segmentKeys(): string[] {
    return [...this.evidence.keys()].filter((key) => key.includes("/entries_")).sort();
  }

  /** The key of the segment that has a log index. */
  segmentOf(index: number): string {
    const key = this.segmentKeys.find((key) => {
      const [first = 0, last = 0] = (key.match(/\d{10}(?=[-.])/g) ?? []).map(Number);
      return first <= index && index <= last;
    });
    if (!key) throw new RangeError(`no segment has ${index}`);
    return key;
  }

  /** The record behind a log index. */
  recordAt(index: number): VoteRecord {
    const { firstIndex, entries } = this.segment(this.segmentOf(index));
    const entry = entries[index - firstIndex];
    if (entry?.type !== "vote") throw new RangeError(`${index} is not a vote`);
    return entry.record;
  }

  /** A segment with its records, whatever the layout. */
  segment(key: string): Segment {
    const lines = decodeSegmentLines(this.evidence.get(key) ?? new Uint8Array());
    const entries = lines.entries.map((line, position): SegmentEntry => {
      if (line.type !== "vote-ref") return line;
      const [name, shards] = [this.#voteKey(lines.firstIndex + position, line.id), this.manifest.shards];
      const object = this.evidence.get(name) ?? new Uint8Array();
      return { type: "vote", record: decodeVoteObject(object, { key: name, id: line.id, shards }) };
    });
    return { ...lines, entries };
  }

  /** Decodes a segment, changes it and writes it again, so that nothing is wrong with its form. */
  editSegment(key: string, change: (segment: Segment) => Segment): void {
    this.writeSegment(key, change(this.segment(key)));
  }

  /** Writes a segment, and its votes if they are objects of their own, over what is there. */
  writeSegment(key: string, segment: Segment): void {
    const entries = segment.entries.map((entry, position): SegmentLine => {
      if (entry.type !== "vote" || !this.#hasVoteObjects) return entry;
      const id = voteIdOf(entry.record.shard, entry.record.sequence, this.manifest.shards);
      const object = encodeVoteObject(entry.record);
      this.evidence.set(this.#voteKey(segment.firstIndex + position, id), object);
      const digest = toHex(sha256(object));
      return { type: "vote-ref", id, versionId: digest, sha256: digest };
    });
    this.evidence.set(key, encodeSegment({ ...segment, entries }));
  }

  get #hasVoteObjects(): boolean {
    return [...this.evidence.keys()].some((key) => parseVoteKey(key));
  }

  /** The key of the object of the vote at a log index. */
  voteKeyAt(index: number): string {
    const { shard, sequence } = this.recordAt(index);
    return this.#voteKey(index, voteIdOf(shard, sequence, this.manifest.shards));
  }

  #voteKey(index: number, id: VoteId): string {
    return voteKey(this.electionId, checkpointNumberOf(index), id);
  }

  /** A note by the log's own key. */
  sign(head: Omit<Checkpoint, "origin">): Uint8Array {
    return utf8(sign([testLogSigner(this.electionId)], head));
  }

  /** Verifies the public log, the evidence, and that they agree. */
  async verify(
    options: {
      readonly public?: boolean;
      readonly evidence?: boolean;
      readonly eventKey?: string;
      readonly logKey?: string;
    } = {},
  ) {
    const report = new VerificationReport();
    const { electionId, source } = this;
    const common = { electionId, report, logKey: options.logKey ?? this.manifest.logKey };
    const log = options.public === false ? undefined : await verifyPublicLog({ ...common, source });
    const known = log && { size: log.checkpoint.size, root: log.checkpoint.root, fetch: source };
    const store = {
      get: (key: string, versionId?: string) => this.evidence.read(key, versionId),
      list: (prefix: string) => this.evidence.list(prefix),
    };
    const evidence =
      options.evidence === false
        ? undefined
        : await verifyEvidence({ ...common, eventKey: options.eventKey, store, known });
    return { report, log, evidence };
  }
}

/** The path of a numbered checkpoint. */
export function numbered(number: number): string {
  return `checkpoints/${String(number).padStart(10, "0")}`;
}

/** An object with one bit of a byte changed. */
export function flip(at: number, bit = 0) {
  return (body: Uint8Array): Uint8Array => {
    const position = at < 0 ? body.length + at : at;
    body[position] = (body[position] ?? 0) ^ (1 << bit);
    return body;
  };
}

function sign(signers: readonly NoteSigner[], head: Omit<Checkpoint, "origin">): string {
  return signNote(formatCheckpoint({ origin: signers[0]?.name ?? "", ...head }), signers);
}

function testEvent(manifest: Manifest, number: number): SegmentEntry {
  const event = { kind: "reconciliation", at: number, details: { number } } as const;
  return { type: "event", note: TEST_EVENT_KEY.sign(manifest, event) };
}

function repeatFirstVote({ shards }: AuditFixture): VoteRecord {
  const first = shards.records.flat()[0];
  const head = first && shards.heads[first.shard];
  if (!first || !head) throw new RangeError("nobody has voted");
  const { voterPseudonym, sealedChoice } = first;
  const again = [{ voterPseudonym, sealedChoice, revision: 1 }];
  const { records } = appendVotes(head, again, { shards: shards.heads.length, nowMicros: first.castAt });
  return records[0] ?? first;
}

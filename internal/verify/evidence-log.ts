import { ChainError, type ChainHead, genesisHeads, verifyNext } from "../ballot/chain.ts";
import { type ClosingEntry, closingEntry, encodeEntry } from "../ballot/entry.ts";
import type { Manifest } from "../ballot/manifest.ts";
import type { VoteRecord } from "../ballot/record.ts";
import type { ShardHead } from "../ballot/shard-head.ts";
import { type Tally, TallyError } from "../ballot/tally.ts";
import { equalBytes, toHex } from "../core/bytes.ts";
import { type ElectionId, shardId, type TreeSize, treeSize, voteIdOf } from "../core/ids.ts";
import type { Hash } from "../core/sha256.ts";
import { verifyEvent } from "../evidence/event.ts";
import { manifestKey, type SegmentRange } from "../evidence/layout.ts";
import { logEntryOf, type Segment } from "../evidence/segment.ts";
import type { SegmentEntry } from "../evidence/segment-line.ts";
import type { VoteCheckpoint } from "../evidence/vote-checkpoint.ts";
import { TlogError } from "../tlog/errors.ts";
import { GrowingTree } from "../tlog/growing-tree.ts";
import type { NoteVerifier } from "../tlog/note-verifier.ts";
import type { TileFetch } from "../tlog/tile-fetch.ts";
import { SourceError } from "./http-source.ts";
import { PublicTree } from "./public-tree.ts";
import type { VerificationReport } from "./report.ts";

/** A signed tree that the evidence must lead to. */
export interface KnownTree {
  readonly size: TreeSize;
  readonly root: Hash;
  /** Its tiles: with them, evidence that differs is named to the entry. */
  readonly fetch?: TileFetch | undefined;
}

export interface EvidenceLogOptions {
  readonly manifest: Manifest;
  readonly manifestHash: Hash;
  readonly known: KnownTree | undefined;
  /** The key that events are signed with, where it is known. */
  readonly eventKey: NoteVerifier | undefined;
  readonly report: VerificationReport;
  /** Takes every record that verifies, unless somebody else applies the one-vote rule. */
  readonly tally: Tally | undefined;
}

/**
 * The log as the segments of an evidence store give it, one after another: chains, tree and count. What is lost with a
 * segment that cannot be read is taken up again where the next one says it stands, and from the public log.
 */
export class EvidenceLog {
  closing: ClosingEntry | undefined;
  /** The last vote; null before the first, undefined when it is not known. */
  lastVote: VoteCheckpoint["lastVote"] | undefined = null;
  readonly #electionId: ElectionId;
  #manifestHash: Hash;
  readonly #known: KnownTree | undefined;
  readonly #eventKey: NoteVerifier | undefined;
  readonly #report: VerificationReport;
  readonly #tally: Tally | undefined;
  #size = 0;
  /** Undefined when they are not known. */
  #heads: ChainHead[] | undefined;
  #tree: GrowingTree | undefined = GrowingTree.empty();
  #public: PublicTree | undefined;

  constructor({ manifest, manifestHash, known, eventKey, report, tally }: EvidenceLogOptions) {
    this.#electionId = manifest.electionId;
    this.#manifestHash = manifestHash;
    this.#known = known;
    this.#eventKey = eventKey;
    this.#report = report;
    this.#tally = tally;
    this.#heads = genesisHeads(manifestHash, manifest.shards);
    this.#public = known?.fetch && new PublicTree({ ...known, fetch: known.fetch });
  }

  get size(): number {
    return this.#size;
  }

  /** The root at this size, when it is known. */
  get root(): Hash | undefined {
    return this.#tree?.root();
  }

  /** Where each shard stands, when it is known. */
  get heads(): readonly ShardHead[] | undefined {
    return this.#heads;
  }

  /** Takes the next segment, and reports all that is wrong with it. */
  async accept(key: string, segment: Segment): Promise<void> {
    const { firstIndex, entries } = segment;
    const refuse = (problem: string) => this.#report.problem({ object: key, index: firstIndex }, problem);
    if (firstIndex < this.#size) return refuse("overlaps the segments before it: two histories");
    if (this.closing) return refuse("comes after the closing entry");
    this.#expect(firstIndex);
    await this.#join(segment, refuse);
    let rootAtKnown = this.root;
    for (const [offset, entry] of entries.entries()) {
      this.#append(key, firstIndex + offset, entry);
      if (this.#size === this.#known?.size) rootAtKnown = this.root;
    }
    // Whoever wants the tiles has the public log's; these would pile up.
    this.#tree?.takeTiles();
    if (this.#tree && !equalBytes(segment.rootAfter, this.#tree.root())) {
      refuse("does not lead to the root it names");
    }
    await this.#compareWithPublic(key, segment, rootAtKnown);
  }

  /** Goes on after a segment that cannot be read. */
  lose({ first, last }: SegmentRange): void {
    if (first < this.#size) return; // It is another history of entries that are here.
    this.#expect(first);
    this.#forget(first, last);
  }

  #expect(firstIndex: number): void {
    if (firstIndex === this.#size) return;
    this.#report.problem({ index: this.#size }, `no segment has the entries from here to ${firstIndex - 1}`);
    this.#forget(this.#size, firstIndex - 1);
  }

  #forget(first: number, last: number): void {
    this.#report.unchecked(`the evidence of entries ${first} to ${last}`);
    this.#size = last + 1;
    this.#heads = undefined;
    this.#tree = undefined;
    this.lastVote = undefined;
  }

  /** Compares what a segment says of the log before it, and takes its word for what is not known. */
  async #join(segment: Segment, refuse: (problem: string) => void): Promise<void> {
    const { shardHeads, rootBefore, firstIndex } = segment;
    if (!equalBytes(segment.manifestHash, this.#manifestHash)) {
      if (firstIndex === 0) this.#beginWith(segment.manifestHash);
      else refuse("belongs to another manifest");
    }
    if (!this.#heads || !sameHeads(shardHeads, this.#heads)) {
      if (this.#heads) refuse("does not begin where the segments before it left the chains");
      this.#heads = shardHeads.map((head, shard) => ({ ...head, shard: shardId(shard), castAt: 0 }));
    }
    if (this.#tree && !equalBytes(rootBefore, this.#tree.root())) {
      refuse("continues another tree");
      this.#tree = undefined;
    }
    this.#tree ??= await this.#publicTreeAt(firstIndex);
    if (!this.#tree) this.#report.unchecked(`the evidence's tree roots from entry ${firstIndex} on`);
  }

  /** The log begins with another manifest than the one beside it. All that follows is bound to the log's. */
  #beginWith(manifestHash: Hash): void {
    const object = manifestKey(this.#electionId);
    this.#report.problem({ object }, `does not hash to ${toHex(manifestHash)}, which the log begins with`);
    this.#manifestHash = manifestHash;
    this.#heads = genesisHeads(manifestHash, this.#heads?.length ?? 0);
  }

  #append(object: string, index: number, entry: SegmentEntry): void {
    if (entry.type === "vote") this.#appendRecord(object, index, entry.record);
    if (entry.type === "event") this.#checkEvent(object, index, entry.note);
    if (entry.type === "closing") {
      this.closing = entry;
      if (!this.#heads || !equalBytes(encodeEntry(entry), encodeEntry(closingEntry(this.#heads)))) {
        this.#report.problem({ object, index }, "closes other totals than the records give");
      }
    }
    this.#tree?.append(encodeEntry(logEntryOf(entry)));
    this.#size = index + 1;
  }

  #appendRecord(object: string, index: number, record: VoteRecord): void {
    const { shard, sequence, hash, castAt } = record;
    const place = { object, index, shard, sequence };
    const heads = this.#heads ?? [];
    const head = heads[shard];
    if (!head) {
      this.#report.problem(place, `the election has ${heads.length} shards`);
      return;
    }
    try {
      heads[shard] = verifyNext(head, record, heads.length);
      this.#report.checked.records++;
      this.#tally?.add(record);
    } catch (error) {
      if (!(error instanceof ChainError || error instanceof TallyError)) throw error;
      this.#report.problem(place, error.message);
      heads[shard] = { shard, sequence, hash, castAt };
    }
    this.lastVote = { id: voteIdOf(shard, sequence, heads.length), hash };
  }

  /** Its form was checked when the segment was decoded. */
  #checkEvent(object: string, index: number, note: string): void {
    this.#report.checked.events++;
    if (!this.#eventKey) {
      this.#report.unchecked("who signed the events: give --event-key to demand the key you know");
      return;
    }
    try {
      verifyEvent(note, this.#eventKey);
    } catch (error) {
      if (!(error instanceof TlogError)) throw error;
      this.#report.problem({ object, index }, `the event: ${error.message}`);
    }
  }

  /** The first segment that leads away from the public log is at fault: its entries are compared one by one. */
  async #compareWithPublic(key: string, segment: Segment, rootAtKnown: Hash | undefined): Promise<void> {
    if (!this.#known) return;
    const { firstIndex, entries } = segment;
    const size = Math.min(this.#size, this.#known.size);
    const root = this.#size > this.#known.size ? rootAtKnown : this.root;
    if (size <= firstIndex || !root || (await this.#agrees(size, root))) return;

    let named = 0;
    for (const [offset, entry] of entries.slice(0, size - firstIndex).entries()) {
      const index = firstIndex + offset;
      const entryThere = await this.#publicEntry(index);
      if (!entryThere || equalBytes(entryThere, encodeEntry(logEntryOf(entry)))) continue;
      const { shard, sequence } = entry.type === "vote" ? entry.record : {};
      this.#report.problem({ object: key, index, shard, sequence }, "the public log has another entry here");
      named++;
    }
    if (named === 0) {
      const place = { object: key, index: size - 1 };
      this.#report.problem(place, `the evidence and the public log differ within the first ${size} entries`);
    }
    this.#tree = await this.#publicTreeAt(this.#size);
  }

  /** Without tiles, only the root of the known size can be compared. */
  async #agrees(size: number, root: Hash): Promise<boolean> {
    const agrees = await this.#ask((tree) => tree.hadRoot(size, root));
    return agrees ?? (size !== this.#known?.size || equalBytes(root, this.#known.root));
  }

  #publicEntry(index: number): Promise<Uint8Array | undefined> {
    return this.#ask((tree) => tree.entry(index));
  }

  async #publicTreeAt(size: number): Promise<GrowingTree | undefined> {
    if (size > (this.#known?.size ?? 0)) return undefined;
    return this.#ask((tree) => tree.at(treeSize(size)));
  }

  /** Once the public log cannot be read, whose own verification says why, the evidence stands alone. */
  async #ask<T>(question: (tree: PublicTree) => Promise<T>): Promise<T | undefined> {
    if (!this.#public) return undefined;
    try {
      return await question(this.#public);
    } catch (error) {
      if (!(error instanceof TlogError || error instanceof SourceError)) throw error;
      this.#public = undefined;
      this.#report.unchecked("segment by segment, that the evidence is what the public log has");
      return undefined;
    }
  }
}

export function sameHeads(a: readonly ShardHead[], b: readonly ShardHead[]): boolean {
  return (
    a.length === b.length &&
    a.every(({ sequence, hash }, shard) => {
      const other = b[shard];
      return other !== undefined && sequence === other.sequence && equalBytes(hash, other.hash);
    })
  );
}

import { type ChainHead, genesisHeads } from "../ballot/chain.ts";
import type { ClosingEntry } from "../ballot/entry.ts";
import { FormatError } from "../ballot/format-error.ts";
import type { Manifest } from "../ballot/manifest.ts";
import type { ShardHead } from "../ballot/shard-head.ts";
import { equalBytes, toHex } from "../core/bytes.ts";
import { type ElectionId, positionOf, shardId, type TreeSize, treeSize, voteId } from "../core/ids.ts";
import { HASH_SIZE, type Hash } from "../core/sha256.ts";
import { acceptKeyChange } from "../evidence/key-change.ts";
import { manifestKey, type SegmentRange } from "../evidence/layout.ts";
import type { VoteCheckpoint } from "../evidence/vote-checkpoint.ts";
import { CompactRange, subtreesOf } from "../tlog/compact-range.ts";
import { TlogError } from "../tlog/errors.ts";
import type { LogKeys } from "../tlog/log-keys.ts";
import type { TileFetch } from "../tlog/tile-fetch.ts";
import { leafHash } from "../tlog/tree.ts";
import type { CheckedSegment } from "./check-segment.ts";
import { SourceError } from "./http-source.ts";
import { PublicTree } from "./public-tree.ts";
import type { Place, VerificationReport } from "./report.ts";

/** A signed tree that the evidence must lead to. */
export interface KnownTree {
  readonly size: TreeSize;
  readonly root: Hash;
  /** Its tiles: with them, evidence that differs is named to the entry. */
  readonly fetch?: TileFetch | undefined;
}

/** Where a verification of the evidence stands: all that is needed to go on from there. */
export interface EvidencePosition {
  readonly size: number;
  /** Undefined when they are not known. */
  readonly heads: readonly ChainHead[] | undefined;
  /** Undefined when it is not known. */
  readonly tree: CompactRange | undefined;
  /** The last vote; null before the first, undefined when it is not known. */
  readonly lastVote: VoteCheckpoint["lastVote"] | undefined;
  readonly closing: ClosingEntry | undefined;
  /** The log's, with the changes up to here. */
  readonly keys: LogKeys;
}

export interface EvidenceLogOptions {
  readonly manifest: Manifest;
  readonly manifestHash: Hash;
  /** The key that the log begins with. */
  readonly log: LogKeys;
  readonly known: KnownTree | undefined;
  readonly report: VerificationReport;
  /** Where to begin; the log's beginning unless given. */
  readonly from?: EvidencePosition | undefined;
}

/**
 * The log as the segments of an evidence store give it, one after another, each of which was checked by itself: here
 * chains and tree are joined. What is lost with a segment that cannot be read is taken up again where the next one says
 * it stands, and from the public log.
 */
export class EvidenceLog {
  closing: ClosingEntry | undefined;
  /** The last vote; null before the first, undefined when it is not known. */
  lastVote: VoteCheckpoint["lastVote"] | undefined = null;
  #keys: LogKeys;
  readonly #electionId: ElectionId;
  #manifestHash: Hash;
  readonly #known: KnownTree | undefined;
  readonly #report: VerificationReport;
  #size = 0;
  /** Undefined when they are not known. */
  #heads: readonly ChainHead[] | undefined;
  #tree: CompactRange | undefined = CompactRange.empty();
  #public: PublicTree | undefined;

  constructor({ manifest, manifestHash, log, known, report, from }: EvidenceLogOptions) {
    this.#keys = from?.keys ?? log;
    this.#electionId = manifest.electionId;
    this.#manifestHash = manifestHash;
    this.#known = known;
    this.#report = report;
    this.#heads = genesisHeads(manifestHash, manifest.shards);
    this.#public = known?.fetch && new PublicTree({ ...known, fetch: known.fetch });
    if (!from) return;
    this.#size = from.size;
    this.#heads = from.heads;
    this.#tree = from.tree?.clone();
    this.lastVote = from.lastVote;
    this.closing = from.closing;
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

  /** The log's keys, with the changes up to this size. */
  get keys(): LogKeys {
    return this.#keys;
  }

  get position(): EvidencePosition {
    const { lastVote, closing, keys } = this;
    return { size: this.#size, heads: this.#heads, tree: this.#tree?.clone(), lastVote, closing, keys };
  }

  /** Takes the next segment, and reports all that is wrong with it. */
  async accept(key: string, segment: CheckedSegment): Promise<void> {
    const { firstIndex } = segment;
    const refuse = (problem: string) => this.#report.problem({ object: key, index: firstIndex }, problem);
    if (firstIndex < this.#size) return refuse("overlaps the segments before it: two histories");
    if (this.closing) return refuse("comes after the closing entry");
    this.#expect(firstIndex);
    const before = await this.#join(segment, refuse);
    this.#compareTimes(key, segment, before);
    this.#report.add(segment.findings);
    this.#changeKeys(key, segment);
    const rootAtKnown = this.#append(segment);
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

  /**
   * Compares what a segment says of the log before it, and takes its word for what is not known. Answers the shards'
   * heads before it, with their times where these are known.
   */
  async #join(segment: CheckedSegment, refuse: (problem: string) => void): Promise<readonly ChainHead[]> {
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
    return this.#heads;
  }

  /** The log begins with another manifest than the one beside it. All that follows is bound to the log's. */
  #beginWith(manifestHash: Hash): void {
    const object = manifestKey(this.#electionId);
    this.#report.problem({ object }, `does not hash to ${toHex(manifestHash)}, which the log begins with`);
    this.#manifestHash = manifestHash;
    this.#heads = genesisHeads(manifestHash, this.#heads?.length ?? 0);
  }

  /** Within a shard time never goes backwards, also from one segment to the next. */
  #compareTimes(object: string, { firstVotes }: CheckedSegment, before: readonly ChainHead[]): void {
    for (const { index, head } of firstVotes) {
      const { shard, sequence, castAt } = head;
      if (castAt >= (before[shard]?.castAt ?? 0)) continue;
      this.#report.problem({ object, index, shard, sequence }, "cast before the record it follows");
    }
  }

  #changeKeys(object: string, { keyChanges }: CheckedSegment): void {
    for (const { index, note } of keyChanges) {
      try {
        this.#keys = acceptKeyChange(this.#keys, note, index);
      } catch (error) {
        if (!(error instanceof FormatError || error instanceof TlogError)) throw error;
        this.#report.problem({ object, index }, error.message);
      }
    }
  }

  /** Answers the root at the size of the known tree, where that lies within the segment. */
  #append({
    firstIndex,
    count,
    leaves,
    subtrees,
    heads,
    lastVote,
    closing,
  }: CheckedSegment): Hash | undefined {
    let rootAtKnown = this.root;
    const inside = (this.#known?.size ?? 0) - firstIndex;
    if (this.#tree && inside > 0 && inside < count) {
      const tree = this.#tree.clone();
      for (const subtree of subtreesOf(firstIndex, leaves.subarray(0, inside * HASH_SIZE)))
        tree.append(subtree);
      rootAtKnown = tree.root();
    }
    for (const subtree of subtrees) this.#tree?.append(subtree);
    this.#size = firstIndex + count;
    this.#heads = heads;
    this.lastVote = lastVote ?? this.lastVote;
    this.closing = closing;
    return rootAtKnown;
  }

  /** The first segment that leads away from the public log is at fault: its entries are compared one by one. */
  async #compareWithPublic(
    key: string,
    segment: CheckedSegment,
    rootAtKnown: Hash | undefined,
  ): Promise<void> {
    if (!this.#known) return;
    const { firstIndex, leaves } = segment;
    const size = Math.min(this.#size, this.#known.size);
    const root = this.#size > this.#known.size ? rootAtKnown : this.root;
    if (size <= firstIndex || !root || (await this.#agrees(size, root))) return;

    let named = 0;
    for (let index = firstIndex; index < size; index++) {
      const entryThere = await this.#publicEntry(index);
      const at = (index - firstIndex) * HASH_SIZE;
      if (!entryThere || equalBytes(leafHash(entryThere), leaves.subarray(at, at + HASH_SIZE))) continue;
      const place = { object: key, index, ...voteAt(segment, index) };
      this.#report.problem(place, "the public log has another entry here");
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

  async #publicTreeAt(size: number): Promise<CompactRange | undefined> {
    if (size > (this.#known?.size ?? 0)) return undefined;
    return this.#ask(async (tree) => (await tree.at(treeSize(size))).compact());
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

/** The place of the vote at a log index of the segment; nothing for another entry. */
function voteAt({ firstIndex, voteIds, heads }: CheckedSegment, index: number): Place {
  const id = voteIds[index - firstIndex] ?? 0;
  return id === 0 ? { shard: undefined, sequence: undefined } : positionOf(voteId(id), heads.length);
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

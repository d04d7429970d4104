import { ChainError, type ChainHead, genesisHeads, verifyNext } from "../ballot/chain.ts";
import { type ClosingEntry, closingEntry, encodeEntry } from "../ballot/entry.ts";
import { type Manifest, parseManifest } from "../ballot/manifest.ts";
import type { VoteRecord } from "../ballot/record.ts";
import type { ShardHead } from "../ballot/shard-head.ts";
import { Tally, TallyError } from "../ballot/tally.ts";
import { equalBytes, toHex } from "../core/bytes.ts";
import { messageOf } from "../core/errors.ts";
import { type ElectionId, shardId, voteIdOf } from "../core/ids.ts";
import { type Hash, sha256 } from "../core/sha256.ts";
import {
  BLOCK_ENTRIES,
  blockPrefix,
  checkpointKey,
  manifestKey,
  parseSegmentKey,
  votesPrefix,
} from "../evidence/layout.ts";
import { decodeSegment, keyOfSegment, logEntryOf, type Segment } from "../evidence/segment.ts";
import { parseVoteCheckpoint, type StoredSegment, type VoteCheckpoint } from "../evidence/vote-checkpoint.ts";
import { openCheckpoint } from "../tlog/checkpoint.ts";
import { GrowingTree } from "../tlog/growing-tree.ts";
import { NoteVerifier } from "../tlog/note-verifier.ts";
import type { ObjectStore } from "../worm/object-store.ts";
import type { VerificationReport } from "./report.ts";

export interface VerifyEvidenceOptions {
  readonly store: Pick<ObjectStore, "get" | "list">;
  readonly electionId: ElectionId;
  readonly report: VerificationReport;
  /** The log's verifier key as the caller knows it; without it, the one the manifest names is used. */
  readonly logKey?: string | undefined;
  /** A root that is known from elsewhere: the evidence must lead to it at that size. */
  readonly known?: { readonly size: number; readonly root: Hash } | undefined;
  readonly onProgress?: ((entries: number) => void) | undefined;
}

export interface VerifiedEvidence {
  readonly manifest: Manifest;
  readonly treeSize: number;
  readonly root: Hash;
  readonly closing: ClosingEntry | undefined;
  /** Where the evidence leaves each shard. */
  readonly shardHeads: readonly ShardHead[];
  /** Holds every verified record, ready to be counted. */
  readonly tally: Tally;
}

/**
 * Verifies an election from its evidence store alone: every object is read and decoded, every record hash and chain
 * computed again, every entry hashed into the tree, every vote checkpoint and its signature compared, and the
 * one-vote rule applied. After a problem it goes on with what can still be checked, and says what cannot.
 */
export async function verifyEvidence(options: VerifyEvidenceOptions): Promise<VerifiedEvidence | undefined> {
  const { store, electionId, report } = options;
  const bytes = await store.get(manifestKey(electionId));
  if (!bytes) {
    report.problem({ object: manifestKey(electionId) }, "is not there");
    return undefined;
  }
  try {
    const manifest = parseManifest(bytes);
    return await new EvidenceVerification(options, manifest, sha256(bytes)).run();
  } catch (error) {
    report.problem({ object: manifestKey(electionId) }, messageOf(error));
    return undefined;
  }
}

class EvidenceVerification {
  readonly #options: VerifyEvidenceOptions;
  readonly #report: VerificationReport;
  readonly #manifest: Manifest;
  readonly #manifestHash: Hash;
  readonly #log: NoteVerifier;
  readonly #tally: Tally;
  #heads: ChainHead[];
  /** Undefined after a segment that could not be read or did not fit: roots cannot be computed any more. */
  #tree: GrowingTree | undefined = GrowingTree.empty();
  #size = 0;
  #lastVote: VoteCheckpoint["lastVote"] = null;
  #closing: ClosingEntry | undefined;

  constructor(options: VerifyEvidenceOptions, manifest: Manifest, manifestHash: Hash) {
    this.#options = options;
    this.#report = options.report;
    this.#manifest = manifest;
    this.#manifestHash = manifestHash;
    this.#log = NoteVerifier.parse(options.logKey ?? manifest.logKey);
    this.#tally = new Tally({ manifest });
    this.#heads = genesisHeads(manifestHash, manifest.shards);
  }

  async run(): Promise<VerifiedEvidence> {
    const { electionId } = this.#options;
    const objects = await this.#objects();
    for (const [number, keys] of objects) {
      const stored: StoredFacts[] = [];
      for (const key of keys) {
        const range = parseSegmentKey(key);
        if (range) stored.push(...(await this.#segment(key, range.first)));
        else if (key !== checkpointKey(electionId, number))
          this.#report.problem({ object: key }, "has no place here");
      }
      await this.#checkpoint(number, keys.includes(checkpointKey(electionId, number)), stored);
    }
    this.#compareKnown(true);
    return {
      manifest: this.#manifest,
      treeSize: this.#size,
      root: this.#tree?.root() ?? GrowingTree.empty().root(),
      closing: this.#closing,
      shardHeads: this.#heads,
      tally: this.#tally,
    };
  }

  /** Every key under votes/, by block. */
  async #objects(): Promise<Map<number, string[]>> {
    const { store, electionId } = this.#options;
    const blocks = new Map<number, string[]>();
    for await (const key of store.list(votesPrefix(electionId))) {
      const number = Number(/\/checkpoint_(\d{10})\//.exec(key)?.[1]);
      if (!number || !key.startsWith(blockPrefix(electionId, number))) {
        this.#report.problem({ object: key }, "has no place here");
        continue;
      }
      blocks.set(number, [...(blocks.get(number) ?? []), key]);
    }
    return blocks;
  }

  async #segment(key: string, firstIndex: number): Promise<StoredFacts[]> {
    const { store, onProgress } = this.#options;
    try {
      const body = await store.get(key);
      if (!body) throw new Error("is listed and cannot be read");
      this.#report.checked.bytes += body.length;
      const facts = { key, sha256: toHex(sha256(body)), bytes: body.length };
      const segment = decodeSegment(body);
      if (keyOfSegment(segment) !== key) throw new Error(`holds ${keyOfSegment(segment)}`);
      this.#accept(key, segment);
      this.#report.checked.segments++;
      onProgress?.(this.#size);
      return [facts];
    } catch (error) {
      this.#report.problem({ object: key, index: firstIndex }, messageOf(error));
      this.#loseTree();
      return [];
    }
  }

  #accept(key: string, segment: Segment): void {
    const { firstIndex, shardHeads } = segment;
    const refuse = (problem: string) => {
      this.#report.problem({ object: key, index: firstIndex }, problem);
      this.#loseTree();
    };
    if (!equalBytes(segment.manifestHash, this.#manifestHash)) refuse("belongs to another manifest");
    if (firstIndex !== this.#size)
      refuse(`begins at ${firstIndex}, and the segment before ends at ${this.#size - 1}`);
    if (!sameHeads(shardHeads, this.#heads))
      refuse("does not begin where the segments before it left the chains");
    if (this.#tree && !equalBytes(segment.rootBefore, this.#tree.root())) refuse("continues another tree");
    // What this segment says of itself is all there is to go by when the one before it is lost.
    if (!this.#tree) {
      this.#heads = shardHeads.map((head, shard) => ({ ...head, shard: shardId(shard), castAt: 0 }));
      this.#size = firstIndex;
    }
    for (const [offset, entry] of segment.entries.entries()) {
      const index = firstIndex + offset;
      if (entry.type === "vote") this.#acceptRecord(key, index, entry.record);
      if (entry.type === "closing") this.#acceptClosing(key, index, entry);
      this.#tree?.append(encodeEntry(logEntryOf(entry)));
      this.#size = index + 1;
      this.#compareKnown(false);
    }
    // Whoever reads tiles has their own; these would pile up.
    this.#tree?.takeTiles();
    if (this.#tree && !equalBytes(segment.rootAfter, this.#tree.root()))
      refuse("does not lead to the root it names");
  }

  #acceptRecord(object: string, index: number, record: VoteRecord): void {
    const { shard, sequence } = record;
    const place = { object, index, shard, sequence };
    const head = this.#heads[shard];
    if (!head) {
      this.#report.problem(place, `the election has ${this.#heads.length} shards`);
      return;
    }
    try {
      this.#heads[shard] = verifyNext(head, record, this.#heads.length);
      this.#report.checked.records++;
      this.#tally.add(record);
    } catch (error) {
      if (!(error instanceof ChainError || error instanceof TallyError)) throw error;
      this.#report.problem(place, error.message);
      this.#heads[shard] = { shard, sequence, hash: record.hash, castAt: record.castAt };
    }
    this.#lastVote = { id: voteIdOf(shard, sequence, this.#heads.length), hash: record.hash };
  }

  #acceptClosing(object: string, index: number, entry: ClosingEntry): void {
    this.#closing = entry;
    if (!equalBytes(encodeEntry(entry), encodeEntry(closingEntry(this.#heads)))) {
      this.#report.problem({ object, index }, "closes other totals than the records give");
    }
  }

  /** A finished block has its checkpoint: all it says must be what was just read. */
  async #checkpoint(number: number, present: boolean, stored: readonly StoredFacts[]): Promise<void> {
    const { store, electionId } = this.#options;
    const key = checkpointKey(electionId, number);
    const finished = this.#size === number * BLOCK_ENTRIES || this.#closing !== undefined;
    if (!present) {
      if (finished) this.#report.problem({ object: key }, "is not there although its block is finished");
      else
        this.#report.unchecked(
          `signatures after entry ${(number - 1) * BLOCK_ENTRIES - 1}: the last block is unfinished`,
        );
      return;
    }
    try {
      const body = await store.get(key);
      if (!body) throw new Error("is listed and cannot be read");
      this.#report.checked.bytes += body.length;
      this.#compareCheckpoint(key, parseVoteCheckpoint(body), stored);
      this.#report.checked.checkpoints++;
    } catch (error) {
      this.#report.problem({ object: key }, messageOf(error));
    }
  }

  #compareCheckpoint(object: string, checkpoint: VoteCheckpoint, stored: readonly StoredFacts[]): void {
    const differs = (what: string) => this.#report.problem({ object }, `${what} differs from what is stored`);
    const { checkpoint: signed } = openCheckpoint({ note: checkpoint.note, log: this.#log });
    this.#report.checked.notes++;
    if (signed.size !== checkpoint.treeSize || !equalBytes(signed.root, checkpoint.treeRoot)) {
      this.#report.problem({ object }, "is signed for another tree than it names");
    }
    if (checkpoint.treeSize !== this.#size) differs(`tree_size ${checkpoint.treeSize}`);
    if (this.#tree && !equalBytes(checkpoint.treeRoot, this.#tree.root())) differs("tree_root");
    if (!sameHeads(checkpoint.shardHeads, this.#heads)) differs("shard_heads");
    const last = this.#lastVote;
    const named = checkpoint.lastVote;
    if (named?.id !== last?.id || (named && last && !equalBytes(named.hash, last.hash)))
      differs("last_vote_id");
    this.#compareSegments(object, checkpoint.segments, stored);
  }

  #compareSegments(object: string, named: readonly StoredSegment[], stored: readonly StoredFacts[]): void {
    const facts = new Map(stored.map((segment) => [segment.key, segment]));
    for (const { key, sha256, bytes } of named) {
      const found = facts.get(key);
      if (!found) this.#report.problem({ object: key }, `is named by ${object} and could not be read`);
      else if (found.sha256 !== sha256 || found.bytes !== bytes) {
        this.#report.problem({ object: key }, `has other bytes than ${object} names`);
      }
      facts.delete(key);
    }
    for (const key of facts.keys()) this.#report.problem({ object: key }, `is not named by ${object}`);
  }

  #compareKnown(atEnd: boolean): void {
    const { known } = this.#options;
    if (!known) return;
    if (this.#tree && this.#size === known.size && !atEnd) {
      if (!equalBytes(this.#tree.root(), known.root)) {
        const place = { index: known.size - 1 };
        this.#report.problem(
          place,
          `the evidence and the public log differ within the first ${known.size} entries`,
        );
      }
    }
    if (atEnd && this.#size < known.size) {
      const place = { index: this.#size };
      this.#report.problem(place, `the public log has ${known.size} entries, the evidence ${this.#size}`);
    }
  }

  #loseTree(): void {
    this.#tree = undefined;
    this.#report.unchecked(`tree roots of the evidence after entry ${this.#size - 1}`);
  }
}

interface StoredFacts {
  readonly key: string;
  readonly sha256: string;
  readonly bytes: number;
}

function sameHeads(a: readonly ShardHead[], b: readonly ShardHead[]): boolean {
  return (
    a.length === b.length &&
    a.every(({ sequence, hash }, shard) => {
      const other = b[shard];
      return other !== undefined && sequence === other.sequence && equalBytes(hash, other.hash);
    })
  );
}

import { encodeEntry } from "../ballot/entry.ts";
import type { Manifest } from "../ballot/manifest.ts";
import type { ShardHead } from "../ballot/shard-head.ts";
import type { Clock } from "../core/clock.ts";
import type { ElectionId } from "../core/ids.ts";
import type { Hash } from "../core/sha256.ts";
import { BLOCK_ENTRIES, type EvidenceLayout, SEGMENT_ENTRIES } from "../evidence/layout.ts";
import { encodeSegment, keyOfSegment, logEntryOf, type Segment } from "../evidence/segment.ts";
import type { SegmentEntry } from "../evidence/segment-line.ts";
import type { Logger } from "../telemetry/logger.ts";
import type { GrowingTree } from "../tlog/growing-tree.ts";
import type { Tile } from "../tlog/tile.ts";
import { ObjectConflictError, type ObjectStore, type StoredObject } from "../worm/object-store.ts";
import { putAll } from "../worm/put-all.ts";
import { ContestedError } from "./halt.ts";
import { type HeadStore, type LogHead, sameHead } from "./head.ts";
import { putAndReadBack, putVotes } from "./put-evidence.ts";
import { retry } from "./retry.ts";

/** An election as AuditService knows it. */
export interface AuditedElection {
  readonly electionId: ElectionId;
  readonly manifest: Manifest;
  readonly manifestBytes: Uint8Array;
  readonly manifestHash: Hash;
}

/** Where a log is kept. */
export interface LogStores {
  readonly heads: HeadStore;
  readonly evidence: ObjectStore;
  /** How votes are written into the evidence store, which may hold others already; `segments` unless given. */
  readonly layout?: EvidenceLayout | undefined;
  readonly tiles: ObjectStore;
}

export interface ElectionLogOptions {
  readonly election: AuditedElection;
  readonly stores: LogStores;
  /** The committed head and the tree of its size: `openLog` makes sure of both. */
  readonly head: LogHead;
  readonly tree: GrowingTree;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/** What a commit put into the log. */
export interface Commit {
  readonly head: LogHead;
  readonly segments: readonly StoredObject[];
}

interface StagedCommit {
  readonly segments: readonly Segment[];
  readonly tree: GrowingTree;
  readonly head: LogHead;
}

/**
 * One election's log, and the one way it grows. A commit is all or nothing at its swap: what is written before is
 * unreferenced until then, and what follows can be done again any number of times with the same bytes.
 */
export class ElectionLog {
  readonly election: AuditedElection;
  readonly #stores: LogStores;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #signal: AbortSignal;
  #head: LogHead;
  #tree: GrowingTree;

  constructor(options: ElectionLogOptions) {
    this.election = options.election;
    this.#stores = options.stores;
    this.#clock = options.clock;
    this.#logger = options.logger;
    this.#signal = options.signal;
    this.#head = options.head;
    this.#tree = options.tree;
  }

  get head(): LogHead {
    return this.#head;
  }

  /** How many entries the next commit may have: it ends at a block's end at the latest. */
  get room(): number {
    return BLOCK_ENTRIES - (this.#head.treeSize % BLOCK_ENTRIES);
  }

  /**
   * Appends entries in their order, `room` of them at most, and answers when they are in the evidence store, in the
   * log and in the tiles. Every step is repeated until it succeeds. A HaltError, or anything else `isFatal`, means
   * that this log must not go on.
   */
  async commit(entries: readonly SegmentEntry[]): Promise<Commit> {
    if (entries.length === 0 || entries.length > this.room) {
      throw new RangeError(`a commit of ${entries.length} entries where 1 to ${this.room} fit`);
    }

    // The tree is extended on a copy, before anything is written: each segment says which root it leads to.
    const staged = this.#stage(entries);

    // One segment after another, so that what a crash leaves behind continues the head without a gap. `openLog` finds
    // it there and commits it first: these entries then have their places in the log for good.
    const segments: StoredObject[] = [];
    for (const segment of staged.segments) {
      segments.push(await this.#retry("write a segment", () => this.#putSegment(segment)));
    }

    // The commit point. A crash before this line: the log is as it was. After it: `openLog` redoes what is left.
    await this.#swap(staged.head);
    this.#head = staged.head;
    this.#tree = staged.tree;

    // Before the head goes to the Publisher, who reads them. Written again after a crash, with the same bytes.
    const tiles = staged.tree.takeTiles();
    await this.#retry("write the tiles", () => putTiles(this.#stores.tiles, this.election.electionId, tiles));
    return { head: staged.head, segments };
  }

  #stage(entries: readonly SegmentEntry[]): StagedCommit {
    const tree = this.#tree.clone();
    const shardHeads = [...this.#head.shardHeads];
    const segments: Segment[] = [];
    for (let start = 0; start < entries.length; start += SEGMENT_ENTRIES) {
      const part = entries.slice(start, start + SEGMENT_ENTRIES);
      segments.push(this.#stageSegment(tree, shardHeads, part));
    }
    const head: LogHead = {
      electionId: this.election.electionId,
      treeSize: tree.size,
      root: tree.root(),
      shardHeads,
      closed: entries.at(-1)?.type === "closing",
      committedAt: this.#clock.nowMicros(),
    };
    return { segments, tree, head };
  }

  /** Moves `tree` and `shardHeads` past the entries. */
  #stageSegment(tree: GrowingTree, shardHeads: ShardHead[], entries: readonly SegmentEntry[]): Segment {
    const { electionId, manifestHash } = this.election;
    const firstIndex = tree.size;
    const rootBefore = tree.root();
    const headsBefore = [...shardHeads];
    for (const entry of entries) {
      tree.append(encodeEntry(logEntryOf(entry)));
      if (entry.type === "vote") {
        const { shard, sequence, hash } = entry.record;
        shardHeads[shard] = { sequence, hash };
      }
    }
    return {
      electionId,
      manifestHash,
      firstIndex,
      shardHeads: headsBefore,
      rootBefore,
      rootAfter: tree.root(),
      entries,
    };
  }

  /**
   * Votes that are objects of their own come first: the segment names them, and without it they are unreferenced. Other
   * bytes under the segment's key are another process's.
   */
  async #putSegment(segment: Segment): Promise<StoredObject> {
    const { evidence, layout } = this.#stores;
    const lines = layout === "object-per-vote" ? await putVotes(evidence, segment) : segment;
    return putAndReadBack(evidence, keyOfSegment(segment), encodeSegment(lines)).catch((error: unknown) => {
      if (!(error instanceof ObjectConflictError)) throw error;
      throw new ContestedError(this.#head.treeSize, error.message, { cause: error });
    });
  }

  async #swap(next: LogHead): Promise<void> {
    const { heads } = this.#stores;
    await this.#retry("swap the head", async () => {
      if (await heads.compareAndSwap(this.#head, next)) return;
      // Either another process moved the head, or an earlier attempt did and only its answer was lost.
      const stored = await heads.load(next.electionId);
      if (stored && sameHead(stored, next)) return;
      throw new ContestedError(
        this.#head.treeSize,
        `the head moved from size ${this.#head.treeSize} to ${stored?.treeSize ?? "nothing"} without this process: ` +
          "another AuditService is active, or the database was restored from a backup",
      );
    });
  }

  #retry<T>(step: string, attempt: () => Promise<T>): Promise<T> {
    return retry(step, attempt, { clock: this.#clock, logger: this.#logger, signal: this.#signal });
  }
}

/** Writes tiles under the election's folder of the tile store. */
export async function putTiles(
  store: ObjectStore,
  election: ElectionId,
  tiles: readonly Tile[],
): Promise<void> {
  await putAll(
    store,
    tiles.map(({ path, bytes }) => ({ key: `${election}/${path}`, body: bytes })),
  );
}

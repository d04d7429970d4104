import { type ChainHead, genesisHeads } from "../ballot/chain.ts";
import type { ShardHead } from "../ballot/shard-head.ts";
import { equalBytes, toHex } from "../core/bytes.ts";
import type { Clock } from "../core/clock.ts";
import { shardId, type TreeSize, treeSize } from "../core/ids.ts";
import { BLOCK_ENTRIES, checkpointNumberOf, manifestKey } from "../evidence/layout.ts";
import type { FoundSegment } from "../evidence/read-segment.ts";
import type { Logger } from "../telemetry/logger.ts";
import { TlogError, unverified } from "../tlog/errors.ts";
import { GrowingTree } from "../tlog/growing-tree.ts";
import { TILE_WIDTH } from "../tlog/tile.ts";
import { fetchEntryBundle, type TileFetch } from "../tlog/tile-fetch.ts";
import { ObjectArchivedError } from "../worm/object-store.ts";
import { type AuditedElection, ElectionLog, type LogStores, putTiles } from "./election-log.ts";
import { EvidenceReplay, sameHeads } from "./evidence-replay.ts";
import { ContestedError, HaltError } from "./halt.ts";
import { type LogHead, sameHead } from "./head.ts";
import { blockEnds, segmentKeys, segmentsAfter, segmentsTo } from "./stored-segments.ts";

export interface OpenLogOptions {
  readonly election: AuditedElection;
  readonly stores: LogStores;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/**
 * Opens an election's log where its last commit left it, or for the first time. It begins at the head row; without
 * one, evidence from index 0 on is the log. Then it finishes what a crash may have cut off, at any step of a commit.
 */
export async function openLog(options: OpenLogOptions): Promise<ElectionLog> {
  const { election, stores } = options;
  await stores.evidence.put(manifestKey(election.electionId), election.manifestBytes);

  const stored = await stores.heads.load(election.electionId);
  const committed = stored ?? (await createHead(options));
  const tree = await loadTree(options, committed);
  const { head, tree: grown } = await adoptSegments(options, committed, tree);
  options.logger.info(
    { election: election.electionId, tree_size: head.treeSize, adopted: head.treeSize - committed.treeSize },
    "opened the log",
  );
  return new ElectionLog({ ...options, head, tree: grown });
}

async function createHead({ election, stores, clock }: OpenLogOptions): Promise<LogHead> {
  const empty: LogHead = {
    electionId: election.electionId,
    treeSize: treeSize(0),
    root: GrowingTree.empty().root(),
    shardHeads: genesisHeads(election.manifestHash, election.manifest.shards).map(asShardHead),
    closed: false,
    committedAt: clock.nowMicros(),
  };
  if (await stores.heads.create(empty)) return empty;
  const other = await stores.heads.load(election.electionId);
  if (!other || !sameHead(other, empty)) throw new HaltError("another AuditService created the log's head");
  return other;
}

/**
 * The tree of the committed head. Its last commit's tiles may be missing, any of them, because a crash after the swap
 * leaves them out: those since the last block's end are made again from the evidence. A commit never crosses a block's
 * end, and begins only when the tiles of the one before are written, so that all others are there.
 */
async function loadTree(options: OpenLogOptions, head: LogHead): Promise<GrowingTree> {
  const { election, stores, logger } = options;
  const fetch = (path: string) => stores.tiles.get(`${election.electionId}/${path}`);
  for (let start = blockStart(head.treeSize); start >= 0; start -= BLOCK_ENTRIES) {
    const tree = await tryLoad(start);
    if (tree) {
      await replayTo(options, head, tree).catch((error: unknown) => {
        if (!(error instanceof ObjectArchivedError)) throw error;
        return growFromTiles(head, tree, error);
      });
      await putTiles(stores.tiles, election.electionId, tree.takeTiles());
      return tree;
    }
    logger.warn({ election: election.electionId, tree_size: start }, "tiles are missing; making them again");
  }
  throw new HaltError("the empty tree cannot be loaded");

  /**
   * A log that rests for months finds its last block in a cold tier, and needs none of it to go on: the head row has
   * the root and the shards' heads, and the tiles have the entries. Where tiles are missing, too, an operator has the
   * archived object restored.
   */
  async function growFromTiles(
    head: LogHead,
    tree: GrowingTree,
    archived: ObjectArchivedError,
  ): Promise<void> {
    try {
      await appendBundles(head, tree, fetch);
    } catch (error) {
      throw error instanceof TlogError ? archived : error;
    }
    logger.warn(
      { election: election.electionId, tree_size: head.treeSize, key: archived.key },
      "the last block's evidence is archived: its tree is made from the tiles, its shard heads are the head row's",
    );
  }

  async function tryLoad(size: number): Promise<GrowingTree | undefined> {
    try {
      return await GrowingTree.load(treeSize(size), fetch);
    } catch (error) {
      // Not there, or not what it should be: it can be made again.
      if (error instanceof TlogError) return undefined;
      throw error;
    }
  }
}

/** Grows the tree to the head by the entries in the tiles. Throws a TlogError when they are not there or not the head's. */
async function appendBundles(head: LogHead, tree: GrowingTree, fetch: TileFetch): Promise<void> {
  while (tree.size < head.treeSize) {
    const index = Math.floor(tree.size / TILE_WIDTH);
    const first = index * TILE_WIDTH;
    const entries = await fetchEntryBundle(fetch, index, Math.min(TILE_WIDTH, head.treeSize - first));
    for (const entry of entries.slice(tree.size - first)) tree.append(entry);
  }
  if (!equalBytes(tree.root(), head.root)) {
    throw unverified(`the entry bundles lead to another root than the head's at size ${head.treeSize}`);
  }
}

/** Where the block begins that a log of this size ends in. */
function blockStart(size: TreeSize): number {
  return Math.floor(Math.max(0, size - 1) / BLOCK_ENTRIES) * BLOCK_ENTRIES;
}

/** Replays the blocks from the tree's size, a block's start, to the head. */
async function replayTo(options: OpenLogOptions, head: LogHead, tree: GrowingTree): Promise<void> {
  const { election, stores } = options;
  const ends = await blockEnds(stores.evidence, election.electionId, checkpointNumberOf(tree.size), head);
  let replay: EvidenceReplay | undefined;
  for (const end of ends) {
    for (const found of await segmentsTo(stores.evidence, election.electionId, end)) {
      replay ??= new EvidenceReplay({ election, tree, shardHeads: asChainHeads(found.segment.shardHeads) });
      replay.accept(found);
    }
    // A log of any size is replayed with the tiles of one block in memory.
    await putTiles(stores.tiles, election.electionId, tree.takeTiles());
  }
  replay ??= new EvidenceReplay({ election, tree, shardHeads: asChainHeads(head.shardHeads) });
  if (!sameHead({ treeSize: tree.size, root: tree.root() }, head)) {
    throw new HaltError(
      `the evidence leads to size ${tree.size} with root ${toHex(tree.root())}, ` +
        `the committed head is size ${head.treeSize} with root ${toHex(head.root)}`,
    );
  }
  if (!sameHeads(replay.shardHeads, head.shardHeads)) {
    throw new HaltError(
      `the evidence and the committed head differ in the shards' heads at ${head.treeSize}`,
    );
  }
}

/**
 * Segments beyond the head were written by a commit that did not come to its swap, or outlived their head row. What
 * continues the head is committed before anything else: its places could not be given to other entries, because
 * evidence cannot be taken back.
 */
async function adoptSegments(
  options: OpenLogOptions,
  committed: LogHead,
  tree: GrowingTree,
): Promise<{ head: LogHead; tree: GrowingTree }> {
  const { election, stores, clock } = options;
  const replay = new EvidenceReplay({ election, tree, shardHeads: asChainHeads(committed.shardHeads) });
  let head = committed;
  let block: { readonly number: number; readonly keys: readonly string[] } | undefined;
  for (let found = await next(); found; found = await next()) {
    if (head.closed) throw new HaltError(`${found.key} comes after the closing entry`);
    replay.accept(found);
    const grown: LogHead = {
      electionId: election.electionId,
      treeSize: replay.tree.size,
      root: replay.tree.root(),
      shardHeads: replay.shardHeads,
      closed: replay.closed,
      committedAt: clock.nowMicros(),
    };
    if (!(await stores.heads.compareAndSwap(head, grown))) {
      throw new ContestedError(head.treeSize, "the head moved while the log was opened");
    }
    head = grown;
    await putTiles(stores.tiles, election.electionId, replay.tree.takeTiles());
  }
  return { head, tree: replay.tree };

  async function next(): Promise<FoundSegment | undefined> {
    const number = checkpointNumberOf(head.treeSize);
    if (block?.number !== number) {
      block = { number, keys: await segmentKeys(stores.evidence, election.electionId, number) };
    }
    const [found, other] = await segmentsAfter(stores.evidence, block.keys, head);
    // Beyond a head nothing was published, so that either is as good. Without a head, one of them may have been.
    if (found && other && committed.treeSize === 0) {
      throw new HaltError(
        `${found.key} and ${other.key} are two histories, and no head row says which is the log`,
      );
    }
    return found;
  }
}

/** The times of the last records are not kept with the heads; whoever verifies the whole log checks them all. */
function asChainHeads(heads: readonly ShardHead[]): ChainHead[] {
  return heads.map(({ sequence, hash }, shard) => ({ shard: shardId(shard), sequence, hash, castAt: 0 }));
}

function asShardHead({ sequence, hash }: ChainHead): ShardHead {
  return { sequence, hash };
}

import { type ChainHead, genesisHeads } from "../ballot/chain.ts";
import type { ShardHead } from "../ballot/shard-head.ts";
import { toHex } from "../core/bytes.ts";
import type { Clock } from "../core/clock.ts";
import { shardId, type TreeSize, treeSize } from "../core/ids.ts";
import { BLOCK_ENTRIES, manifestKey } from "../evidence/layout.ts";
import type { Logger } from "../telemetry/logger.ts";
import { TlogError } from "../tlog/errors.ts";
import { GrowingTree } from "../tlog/growing-tree.ts";
import { type AuditedElection, ElectionLog, type LogStores, putTiles } from "./election-log.ts";
import { EvidenceReplay, sameHeads, segmentsFrom } from "./evidence-replay.ts";
import { HaltError } from "./halt.ts";
import { type LogHead, sameHead } from "./head.ts";

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
      const replay = await replayTo(options, head, tree);
      await putTiles(stores.tiles, election.electionId, replay.tree.takeTiles());
      return replay.tree;
    }
    logger.warn({ election: election.electionId, tree_size: start }, "tiles are missing; making them again");
  }
  throw new HaltError("the empty tree cannot be loaded");

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

/** Where the block begins that a log of this size ends in. */
function blockStart(size: TreeSize): number {
  return Math.floor(Math.max(0, size - 1) / BLOCK_ENTRIES) * BLOCK_ENTRIES;
}

async function replayTo(options: OpenLogOptions, head: LogHead, tree: GrowingTree): Promise<EvidenceReplay> {
  const { election, stores } = options;
  let replay: EvidenceReplay | undefined;
  for await (const found of segmentsFrom(stores.evidence, election.electionId, tree.size)) {
    if (found.segment.firstIndex >= head.treeSize) break;
    replay ??= new EvidenceReplay({ election, tree, shardHeads: asChainHeads(found.segment.shardHeads) });
    replay.accept(found);
    // A log of any size is replayed with the tiles of one block in memory.
    if (tree.size % BLOCK_ENTRIES === 0) await putTiles(stores.tiles, election.electionId, tree.takeTiles());
  }
  replay ??= new EvidenceReplay({ election, tree, shardHeads: asChainHeads(head.shardHeads) });
  const same =
    replay.tree.size === head.treeSize &&
    toHex(replay.tree.root()) === toHex(head.root) &&
    sameHeads(replay.shardHeads, head.shardHeads);
  if (!same) {
    throw new HaltError(
      `the evidence leads to size ${replay.tree.size} with root ${toHex(replay.tree.root())}, ` +
        `the committed head is size ${head.treeSize} with root ${toHex(head.root)}`,
    );
  }
  return replay;
}

/**
 * Segments beyond the head were written by a commit that did not come to its swap, or outlived their head row. Their
 * entries have their places for good, because evidence cannot be taken back: they are committed before anything else.
 */
async function adoptSegments(
  options: OpenLogOptions,
  committed: LogHead,
  tree: GrowingTree,
): Promise<{ head: LogHead; tree: GrowingTree }> {
  const { election, stores, clock } = options;
  const replay = new EvidenceReplay({ election, tree, shardHeads: asChainHeads(committed.shardHeads) });
  let head = committed;
  for await (const found of segmentsFrom(stores.evidence, election.electionId, committed.treeSize)) {
    if (head.closed) throw new HaltError(`${found.key} comes after the closing entry`);
    replay.accept(found);
    const next: LogHead = {
      electionId: election.electionId,
      treeSize: replay.tree.size,
      root: replay.tree.root(),
      shardHeads: replay.shardHeads,
      closed: replay.closed,
      committedAt: clock.nowMicros(),
    };
    if (!(await stores.heads.compareAndSwap(head, next))) {
      throw new HaltError("the head moved while the log was opened: another AuditService is active");
    }
    head = next;
    await putTiles(stores.tiles, election.electionId, replay.tree.takeTiles());
  }
  return { head, tree: replay.tree };
}

/** The times of the last records are not kept with the heads; whoever verifies the whole log checks them all. */
function asChainHeads(heads: readonly ShardHead[]): ChainHead[] {
  return heads.map(({ sequence, hash }, shard) => ({ shard: shardId(shard), sequence, hash, castAt: 0 }));
}

function asShardHead({ sequence, hash }: ChainHead): ShardHead {
  return { sequence, hash };
}

import { genesisHeads } from "../ballot/chain.ts";
import { equalBytes, utf8 } from "../core/bytes.ts";
import type { Clock } from "../core/clock.ts";
import type { ElectionId } from "../core/ids.ts";
import { checkpointNumberOf } from "../evidence/layout.ts";
import type { Logger } from "../telemetry/logger.ts";
import { GrowingTree } from "../tlog/growing-tree.ts";
import type { ObjectStore } from "../worm/object-store.ts";
import { type AuditedElection, type LogStores, putTiles } from "./election-log.ts";
import { EvidenceReplay } from "./evidence-replay.ts";
import { HaltError } from "./halt.ts";
import type { LogHead } from "./head.ts";
import { retry } from "./retry.ts";
import { blockEnds, segmentsTo } from "./stored-segments.ts";

// Whoever sees to it that a log has all of its tiles need not look at each: a commit writes its own, so that only what
// deletes tiles can make some missing. The mark says that nothing did. It lies beside the tiles, and what wipes their
// folder, whether or not AuditService is running, wipes it too; nobody writes it again before all tiles are there.

/** How soon after tiles were wiped their making begins. */
const LOOK_INTERVAL_MS = 10_000;

const MARK = utf8("All tiles of this log are here. Delete this file, and AuditService makes them again.\n");

export interface KeepTilesOptions {
  readonly election: AuditedElection;
  readonly stores: LogStores;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/** Says that a log has all of its tiles. */
export async function markComplete(tiles: ObjectStore, election: ElectionId): Promise<void> {
  await tiles.put(markKey(election), MARK);
}

/**
 * Sees to it that an election's log has all of its tiles, until the signal aborts; it never rejects. It works beside the
 * sealing, and beside any other process that does the same, since a tile has the same bytes whoever writes it.
 */
export async function keepTiles(options: KeepTilesOptions): Promise<void> {
  const { clock, logger, signal } = options;
  try {
    while (true) {
      await retry("make the tiles again", () => makeMissingTiles(options), options);
      await clock.sleep(LOOK_INTERVAL_MS, signal);
      signal.throwIfAborted();
    }
  } catch (error) {
    if (!signal.aborted)
      logger.error({ error }, "the tiles cannot be made again; some proofs cannot be given");
  }
}

/** Makes every tile again if the mark is gone. */
export async function makeMissingTiles(options: KeepTilesOptions): Promise<void> {
  const { election, stores, logger } = options;
  const { electionId } = election;
  if (await stores.tiles.get(markKey(electionId))) return;
  const head = await stores.heads.load(electionId);
  // Whoever opens the log for the first time writes tiles as others do.
  if (!head) return;
  logger.warn({ tree_size: head.treeSize }, "tiles may be missing; making all of them again");
  await makeTiles(options, head);
  await markComplete(stores.tiles, electionId);
  logger.info({ tree_size: head.treeSize }, "all tiles are there");
}

/** Writes all tiles up to a committed head, from the evidence. Those that are there stay as they are. */
async function makeTiles(options: KeepTilesOptions, head: LogHead): Promise<void> {
  const { election, stores, signal } = options;
  const { electionId, manifestHash, manifest } = election;
  const replay = new EvidenceReplay({
    election,
    tree: GrowingTree.empty(),
    shardHeads: genesisHeads(manifestHash, manifest.shards),
  });
  // What fails goes on where it was: a large log takes too long to begin again.
  await retry("replay the evidence", replayRest, options);
  async function replayRest(): Promise<void> {
    const first = checkpointNumberOf(replay.tree.size);
    for (const end of await blockEnds(stores.evidence, electionId, first, head)) {
      for (const found of await segmentsTo(stores.evidence, electionId, end)) {
        signal.throwIfAborted();
        if (found.segment.firstIndex < replay.tree.size) continue;
        replay.accept(found);
        // After each segment, because every head was a segment's end: the Publisher may want the partial tiles of one.
        const tiles = replay.tree.takeTiles();
        await retry("write the tiles", () => putTiles(stores.tiles, electionId, tiles), options);
      }
    }
  }
  if (replay.tree.size !== head.treeSize || !equalBytes(replay.tree.root(), head.root)) {
    throw new HaltError(
      `the evidence leads to size ${replay.tree.size}, and not to the committed head of ${head.treeSize}`,
    );
  }
}

function markKey(election: ElectionId): string {
  return `${election}/complete`;
}

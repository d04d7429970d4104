// The second reading of an election's evidence: the same bytes, into the databases and the tile store.
import { putTiles } from "../audit/election-log.ts";
import { HaltError } from "../audit/halt.ts";
import { markComplete } from "../audit/keep-tiles.ts";
import { readSegment } from "../audit/stored-segments.ts";
import { encodeEntry } from "../ballot/entry.ts";
import { equalBytes } from "../core/bytes.ts";
import { type ElectionId, treeSize } from "../core/ids.ts";
import { sha256 } from "../core/sha256.ts";
import { BLOCK_ENTRIES } from "../evidence/layout.ts";
import { logEntryOf } from "../evidence/segment.ts";
import { GrowingTree } from "../tlog/growing-tree.ts";
import type { Tile } from "../tlog/tile.ts";
import type { ObjectStore } from "../worm/object-store.ts";
import type { ElectionTarget } from "./election-target.ts";
import { RecordLoader } from "./record-loader.ts";
import type { VerifiedLog } from "./verify-log.ts";
import { recordsOf } from "./verify-log.ts";

/** Who wants a log's tiles besides the tile store. */
export interface TileTaker {
  /** Partial tiles are wanted of a tree of this size. */
  readonly size: number;
  take(tiles: readonly Tile[], size: number): Promise<void>;
}

export interface LoadLogOptions {
  readonly store: ObjectStore;
  readonly tiles: ObjectStore;
  readonly electionId: ElectionId;
  readonly log: VerifiedLog;
  readonly target: ElectionTarget;
  readonly publicLog: TileTaker | undefined;
  readonly onProgress: (entries: number, written: number) => void;
  readonly signal: AbortSignal;
}

/** Segments that are on their way while one is loaded. */
const AHEAD = 4;

/** Loads what is not there yet. Answers how many records that was. */
export async function loadLog(options: LoadLogOptions): Promise<number> {
  const { store, tiles, electionId, log, target, publicLog, onProgress, signal } = options;
  const loader = new RecordLoader({ target });
  const tree = GrowingTree.empty();
  let written = 0;
  let writing: Promise<void> = Promise.resolve();
  const writeTiles = async () => {
    await writing; // One block's at a time: the disk is shared with the databases.
    const taken = tree.takeTiles();
    const size = tree.size;
    writing = Promise.all([putTiles(tiles, electionId, taken), publicLog?.take(taken, size)]).then(() => {});
    writing.catch(() => {}); // It is awaited before the next, or below.
  };
  for await (const found of readAgain(store, log)) {
    signal.throwIfAborted();
    const missing = recordsOf(found).filter((record) => !target.has(record));
    written += missing.length;
    await loader.add(missing);
    for (const entry of found.segment.entries) {
      tree.append(encodeEntry(logEntryOf(entry)));
      if (tree.size % BLOCK_ENTRIES === 0 || tree.size === publicLog?.size) await writeTiles();
    }
    onProgress(tree.size, written);
  }
  await writeTiles();
  await writing;
  await loader.finish();
  if (tree.size !== treeSize(log.size) || !equalBytes(tree.root(), log.root)) {
    throw new TypeError("the second reading gave another tree than the first");
  }
  // Or AuditService would make them all once more.
  await markComplete(tiles, electionId);
  return written;
}

async function* readAgain(store: ObjectStore, { segments }: VerifiedLog) {
  const pending: { readonly sha256: Uint8Array; readonly found: ReturnType<typeof readSegment> }[] = [];
  for (let next = 0; next < segments.length || pending.length > 0; ) {
    for (let segment = segments[next]; segment && pending.length < AHEAD; segment = segments[++next]) {
      const found = readSegment(store, segment.key);
      found.catch(() => {}); // It is awaited in its turn.
      pending.push({ sha256: segment.sha256, found });
    }
    const first = pending.shift();
    if (!first) return;
    const found = await first.found;
    if (!equalBytes(sha256(found.body), first.sha256)) {
      throw new HaltError(`${found.key} has changed since it was verified`);
    }
    yield found;
  }
}

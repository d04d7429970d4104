import type { ClosingEntry } from "../ballot/entry.ts";
import { ServiceError } from "../core/errors.ts";
import type { ElectionId, TreeSize } from "../core/ids.ts";
import type { Hash } from "../core/sha256.ts";
import { TlogError } from "../tlog/errors.ts";
import type { GrowingTree } from "../tlog/growing-tree.ts";
import { readEntries } from "../tlog/read-entries.ts";
import { EntryOrder } from "./entry-order.ts";
import { BLOCK_SIZE } from "./signed-head.ts";
import type { SignedLog } from "./signed-log.ts";

/** Where AuditService writes a log's tiles, read only: an ObjectStore's `get`. Keys are `<election>/tile/…`. */
export interface TileSource {
  get(key: string): Promise<Uint8Array | undefined>;
}

export interface ExtendOptions {
  readonly election: ElectionId;
  readonly log: SignedLog;
  readonly size: TreeSize;
  readonly manifestHash: Hash;
  readonly source: TileSource;
}

export interface ExtendedLog {
  readonly tree: GrowingTree;
  /** The closing entry, if the log ends with it. */
  readonly closing: ClosingEntry | undefined;
  /** What is wrong with the new entries, apart from the root, which the caller compares first. */
  readonly problem: ServiceError | undefined;
}

/** How long AuditService may take to write the tiles of a head it has committed. */
const RETRY_MS = 200;

/**
 * The signed log with the entries up to `size` added, which are taken from the source on trust: what they are worth
 * shows in the tree's root. At most one block of them is read, a few bundles at a time.
 */
export async function extendLog(options: ExtendOptions): Promise<ExtendedLog> {
  const { election, log, size, manifestHash, source } = options;
  const from = log.tree.size;
  if (log.closing) {
    throw new ServiceError("failed-precondition", "the log is closed", { reason: "LOG_CLOSED" });
  }
  const blockEnd = (Math.floor(from / BLOCK_SIZE) + 1) * BLOCK_SIZE;
  if (size > blockEnd) {
    const message = `the head of size ${blockEnd}, which ends a block, has not been signed yet`;
    throw new ServiceError("failed-precondition", message, { reason: "BLOCK_SKIPPED" });
  }

  const tree = log.tree.clone();
  const order = new EntryOrder({ manifestHash });
  try {
    for await (const { entries } of readEntries((path) => source.get(`${election}/${path}`), from, size)) {
      for (const entry of entries) {
        order.next(tree.size, entry);
        tree.append(entry);
      }
    }
  } catch (error) {
    throw unreadable(error);
  }
  return { tree, closing: order.closing, problem: order.problem };
}

function unreadable(cause: unknown): ServiceError {
  if (cause instanceof TlogError && cause.kind !== "missing") {
    const message = "the entries of the head are malformed";
    return new ServiceError("data-loss", message, { reason: "BAD_ENTRY", cause });
  }
  const message = "the entries of the head cannot be read yet";
  const options = { reason: "ENTRIES_UNREADABLE", retryDelayMs: RETRY_MS, cause };
  return new ServiceError("unavailable", message, options);
}

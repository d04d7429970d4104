import { encodeEntry } from "../ballot/entry.ts";
import { equalBytes, utf8 } from "../core/bytes.ts";
import { eventEntry } from "../evidence/event.ts";
import { acceptKeyChange, keyChangeFile, keyChangePath } from "../evidence/key-change.ts";
import type { LogKeys } from "../tlog/log-keys.ts";
import { readEntries } from "../tlog/read-entries.ts";
import { TileReader } from "../tlog/tile-reader.ts";
import type { PublicLog } from "./public-log.ts";
import type { SignedHead } from "./signed-head.ts";

export interface PublishKeyChangeOptions {
  readonly publicLog: PublicLog;
  readonly keys: LogKeys;
  /** The document that the log is to have; undefined when there is none. */
  readonly change: string | undefined;
  /** The size up to which it is known that the log does not have it. */
  readonly from: number;
  /** Signed by both keys, and saved. */
  readonly head: SignedHead;
}

/**
 * Makes the change of key public once the log has it, and answers the log's keys from then on. This comes after the head
 * is saved, and before its checkpoint is shown: whoever sees a checkpoint finds the way to its key. A crash before the
 * file is written leaves a log that has the change, which the next start finds there.
 */
export async function publishKeyChange(options: PublishKeyChangeOptions): Promise<LogKeys> {
  const { publicLog, keys, change, from, head } = options;
  if (change === undefined) return keys;
  const index = await indexOf(encodeEntry(eventEntry(change)), from, head.size, publicLog);
  if (index === undefined) return keys;
  const reader = new TileReader({ fetch: publicLog.read, size: head.size, root: head.root });
  const proof = await reader.inclusionProof(index);
  const file = keyChangeFile({ note: change, index, proof, checkpoint: head.note });
  await publicLog.put(keyChangePath(keys.changes.length + 1), utf8(file));
  return acceptKeyChange(keys, change, index);
}

async function indexOf(
  wanted: Uint8Array,
  from: number,
  size: number,
  publicLog: PublicLog,
): Promise<number | undefined> {
  for await (const { first, entries } of readEntries(publicLog.read, from, size)) {
    const offset = entries.findIndex((entry) => equalBytes(entry, wanted));
    if (offset >= 0) return first + offset;
  }
  return undefined;
}

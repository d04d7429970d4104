import { decodeUtf8 } from "../core/bytes.ts";
import { keyChangePath } from "../evidence/key-change.ts";
import { type Checkpoint, openCheckpoint } from "../tlog/checkpoint.ts";
import type { LogKeys } from "../tlog/log-keys.ts";
import { verifyConsistency } from "../tlog/proof.ts";
import { TileReader } from "../tlog/tile-reader.ts";
import { parseTlogProof } from "../tlog/tlog-proof.ts";
import type { PublicSource } from "./http-source.ts";

/**
 * Throws unless the checkpoint in the file of a change, by which its key shows that the log has it, and the log's own are
 * of one history, whichever is ahead. For a while the file's is: it is published first. But it may be so for good, too:
 * whoever has the old key can still sign any tree that ends before the change, and whoever has neither can show the files
 * of another history.
 */
export async function verifyKeyChange(
  source: PublicSource,
  { keys, number, checkpoint }: { keys: LogKeys; number: number; checkpoint: Checkpoint },
): Promise<void> {
  const file = await source(keyChangePath(number));
  if (!file) throw new Error("is not there any more");
  const { checkpoint: note } = parseTlogProof(decodeUtf8(file));
  const shown = openCheckpoint({ note, log: keys }).checkpoint;
  const [older, newer] = shown.size <= checkpoint.size ? [shown, checkpoint] : [checkpoint, shown];
  await verifyExtends(new TileReader({ fetch: source, size: newer.size, root: newer.root }), older);
}

/** Throws unless the reader's tree extends a checkpoint's. */
export async function verifyExtends(reader: TileReader, { size, root }: Checkpoint): Promise<void> {
  verifyConsistency({
    oldSize: size,
    oldRoot: root,
    newSize: reader.size,
    newRoot: reader.root,
    proof: await reader.consistencyProof(size),
  });
}

import type { Checkpoint } from "../tlog/checkpoint.ts";
import { unverified } from "../tlog/errors.ts";
import { verifyConsistency } from "../tlog/proof.ts";
import type { TileReader } from "../tlog/tile-reader.ts";

/** Throws a TlogError unless the reader's tree has all that an older checkpoint of the log had. */
export async function requireExtends(reader: TileReader, { size, root }: Checkpoint): Promise<void> {
  if (size > reader.size) {
    throw unverified(
      `the log had ${size} entries before, and now shows a signed checkpoint of ${reader.size}`,
    );
  }
  const proof = await reader.consistencyProof(size);
  verifyConsistency({ oldSize: size, oldRoot: root, newSize: reader.size, newRoot: reader.root, proof });
}

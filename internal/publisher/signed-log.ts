import { type ClosingEntry, decodeEntry, encodeEntry } from "../ballot/entry.ts";
import { equalBytes } from "../core/bytes.ts";
import type { ElectionId } from "../core/ids.ts";
import { type Hash, sha256 } from "../core/sha256.ts";
import { TlogError } from "../tlog/errors.ts";
import { GrowingTree } from "../tlog/growing-tree.ts";
import type { NoteSigner } from "../tlog/note.ts";
import { verifyConsistency } from "../tlog/proof.ts";
import { TileReader } from "../tlog/tile-reader.ts";
import type { LogFront } from "./log-front.ts";
import { CHECKPOINT, MANIFEST, type PublicLog } from "./public-log.ts";
import { openSignedHead, type SignedHead } from "./signed-head.ts";
import type { SignerState } from "./signer-state.ts";
import { StateError } from "./state-error.ts";

/** One election's log as far as it is signed. */
export interface SignedLog {
  /** Undefined before the first. */
  readonly head: SignedHead | undefined;
  readonly tree: GrowingTree;
  readonly manifestHash: Hash | undefined;
  /** The closing entry, if it is the last one. After it nothing comes. */
  readonly closing: ClosingEntry | undefined;
}

export interface LoadOptions {
  readonly election: ElectionId;
  readonly signer: NoteSigner;
  readonly state: SignerState;
  readonly publicLog: PublicLog;
  readonly front: LogFront;
}

/**
 * Reads back what was signed, and finishes what a crash may have interrupted.
 *
 * The state is a note, so nobody without the key can invent one. Our tiles must hash to its root, and the published
 * checkpoint must be of the same tree or of an earlier size of it. If it is ahead, the state has been lost or rolled
 * back, and signing on from it would be a second history. Throws a StateError for any of this.
 */
export async function loadSignedLog(options: LoadOptions): Promise<SignedLog> {
  const { election, signer, state, publicLog, front } = options;
  const [saved, published] = await Promise.all([state.load(election), publicLog.read(CHECKPOINT)]);
  if (saved === undefined) {
    if (published) throw new StateError("a checkpoint is published, and the state it came from is gone");
    return { head: undefined, tree: GrowingTree.empty(), manifestHash: undefined, closing: undefined };
  }
  const head = openSignedHead("the signer's state", saved, signer);
  const shown = published && openSignedHead("the published checkpoint", published, signer);
  const { log, manifest } = await loadTiles(head, shown, publicLog);

  // Save again what was just read: the save before may have failed in its fsync, and then the file is in this kernel's
  // cache but not on the disk. After this it is, so it can be shown.
  await state.save(election, head.note);
  // The process may have died between signing and publishing.
  await front.show({ head, manifest, closing: log.closing });
  return log;
}

async function loadTiles(
  head: SignedHead,
  shown: SignedHead | undefined,
  publicLog: PublicLog,
): Promise<{ log: SignedLog; manifest: Uint8Array }> {
  const { size, root } = head;
  try {
    const tree = await GrowingTree.load(size, publicLog.read, root);
    const reader = new TileReader({ fetch: publicLog.read, size, root });
    if (shown) {
      const proof = await reader.consistencyProof(shown.size);
      verifyConsistency({ oldSize: shown.size, oldRoot: shown.root, newSize: size, newRoot: root, proof });
    }
    const manifest = await publicLog.read(MANIFEST);
    if (manifest === undefined) throw new StateError("our manifest.json is missing");
    const manifestHash = sha256(manifest);
    if (!equalBytes(await reader.entry(0), encodeEntry({ type: "manifest", manifestHash }))) {
      throw new StateError("our manifest.json is not the manifest of the log");
    }
    const last = decodeEntry(await reader.entry(size - 1));
    const closing = last.type === "closing" ? last : undefined;
    return { log: { head, tree, manifestHash, closing }, manifest };
  } catch (error) {
    if (!(error instanceof TlogError)) throw error;
    const message = `what we published does not lead to the head of size ${size} that we signed`;
    throw new StateError(message, { cause: error });
  }
}

import { type ClosingEntry, decodeEntry, encodeEntry } from "../ballot/entry.ts";
import { FormatError } from "../ballot/format-error.ts";
import { parseManifest } from "../ballot/manifest.ts";
import { decodeUtf8, equalBytes } from "../core/bytes.ts";
import type { ElectionId } from "../core/ids.ts";
import { type Hash, sha256 } from "../core/sha256.ts";
import { readKeyChanges } from "../evidence/key-change.ts";
import { TlogError } from "../tlog/errors.ts";
import { GrowingTree } from "../tlog/growing-tree.ts";
import type { LogKeys } from "../tlog/log-keys.ts";
import { NoteVerifier } from "../tlog/note-verifier.ts";
import { verifyConsistency } from "../tlog/proof.ts";
import { TileReader } from "../tlog/tile-reader.ts";
import { publishKeyChange } from "./key-change.ts";
import type { LogFront } from "./log-front.ts";
import type { LogSigners } from "./log-signers.ts";
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
  /** From the one that the manifest names on. Undefined before the first head. */
  readonly keys: LogKeys | undefined;
  /** The closing entry, if it is the last one. After it nothing comes. */
  readonly closing: ClosingEntry | undefined;
}

export interface LoadOptions {
  readonly election: ElectionId;
  readonly signers: LogSigners;
  readonly state: SignerState;
  readonly publicLog: PublicLog;
  readonly front: LogFront;
}

/**
 * Reads back what was signed, and finishes what a crash may have interrupted.
 *
 * The state is a note of the log's key, which the manifest and the changes of key lead to. Files that somebody made up
 * lead to another key than any of ours, and nothing is ever signed to follow them. Our tiles must hash to the note's
 * root, and the published checkpoint must be of the same tree or of an earlier size of it. If it is ahead, the state has been lost or rolled
 * back, and signing on from it would be a second history. Throws a StateError for any of this.
 */
export async function loadSignedLog(options: LoadOptions): Promise<SignedLog> {
  const { election, state, publicLog, front } = options;
  const [saved, published] = await Promise.all([state.load(election), publicLog.read(CHECKPOINT)]);
  if (saved === undefined) {
    if (published) throw new StateError("a checkpoint is published, and the state it came from is gone");
    return {
      head: undefined,
      tree: GrowingTree.empty(),
      manifestHash: undefined,
      keys: undefined,
      closing: undefined,
    };
  }
  const manifest = await publicLog.read(MANIFEST);
  if (manifest === undefined) throw new StateError("our manifest.json is missing");
  const keys = await loadKeys(manifest, publicLog);
  const head = openSignedHead("the signer's state", saved, keys);
  const shown = published && openSignedHead("the published checkpoint", published, keys);
  const log = await loadTiles({ head, shown, manifest, publicLog });

  // Save again what was just read: the save before may have failed in its fsync, and then the file is in this kernel's
  // cache but not on the disk. After this it is, so it can be shown.
  await state.save(election, head.note);
  // Until something newer is shown, which witnesses may have to come first for.
  if (shown && published) publicLog.announce({ ...shown, note: decodeUtf8(published) });
  // The process may have died between signing and publishing.
  const change = pendingChange(options, keys);
  const newKeys = await publishKeyChange({ publicLog, keys, change, from: 0, head });
  await front.show({ head, manifest, keys: newKeys, closing: log.closing });
  return { ...log, keys: newKeys };
}

async function loadKeys(manifest: Uint8Array, publicLog: PublicLog): Promise<LogKeys> {
  try {
    return await readKeyChanges(NoteVerifier.parse(parseManifest(manifest).logKey), publicLog.read);
  } catch (error) {
    if (!(error instanceof FormatError || error instanceof TlogError)) throw error;
    throw new StateError("our manifest.json and key-changes do not lead to the log's key", { cause: error });
  }
}

/** What is only read, such as a closed log, needs none of its keys. */
function pendingChange({ signers }: LoadOptions, keys: LogKeys): string | undefined {
  return signers.has(keys) ? signers.of(keys).change : undefined;
}

interface LoadedFiles {
  readonly head: SignedHead;
  readonly shown: SignedHead | undefined;
  readonly manifest: Uint8Array;
  readonly publicLog: PublicLog;
}

async function loadTiles({
  head,
  shown,
  manifest,
  publicLog,
}: LoadedFiles): Promise<Omit<SignedLog, "keys">> {
  const { size, root } = head;
  try {
    const tree = await GrowingTree.load(size, publicLog.read, root);
    const reader = new TileReader({ fetch: publicLog.read, size, root });
    if (shown) {
      const proof = await reader.consistencyProof(shown.size);
      verifyConsistency({ oldSize: shown.size, oldRoot: shown.root, newSize: size, newRoot: root, proof });
    }
    const manifestHash = sha256(manifest);
    if (!equalBytes(await reader.entry(0), encodeEntry({ type: "manifest", manifestHash }))) {
      throw new StateError("our manifest.json is not the manifest of the log");
    }
    const last = decodeEntry(await reader.entry(size - 1));
    const closing = last.type === "closing" ? last : undefined;
    return { head, tree, manifestHash, closing };
  } catch (error) {
    if (!(error instanceof TlogError)) throw error;
    const message = `what we published does not lead to the head of size ${size} that we signed`;
    throw new StateError(message, { cause: error });
  }
}

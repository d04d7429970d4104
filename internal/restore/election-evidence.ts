// What an evidence store has of an election, before anything of it is believed.
import { type Manifest, parseManifest } from "../ballot/manifest.ts";
import { messageOf } from "../core/errors.ts";
import type { ElectionId } from "../core/ids.ts";
import { type Hash, sha256 } from "../core/sha256.ts";
import { checkpointKey, manifestKey, parseSegmentKey, votesPrefix } from "../evidence/layout.ts";
import { parseVoteCheckpoint } from "../evidence/vote-checkpoint.ts";
import { type Checkpoint, openCheckpoint, parseCheckpoint } from "../tlog/checkpoint.ts";
import { LogKeys } from "../tlog/log-keys.ts";
import { parseNote } from "../tlog/note.ts";
import { NoteVerifier } from "../tlog/note-verifier.ts";
import type { ObjectStore } from "../worm/object-store.ts";
import { RestoreRefusedError } from "./errors.ts";

/** A tree in a note, which the log's key has signed if `demandSigned` says so. */
export interface SignedTree extends Checkpoint {
  readonly note: Uint8Array;
}

export interface ElectionEvidence {
  readonly electionId: ElectionId;
  readonly manifest: Manifest;
  readonly manifestBytes: Uint8Array;
  readonly manifestHash: Hash;
  /** What the log begins to be signed with. */
  readonly log: LogKeys;
  /** Entries in the store, by the segments' names. */
  readonly entries: number;
  /** The tree at the end of the newest block with a vote checkpoint. */
  readonly newestBlock: SignedTree | undefined;
}

/** The elections in an evidence store, in order of id. It lists the store, every key of it. */
export async function electionsIn(store: Pick<ObjectStore, "list">): Promise<ElectionId[]> {
  const found: ElectionId[] = [];
  for await (const key of store.list("")) {
    const id = key.slice(0, key.indexOf("/")) as ElectionId; // Only if the next line finds its manifest's key.
    if (key === manifestKey(id)) found.push(id);
  }
  return found;
}

/** Opens an election's evidence. Throws a RestoreRefusedError. */
export async function openEvidence(
  store: Pick<ObjectStore, "get" | "list">,
  electionId: ElectionId,
): Promise<ElectionEvidence> {
  const key = manifestKey(electionId);
  const manifestBytes = await store.get(key);
  if (!manifestBytes) throw new RestoreRefusedError(`${key} is not in the evidence store`);
  const manifest = refusing(key, () => parseManifest(manifestBytes));
  if (manifest.electionId !== electionId) {
    throw new RestoreRefusedError(`${key} is of the election ${manifest.electionId}`);
  }
  const log = new LogKeys(NoteVerifier.parse(manifest.logKey));
  const { entries, newest } = await survey(store, electionId);
  const newestBlock = newest === undefined ? undefined : await readBlockTree(store, electionId, newest);
  return {
    electionId,
    manifest,
    manifestBytes,
    manifestHash: sha256(manifestBytes),
    log,
    entries,
    newestBlock,
  };
}

/** The tree of a checkpoint, such as the one the public sees, **unverified**. Throws a RestoreRefusedError. */
export function parseSigned(name: string, note: Uint8Array): SignedTree {
  return refusing(name, () => ({ ...parseCheckpoint(parseNote(note).text), note }));
}

/** Throws a RestoreRefusedError unless the log's key signed the tree: the keys are known once the log has been read. */
export function demandSigned(name: string, { note }: SignedTree, log: LogKeys): void {
  refusing(name, () => openCheckpoint({ note, log }));
}

/** The tree that a block's vote checkpoint is signed for, **unverified**. */
export async function readBlockTree(
  store: Pick<ObjectStore, "get">,
  electionId: ElectionId,
  number: number,
): Promise<SignedTree | undefined> {
  const key = checkpointKey(electionId, number);
  const body = await store.get(key);
  if (!body) return undefined;
  const checkpoint = refusing(key, () => parseVoteCheckpoint(body));
  const signed = parseSigned(key, new TextEncoder().encode(checkpoint.note));
  if (signed.size !== checkpoint.treeSize)
    throw new RestoreRefusedError(`${key}: is signed for another size`);
  return signed;
}

async function survey(store: Pick<ObjectStore, "list">, electionId: ElectionId) {
  let entries = 0;
  let newest: number | undefined;
  for await (const key of store.list(votesPrefix(electionId))) {
    const range = parseSegmentKey(key);
    if (range) entries = Math.max(entries, range.last + 1);
    const number = Number(/\/checkpoint_(\d{10})\/checkpoint\.json$/.exec(key)?.[1]);
    if (number >= 1) newest = number;
  }
  return { entries, newest };
}

function refusing<T>(place: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw new RestoreRefusedError(`${place}: ${messageOf(error)}`, { cause: error });
  }
}

// What an evidence store has of an election, before anything of it is believed.
import { type Manifest, parseManifest } from "../ballot/manifest.ts";
import { messageOf } from "../core/errors.ts";
import type { ElectionId } from "../core/ids.ts";
import { type Hash, sha256 } from "../core/sha256.ts";
import { checkpointKey, manifestKey, parseSegmentKey, votesPrefix } from "../evidence/layout.ts";
import { parseVoteCheckpoint } from "../evidence/vote-checkpoint.ts";
import { type Checkpoint, openCheckpoint } from "../tlog/checkpoint.ts";
import { NoteVerifier } from "../tlog/note-verifier.ts";
import type { ObjectStore } from "../worm/object-store.ts";
import { RestoreRefusedError } from "./errors.ts";

/** A tree that the log's key has signed, with the note that says so. */
export interface SignedTree extends Checkpoint {
  readonly note: Uint8Array;
}

export interface ElectionEvidence {
  readonly electionId: ElectionId;
  readonly manifest: Manifest;
  readonly manifestBytes: Uint8Array;
  readonly manifestHash: Hash;
  /** What the log's checkpoints are signed with. */
  readonly log: NoteVerifier;
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
  logKey: string | undefined,
): Promise<ElectionEvidence> {
  const key = manifestKey(electionId);
  const manifestBytes = await store.get(key);
  if (!manifestBytes) throw new RestoreRefusedError(`${key} is not in the evidence store`);
  const manifest = refusing(key, () => parseManifest(manifestBytes));
  if (manifest.electionId !== electionId) {
    throw new RestoreRefusedError(`${key} is of the election ${manifest.electionId}`);
  }
  if (logKey !== undefined && logKey !== manifest.logKey) {
    throw new RestoreRefusedError(`${key} names another log key than the one given`);
  }
  const log = NoteVerifier.parse(manifest.logKey);
  const { entries, newest } = await survey(store, electionId);
  const newestBlock =
    newest === undefined ? undefined : await readSignedBlock(store, electionId, newest, log);
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

/** The signed tree of a checkpoint, such as the one the public sees. Throws a RestoreRefusedError. */
export function openSigned(name: string, note: Uint8Array, log: NoteVerifier): SignedTree {
  return refusing(name, () => ({ ...openCheckpoint({ note, log }).checkpoint, note }));
}

/** The tree that a block's vote checkpoint is signed for. */
export async function readSignedBlock(
  store: Pick<ObjectStore, "get">,
  electionId: ElectionId,
  number: number,
  log: NoteVerifier,
): Promise<SignedTree | undefined> {
  const key = checkpointKey(electionId, number);
  const body = await store.get(key);
  if (!body) return undefined;
  const checkpoint = refusing(key, () => parseVoteCheckpoint(body));
  const signed = openSigned(key, new TextEncoder().encode(checkpoint.note), log);
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

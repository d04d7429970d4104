import type { ShardHead } from "../ballot/shard-head.ts";
import { decodeUtf8, fromHex, toHex, utf8 } from "../core/bytes.ts";
import { messageOf } from "../core/errors.ts";
import { sequence, type TreeSize, treeSize } from "../core/ids.ts";
import { asHash, type Hash } from "../core/sha256.ts";
import type { DurableFiles } from "../publisher/durable-files.ts";
import { parseCheckpoint } from "../tlog/checkpoint.ts";
import { parseNote } from "../tlog/note.ts";
import { NoteVerifier } from "../tlog/note-verifier.ts";

/** How far a log was verified, without a fault. */
export interface Seen {
  readonly note: string;
  readonly origin: string;
  readonly size: TreeSize;
  readonly root: Hash;
  readonly manifestHash: Hash;
  /** The changes of the log's key up to here. Whoever has an old key could make others, and a log that extends this one. */
  readonly keyChanges: readonly { readonly index: number; readonly to: string }[];
  /** Each shard's last entry. */
  readonly heads: readonly ShardHead[];
  readonly closed: boolean;
  /** When it grew to this, in POSIX seconds by the monitor's clock. */
  readonly since: number;
}

const STATE = "state.json";
/** The same note once more, for others to compare with: any web server can show the file. */
const CHECKPOINT = "checkpoint";
const MANIFEST = "manifest.json";
const MAX_FORKS = 16;

/** A monitor's folder: what it saw of one log. It is the monitor's own, and a broken one is an error, never a new beginning. */
export class MonitorState {
  readonly #files: DurableFiles;

  constructor(options: { readonly files: DurableFiles }) {
    this.#files = options.files;
  }

  async load(): Promise<Seen | undefined> {
    const bytes = await this.#files.read(STATE);
    if (!bytes) return undefined;
    try {
      const { note, manifest_hash, key_changes, heads, closed, since } = JSON.parse(decodeUtf8(bytes));
      if (typeof closed !== "boolean" || !Number.isSafeInteger(since)) throw new Error("a member is missing");
      return {
        ...parseCheckpoint(parseNote(note).text),
        note,
        manifestHash: asHash(fromHex(manifest_hash)),
        keyChanges: key_changes.map(({ index, to }: { index: number; to: string }) => ({
          index: treeSize(index),
          to: NoteVerifier.parse(to).toString(),
        })),
        heads: heads.map((head: { sequence: number; hash: string }) => ({
          sequence: sequence(head.sequence),
          hash: asHash(fromHex(head.hash)),
        })),
        closed,
        since,
      };
    } catch (error) {
      throw new Error(`the monitor's own ${STATE} cannot be read: ${messageOf(error)}`, { cause: error });
    }
  }

  /** One file has all that the next look goes on from, so that no crash leaves halves of two. */
  async save(seen: Seen, manifest: Uint8Array): Promise<void> {
    const state = {
      note: seen.note,
      manifest_hash: toHex(seen.manifestHash),
      key_changes: seen.keyChanges,
      heads: seen.heads.map(({ sequence, hash }) => ({ sequence, hash: toHex(hash) })),
      closed: seen.closed,
      since: seen.since,
    };
    await this.#files.createAll([{ path: MANIFEST, bytes: manifest }]);
    await this.#files.replace({ path: STATE, bytes: utf8(`${JSON.stringify(state)}\n`) });
    await this.#files.replace({ path: CHECKPOINT, bytes: utf8(seen.note) });
  }

  /** Keeps two signed notes of one log that no single history has. Answers the folder, or undefined when there are enough. */
  async keepFork(seen: string, other: string): Promise<string | undefined> {
    for (let number = 1; number <= MAX_FORKS; number++) {
      const folder = `fork-${number}`;
      const kept = await this.#files.read(`${folder}/other`);
      if (kept && decodeUtf8(kept) === other) return folder;
      if (kept) continue;
      await this.#files.createAll([
        { path: `${folder}/other`, bytes: utf8(other) },
        { path: `${folder}/seen`, bytes: utf8(seen) },
      ]);
      return folder;
    }
    return undefined;
  }
}

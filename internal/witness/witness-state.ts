import { decodeUtf8, toHex, utf8 } from "../core/bytes.ts";
import { sha256 } from "../core/sha256.ts";
import type { DurableFiles } from "../publisher/durable-files.ts";
import { type Checkpoint, parseCheckpoint } from "../tlog/checkpoint.ts";
import { parseNote } from "../tlog/note.ts";

/** A checkpoint that was cosigned, with the log's signature and the cosignature. */
export interface Cosigned extends Checkpoint {
  readonly note: string;
}

/** Contradictions kept of a log: the first ones tell everything. */
const MAX_CONFLICTS = 16;

/**
 * A witness's memory: for each log the newest checkpoint that it cosigned, in `<SHA-256 of the origin>.checkpoint`, and the
 * proof of a fork, should it ever see one. Never shared, never restored from a backup: a witness that forgets may cosign
 * two histories.
 */
export class WitnessState {
  readonly #files: DurableFiles;

  constructor(options: { readonly files: DurableFiles }) {
    this.#files = options.files;
  }

  /** Undefined before the first. It is our own file, so a broken one is an error and not a new beginning. */
  async load(origin: string): Promise<Cosigned | undefined> {
    const path = checkpointPath(origin);
    const bytes = await this.#files.read(path);
    if (!bytes) return undefined;
    const { text } = parseNote(bytes);
    const checkpoint = parseCheckpoint(text);
    if (checkpoint.origin !== origin)
      throw new Error(`${path} is of the log ${checkpoint.origin}, not ${origin}`);
    return { ...checkpoint, note: decodeUtf8(bytes) };
  }

  /** When it resolves, the checkpoint survives a power cut. When it rejects, it may or may not be what `load` returns. */
  async save(origin: string, note: string): Promise<void> {
    await this.#files.replace({ path: checkpointPath(origin), bytes: utf8(note) });
  }

  /** Keeps two checkpoints of one size that a log signed. Answers the folder, or undefined when there are enough. */
  async keepConflict(cosigned: Cosigned, other: string): Promise<string | undefined> {
    for (let number = 1; number <= MAX_CONFLICTS; number++) {
      const folder = `${fileName(cosigned.origin)}.conflict-${number}`;
      const kept = await this.#files.read(`${folder}/other`);
      if (kept && decodeUtf8(kept) !== other) continue;
      await this.#files.createAll([
        { path: `${folder}/other`, bytes: utf8(other) },
        { path: `${folder}/cosigned`, bytes: utf8(cosigned.note) },
      ]);
      return folder;
    }
    return undefined;
  }
}

/** An origin can have any character; a hash of it is a file name everywhere. */
export function fileName(origin: string): string {
  return toHex(sha256(utf8(origin)));
}

function checkpointPath(origin: string): string {
  return `${fileName(origin)}.checkpoint`;
}

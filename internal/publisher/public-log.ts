import { equalBytes, utf8 } from "../core/bytes.ts";
import { Feed } from "../core/feed.ts";
import type { ElectionId } from "../core/ids.ts";
import type { Tile } from "../tlog/tile.ts";
import { type DurableFiles, FileConflictError } from "./durable-files.ts";
import { blockNumber, type SignedHead } from "./signed-head.ts";
import { StateError } from "./state-error.ts";

export const CHECKPOINT = "checkpoint";
export const MANIFEST = "manifest.json";

/** `checkpoints/0000000001`: the checkpoint at the end of a numbered block. */
export function numberedCheckpoint(number: number): string {
  return `checkpoints/${String(number).padStart(10, "0")}`;
}

/**
 * What the public gets of one election, as files: `<election>/checkpoint`, `checkpoints/<number>`, `manifest.json`,
 * `tile/…` and what tells of them. Any static file server over the directory is a complete mirror of the log.
 */
export class PublicLog {
  readonly #files: DurableFiles;
  readonly #election: ElectionId;
  /** The head that is shown, with its witnesses' lines; undefined before the first. */
  readonly shown = new Feed<SignedHead | undefined>(undefined);

  constructor(options: { readonly files: DurableFiles; readonly election: ElectionId }) {
    this.#files = options.files;
    this.#election = options.election;
  }

  /** A file by its path within the log. */
  read = (path: string): Promise<Uint8Array | undefined> => this.#files.read(`${this.#election}/${path}`);

  /**
   * Adds what a checkpoint refers to. All of it is durable when it resolves. Throws a FileConflictError, and adds
   * nothing, when one of them is there with other bytes.
   */
  async add(tiles: readonly Tile[], manifest: Uint8Array): Promise<void> {
    const files = [...tiles, { path: MANIFEST, bytes: manifest }];
    await this.#files.createAll(
      files.map(({ path, bytes }) => ({ path: `${this.#election}/${path}`, bytes })),
    );
  }

  /** Makes a file that tells of the log be what it should be. One that is already is left alone. */
  async put(path: string, bytes: Uint8Array): Promise<void> {
    const file = { path: `${this.#election}/${path}`, bytes };
    const there = await this.#files.read(file.path);
    if (!there || !equalBytes(there, bytes)) await this.#files.replace(file);
  }

  /** Keeps the checkpoint at the end of a block, before it is shown. It has our signature alone, so that its bytes are one. */
  async addNumbered(head: SignedHead): Promise<void> {
    const path = `${this.#election}/${numberedCheckpoint(blockNumber(head.size))}`;
    await this.#files.createAll([{ path, bytes: utf8(head.note) }]).catch((error: unknown) => {
      if (!(error instanceof FileConflictError)) throw error;
      throw new StateError(`${path} is not the checkpoint that we signed`, { cause: error });
    });
  }

  /** Tells watchers what is shown, unless they know. */
  announce(head: SignedHead): void {
    if (head.note !== this.shown.current?.note) this.shown.publish(head);
  }

  /** Shows a head's note to the world, in place of the one before. */
  async show(head: SignedHead): Promise<void> {
    await this.#files.replace({ path: `${this.#election}/${CHECKPOINT}`, bytes: utf8(head.note) });
    this.announce(head);
  }
}

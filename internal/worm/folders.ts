import { mkdir, open } from "node:fs/promises";
import { dirname } from "node:path";

/** What a process remembers of folders it has made; forgetting costs a system call or two, so the bound may be crude. */
const MAX_REMEMBERED = 10_000;

/** Folders under a root, made and flushed so that what is linked into them survives the loss of power. */
export class Folders {
  readonly #root: string;
  readonly #durable = new Map<string, Promise<void>>();
  readonly #syncing = new Map<string, Promise<void>>();
  readonly #waiting = new Map<string, Promise<void>>();

  constructor(root: string) {
    this.#root = root;
  }

  /** Resolves when `folder`, the root or below it, is there and will be after the loss of power. */
  create(folder: string): Promise<void> {
    const known = this.#durable.get(folder);
    if (known) return known;
    if (this.#durable.size >= MAX_REMEMBERED) this.#durable.clear();
    const made = folder === this.#root ? this.#createRoot() : this.#createBelow(folder);
    this.#durable.set(folder, made);
    made.catch(() => this.#durable.delete(folder));
    return made;
  }

  /** For when folders were deleted that were made here: all of them are made, and flushed, again when they are needed. */
  forget(): void {
    this.#durable.clear();
  }

  /**
   * Flushes a folder's list of names. One flush serves everybody who asked before it began: a flush under way may have
   * missed a name added since, so those who come meanwhile share the next one.
   */
  sync(folder: string): Promise<void> {
    const waiting = this.#waiting.get(folder);
    if (waiting) return waiting;
    const running = this.#syncing.get(folder);
    if (!running) return this.#sync(folder);
    const next = running
      .catch(() => {})
      .then(() => {
        this.#waiting.delete(folder);
        return this.#sync(folder);
      });
    this.#waiting.set(folder, next);
    return next;
  }

  #sync(folder: string): Promise<void> {
    const running = fsync(folder).finally(() => this.#syncing.delete(folder));
    this.#syncing.set(folder, running);
    return running;
  }

  async #createRoot(): Promise<void> {
    const highest = await mkdir(this.#root, { recursive: true });
    if (highest === undefined) return; // It was there: whoever made it has seen to it, and its parent may be closed to us.
    for (let made = this.#root; made.length >= highest.length; made = dirname(made)) {
      await this.sync(dirname(made));
    }
  }

  async #createBelow(folder: string): Promise<void> {
    const parent = dirname(folder);
    await this.create(parent);
    try {
      await mkdir(folder);
    } catch (error) {
      // There already. Its maker may have died before the flush below, so we flush too.
      if (!hasCode(error, "EEXIST")) throw error;
    }
    await this.sync(parent);
  }
}

async function fsync(folder: string): Promise<void> {
  await using handle = await open(folder, "r");
  await handle.sync();
}

/** Whether `error` is a failed system call with one of these codes (errno(3)). */
export function hasCode(error: unknown, ...codes: readonly string[]): boolean {
  return error instanceof Error && "code" in error && codes.includes(String(error.code));
}

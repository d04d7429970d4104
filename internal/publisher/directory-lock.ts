import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";

export const LOCK_FILE = ".lock";
/** https://www.sqlite.org/rescode.html#busy */
const SQLITE_BUSY = 5;

/** Another process writes to the directory. */
export class DirectoryLockedError extends Error {
  override readonly name = "DirectoryLockedError";
}

/**
 * Makes one process the only writer of a directory. For the signer's state it is what keeps history single: two that
 * had both loaded size 100 would each sign a 101 of their own.
 *
 * The kernel holds the lock. It ends with the process however that dies, so it is never stale and nobody has to
 * guess, from a process id in a file, whether its owner still lives: ids are reused, and in two containers over one
 * volume both are 1. Node has no flock(2); an SQLite transaction takes the same kind of lock (fcntl(2) record locks,
 * https://www.sqlite.org/lockingv3.html) and also refuses a second one within this process. The database stays empty.
 * Nothing else in this process may open its file: closing that again would end the lock, as POSIX has it.
 *
 * A network file system without working locks, or a copied state directory, defeats it; then the witnesses' own check
 * of consistency is what is left.
 */
export class DirectoryLock implements Disposable {
  readonly #database: DatabaseSync;

  constructor(options: { readonly directory: string }) {
    this.#database = new DatabaseSync(join(options.directory, LOCK_FILE), { timeout: 0 });
    try {
      this.#database.exec("BEGIN EXCLUSIVE");
    } catch (error) {
      this.#database.close();
      throw isBusy(error)
        ? new DirectoryLockedError(`another process is writing to ${options.directory}`)
        : error;
    }
  }

  [Symbol.dispose](): void {
    this.#database.close();
  }
}

function isBusy(error: unknown): boolean {
  return error instanceof Error && "errcode" in error && error.errcode === SQLITE_BUSY;
}

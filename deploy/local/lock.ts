import { mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";

/** SQLite's result code for "somebody else has the lock" (sqlite.org/rescode.html#busy). */
const SQLITE_BUSY = 5;

/**
 * A lock between processes that the kernel frees when its holder dies, however it dies: there is no stale lock to
 * recognise, and so no race in removing one. Node has no flock(2), but SQLite takes fcntl(2) locks on an (empty)
 * database file and tells two connections of one process apart as well.
 */
export class FileLock implements Disposable {
  readonly #database: DatabaseSync;

  private constructor(database: DatabaseSync) {
    this.#database = database;
  }

  /** The lock, or undefined when somebody else holds it. */
  static async tryAcquire(path: string): Promise<FileLock | undefined> {
    await mkdir(dirname(path), { recursive: true });
    const database = new DatabaseSync(path, { timeout: 0 });
    try {
      // Without a journal in memory, an exclusive transaction leaves a second file beside the lock.
      database.exec("PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE");
      return new FileLock(database);
    } catch (error) {
      database.close();
      if (error instanceof Error && "errcode" in error && error.errcode === SQLITE_BUSY) return undefined;
      throw error;
    }
  }

  /** Waits for the lock. `onWait` is called once when somebody else holds it. */
  static async acquire(path: string, onWait = () => {}, signal?: AbortSignal): Promise<FileLock> {
    for (let waited = false; ; waited = true) {
      const lock = await FileLock.tryAcquire(path);
      if (lock !== undefined) return lock;
      if (!waited) onWait();
      await sleep(200, undefined, { signal });
    }
  }

  [Symbol.dispose](): void {
    this.#database.close();
  }
}

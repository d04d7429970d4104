import { mkdir, readdir, readFile, realpath, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { FileLock } from "./lock.ts";

/** Another process has the folder. */
export class FolderInUseError extends Error {
  override readonly name = "FolderInUseError";
}

/** A folder that one stack has for itself, and that keeps everything of it between runs. */
export class StateFolder implements Disposable {
  readonly path: string;
  readonly #lock: FileLock;

  private constructor(path: string, lock: FileLock) {
    this.path = path;
    this.#lock = lock;
  }

  /** Opens or creates it. Refuses if another process has it open. */
  static async open(path: string): Promise<StateFolder> {
    // Others may pass, for Postgres runs as another user when we are root, but not look around.
    await mkdir(path, { recursive: true, mode: 0o711 });
    const owner = join(path, "owner.pid");
    const lock = await FileLock.tryAcquire(join(path, ".lock"));
    if (lock === undefined) {
      const pid = await readFile(owner, "utf8").then(
        (text) => `process ${text.trim()}`,
        () => "another process",
      );
      throw new FolderInUseError(
        `${path} is in use by ${pid}: stop that first, or choose another folder with PSEPHOS_HOME`,
      );
    }
    await writeFile(owner, `${process.pid}\n`);
    return new StateFolder(path, lock);
  }

  /** Deletes everything in it: elections, votes, evidence, keys. */
  static async reset(path: string): Promise<void> {
    using state = await StateFolder.open(path);
    for (const entry of await readdir(state.path)) {
      // The lock stays: removing it would let another process lock a new file of that name beside us.
      if (entry.startsWith(".lock")) continue;
      // A Postgres instance may have its data elsewhere (postgres-account.ts).
      const data = await realpath(join(path, entry, "data")).catch(() => undefined);
      if (data !== undefined) await rm(dirname(data), { recursive: true, force: true });
      await rm(join(path, entry), { recursive: true, force: true });
    }
  }

  [Symbol.dispose](): void {
    this.#lock[Symbol.dispose]();
  }
}

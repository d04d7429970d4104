import * as nodeFileSystem from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { equalBytes } from "../core/bytes.ts";
import { DirectoryLock } from "./directory-lock.ts";
import type { FileVersion } from "./hot-files.ts";

/** The system calls used here, as node:fs/promises has them, so that a test can make each of them fail. */
export interface FileSystem {
  link(from: string, to: string): Promise<void>;
  mkdir(path: string, options: { recursive: boolean }): Promise<string | undefined>;
  open(path: string, flags: "r" | "wx", mode?: number): Promise<OpenFile>;
  readdir(path: string): Promise<string[]>;
  readFile(path: string): Promise<Uint8Array>;
  rename(from: string, to: string): Promise<void>;
  stat(path: string): Promise<FileVersion>;
  rm(path: string, options: { recursive: boolean; force: boolean }): Promise<void>;
  unlink(path: string): Promise<void>;
}

export interface OpenFile {
  writeFile(bytes: Uint8Array): Promise<void>;
  sync(): Promise<void>;
  close(): Promise<void>;
}

export interface NewFile {
  /** Relative to the root, with `/` between its parts. */
  readonly path: string;
  readonly bytes: Uint8Array;
}

/** A file that must never change is there with other bytes. */
export class FileConflictError extends Error {
  override readonly name = "FileConflictError";
  readonly path: string;

  constructor(path: string) {
    super(`${path} exists with other content`);
    this.path = path;
  }
}

/** Everything is world-readable: a directory of this kind holds only what was, or is about to be, published. */
const FILE_MODE = 0o644;
/** Files in flight. A crash leaves them here, where no reader looks. */
const STAGING = ".staging";
/** As many as libuv has threads; more would only queue there, in front of everybody else's reads. */
const PARALLEL_WRITES = 4;

/**
 * A directory whose files survive a power cut once the call that wrote them has resolved.
 *
 * A file is written and fsynced under another name first, so under its own it is either absent or whole. The fsync of
 * its directory then makes the name durable; without it a journalling file system may still forget the name.
 *
 * A call that rejects may have done any part of its work. Repeating it is always right.
 *
 * It is the directory's only writer, which a lock makes sure of; any number may read.
 */
export class DurableFiles implements Disposable {
  readonly #root: string;
  readonly #fs: FileSystem;
  readonly #lock: DirectoryLock;
  #staged = 0;

  private constructor(root: string, fs: FileSystem, lock: DirectoryLock) {
    this.#root = root;
    this.#fs = fs;
    this.#lock = lock;
  }

  /** Throws a DirectoryLockedError when somebody else has it open. */
  static async open(options: { readonly root: string; readonly fs?: FileSystem }): Promise<DurableFiles> {
    const [fs, root] = [options.fs ?? nodeFileSystem, resolve(options.root)];
    const created = await fs.mkdir(root, { recursive: true });
    // A new root whose own name a power cut forgets would take everything in it along.
    for (let at = root; created !== undefined && at.length >= created.length; at = dirname(at)) {
      await syncDirectory(fs, dirname(at));
    }
    const lock = new DirectoryLock({ directory: root });
    try {
      await fs.rm(join(root, STAGING), { recursive: true, force: true });
      await fs.mkdir(join(root, STAGING), { recursive: true });
      return new DurableFiles(root, fs, lock);
    } catch (error) {
      lock[Symbol.dispose]();
      throw error;
    }
  }

  [Symbol.dispose](): void {
    this.#lock[Symbol.dispose]();
  }

  /** The file's bytes, or undefined when there is none. */
  async read(path: string): Promise<Uint8Array | undefined> {
    try {
      return await this.#fs.readFile(join(this.#root, path));
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  /** Which version of a file is there; undefined when there is none. */
  async version(path: string): Promise<FileVersion | undefined> {
    try {
      return await this.#fs.stat(join(this.#root, path));
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  /** The names in the root, in no order, without those that start with a dot. */
  async list(): Promise<string[]> {
    const names = await this.#fs.readdir(this.#root);
    return names.filter((name) => !name.startsWith("."));
  }

  /**
   * Adds files that will never change. One that exists with the same bytes is success; one that exists with other
   * bytes is a `FileConflictError`, and then none of the files has been written.
   */
  async createAll(files: readonly NewFile[]): Promise<void> {
    const missing: NewFile[] = [];
    await forEachParallel(files, async (file) => {
      const existing = await this.read(file.path);
      if (existing === undefined) missing.push(file);
      else if (!equalBytes(existing, file.bytes)) throw new FileConflictError(file.path);
    });
    for (const directory of new Set(missing.map((file) => dirname(file.path)))) {
      await this.#fs.mkdir(join(this.#root, directory), { recursive: true });
    }
    await forEachParallel(missing, async (file) => {
      const staged = await this.#stage(file.bytes);
      // link(2) and not rename(2): it fails where a name is taken, even if somebody broke the one-writer rule.
      await this.#fs.link(staged, join(this.#root, file.path)).finally(() => this.#fs.unlink(staged));
    });
    // For the existing ones too: a crash may have come between their link and their directory's fsync.
    await this.#syncDirectories(files);
  }

  /** Puts a file in place of another. A reader sees the old bytes or the new, never a mixture and never nothing. */
  async replace(file: NewFile): Promise<void> {
    await this.#fs.mkdir(join(this.#root, dirname(file.path)), { recursive: true });
    const staged = await this.#stage(file.bytes);
    await this.#fs.rename(staged, join(this.#root, file.path));
    await this.#syncDirectories([file]);
  }

  /** Writes the bytes to a new file under a name nobody reads; they are durable when it resolves. */
  async #stage(bytes: Uint8Array): Promise<string> {
    this.#staged += 1;
    const path = join(this.#root, STAGING, String(this.#staged));
    const handle = await this.#fs.open(path, "wx", FILE_MODE);
    try {
      await handle.writeFile(bytes);
      await handle.sync();
    } catch (error) {
      // A full disk is the likely reason: leave nothing on it for each retry. What matters is the first error.
      await this.#fs.unlink(path).catch(() => {});
      throw error;
    } finally {
      await handle.close();
    }
    return path;
  }

  /** Makes the names of files durable, and those of the directories down to them, any of which may be new. */
  async #syncDirectories(files: readonly NewFile[]): Promise<void> {
    const directories = new Set<string>();
    for (const { path } of files) {
      for (let at = dirname(path); !directories.has(at); at = dirname(at)) directories.add(at);
    }
    await forEachParallel([...directories], (directory) =>
      syncDirectory(this.#fs, join(this.#root, directory)),
    );
  }
}

async function syncDirectory(fs: FileSystem, path: string): Promise<void> {
  const handle = await fs.open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Runs `work` on each item, a few at a time. When one fails, it waits for those under way and starts no other. */
async function forEachParallel<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  let failed = false;
  const queue = items.values();
  const workers = Array.from({ length: PARALLEL_WRITES }, async () => {
    // The workers share one iterator, so each item is taken once.
    for (const item of queue) {
      if (failed) return;
      await work(item).catch((error: unknown) => {
        failed = true;
        throw error;
      });
    }
  });
  for (const result of await Promise.allSettled(workers)) {
    if (result.status === "rejected") throw result.reason;
  }
}

function isMissing(error: unknown): boolean {
  // ENOTDIR: a file stands where the path has a directory. Nothing of ours does, so the path names nothing.
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  return code === "ENOENT" || code === "ENOTDIR";
}

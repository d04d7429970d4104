// For tests: a file system on which a process can die, or the power can fail, at any system call.
import * as real from "node:fs/promises";
import { dirname, resolve } from "node:path";
import type { FileSystem, OpenFile } from "./durable-files.ts";
import type { FileVersion } from "./hot-files.ts";

export interface FaultAt {
  /** Which of the calls that change something, or make it durable, fails; counted from 1. */
  readonly step: number;
  /** Whether it has done what it should, and only reports that it failed. */
  readonly done: boolean;
  /** Whether the process is dead afterwards: then every later call fails and does nothing. */
  readonly fatal: boolean;
}

/** A failed system call. */
export class DiskFault extends Error {
  override readonly name = "DiskFault";
  readonly code = "EIO";
}

/**
 * The real file system, which also remembers what POSIX does not promise to survive the loss of power: a file's bytes
 * until its fsync, and a name until the fsync of its directory.
 */
export class TestFileSystem implements FileSystem {
  /** How many such calls came. */
  steps = 0;
  readonly #fault: FaultAt | undefined;
  /** How to take back the names that are not durable yet, in the order in which they were given. */
  #names: { readonly directory: string; readonly undo: () => Promise<unknown> }[] = [];
  /** The names of each file whose bytes are not durable yet. */
  #files: Set<string>[] = [];

  constructor(fault?: FaultAt) {
    this.#fault = fault;
  }

  /** Leaves what the disk would hold after the power failed at this moment, if nothing was written but what was flushed. */
  async powerCut(): Promise<void> {
    for (const names of this.#files) {
      for (const name of names) await real.truncate(name).catch(ignoreMissing);
    }
    for (const { undo } of this.#names.reverse()) await undo().catch(ignoreMissing);
    this.#names = [];
    this.#files = [];
  }

  open(path: string, flags: "r" | "wx", mode?: number): Promise<OpenFile> {
    return this.#call(async () => {
      const file = await real.open(path, flags, mode);
      const names = new Set([resolve(path)]);
      if (flags === "wx") {
        this.#files.push(names);
        this.#named(path, () => real.unlink(path));
      }
      return {
        writeFile: (bytes) => this.#step(`write ${path}`, () => file.writeFile(bytes)),
        sync: () =>
          this.#step(`fsync ${path}`, async () => {
            // A name that is given while the flush runs may come too late for it.
            const flushed = this.#names.filter(({ directory }) => directory === resolve(path));
            await file.sync();
            this.#files = this.#files.filter((other) => other !== names);
            this.#names = this.#names.filter((name) => !flushed.includes(name));
          }),
        close: async () => {
          // The kernel closes a dead process's files, and nobody else would close these.
          await file.close();
          await this.#call(async () => {});
        },
      };
    });
  }

  link(from: string, to: string): Promise<void> {
    return this.#step(`link ${to}`, async () => {
      await real.link(from, to);
      this.#alsoNamed(from, to);
      this.#named(to, () => real.unlink(to));
    });
  }

  rename(from: string, to: string): Promise<void> {
    return this.#step(`rename ${to}`, async () => {
      const before = await real.readFile(to).catch(ignoreMissing);
      await real.rename(from, to);
      this.#alsoNamed(from, to);
      this.#named(to, () => (before ? real.writeFile(to, before) : real.unlink(to)));
    });
  }

  mkdir(path: string, options: { recursive: boolean }): Promise<string | undefined> {
    return this.#step(`mkdir ${path}`, async () => {
      const first = await real.mkdir(path, options);
      for (
        let made = resolve(path);
        first !== undefined && made.length >= first.length;
        made = dirname(made)
      ) {
        const directory = made;
        this.#named(directory, () => real.rm(directory, { recursive: true }));
      }
      return first;
    });
  }

  unlink(path: string): Promise<void> {
    return this.#call(() => real.unlink(path));
  }

  rm(path: string, options: { recursive: boolean; force: boolean }): Promise<void> {
    return this.#call(() => real.rm(path, options));
  }

  stat(path: string): Promise<FileVersion> {
    return this.#call(() => real.stat(path));
  }

  readFile(path: string): Promise<Uint8Array> {
    return this.#call(() => real.readFile(path));
  }

  readdir(path: string): Promise<string[]> {
    return this.#call(() => real.readdir(path));
  }

  /** A new name, which the disk has only after an fsync of its directory. */
  #named(path: string, undo: () => Promise<unknown>): void {
    this.#names.push({ directory: dirname(resolve(path)), undo });
  }

  #alsoNamed(from: string, to: string): void {
    this.#files.find((names) => names.has(resolve(from)))?.add(resolve(to));
  }

  async #step<T>(name: string, work: () => Promise<T>): Promise<T> {
    const step = ++this.steps;
    const fault = this.#fault;
    if (step !== fault?.step) return this.#call(work);
    if (fault.done) await work();
    throw new DiskFault(`${name}, step ${step}, failed`);
  }

  /** Nothing works any more in a dead process. */
  #call<T>(work: () => Promise<T>): Promise<T> {
    const dead = this.#fault?.fatal && this.steps >= this.#fault.step;
    return dead ? Promise.reject(new DiskFault("the process is dead")) : work();
  }
}

function ignoreMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== "ENOENT") throw error;
}

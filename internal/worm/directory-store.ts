import { randomUUID } from "node:crypto";
import { type FileHandle, link, open, opendir, stat, unlink } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { equalBytes, toHex } from "../core/bytes.ts";
import { sha256 } from "../core/sha256.ts";
import { Folders, hasCode } from "./folders.ts";
import {
  checkKey,
  checkPrefix,
  checkSize,
  isName,
  MAX_OBJECT_BYTES,
  ObjectConflictError,
  ObjectCorruptError,
  type ObjectInfo,
  ObjectKeyError,
  type ObjectStore,
  type StoredObject,
} from "./object-store.ts";

export interface DirectoryStoreOptions {
  /** The root. Made by the first `put` if it is not there; reading makes nothing. */
  readonly directory: string;
  /** Without it, `retainUntil` is null. */
  readonly retention?: { readonly days: number } | undefined;
}

/** A write takes milliseconds: an unfinished file this old belongs to a process that is gone. */
const STALE_MS = 60 * 60 * 1000;
const DAY_MS = 24 * 60 * 60 * 1000;

/**
 * A folder tree as an object store: `<directory>/<key>`, one file an object, mode 0444 less the umask.
 *
 * A file is written under `.tmp/`, flushed, and then linked to its name. link(2) fails if the name is taken, on any
 * POSIX file system and between any number of processes, so it is the exclusive create; and since the file is complete,
 * read-only and on disk before it has its name, a crash at any point leaves an object or nothing, never a part of one.
 *
 * A folder cannot lock anything. Its owner, and root, can replace or delete a file, and read-only bits only stop
 * accidents: what protects evidence here is that its hashes are in a signed, public log, so that a change is found, not
 * that it is prevented. `retainUntil` says until when deletion would break the operator's promise. It is recorded as the
 * file's modification time, so that a repeated `put` answers the same date and a backup that keeps times keeps it.
 */
export class DirectoryStore implements ObjectStore, AsyncDisposable {
  readonly #root: string;
  readonly #temporary: string;
  readonly #retentionMs: number | undefined;
  readonly #folders: Folders;
  #ready: Promise<void> | undefined;

  constructor(options: DirectoryStoreOptions) {
    const days = options.retention?.days;
    if (days !== undefined && !(Number.isInteger(days) && days >= 1 && days <= 36_500)) {
      throw new RangeError("retention is 1 to 36500 days");
    }
    this.#root = resolve(options.directory);
    this.#temporary = join(this.#root, ".tmp");
    this.#retentionMs = days === undefined ? undefined : days * DAY_MS;
    this.#folders = new Folders(this.#root);
  }

  async put(key: string, body: Uint8Array): Promise<StoredObject> {
    checkKey(key);
    checkSize(key, body.length);
    try {
      return await this.#put(key, body);
    } catch (error) {
      if (!hasCode(error, "ENOENT")) throw error;
      // A folder that was made is gone: somebody deleted it, with what was in it. Where that was to be kept, going on
      // would only hide it.
      if (this.#retentionMs !== undefined) {
        throw new ObjectCorruptError(key, "cannot be put: a folder that the store made has been deleted");
      }
      this.#folders.forget();
      this.#ready = undefined;
      return this.#put(key, body);
    }
  }

  async #put(key: string, body: Uint8Array): Promise<StoredObject> {
    await this.#prepare();
    const folder = dirname(join(this.#root, key));
    try {
      await this.#folders.create(folder);
      const object = (await this.#existing(key, body)) ?? (await this.#create(key, body));
      // The name is durable only once its folder is flushed, also when it was another process, perhaps dead, that linked it.
      await this.#folders.sync(folder);
      // Another put may have found the folder deleted and be making it again, not yet flushed. Otherwise this is a look-up.
      await this.#folders.create(folder);
      return object;
    } catch (error) {
      if (!hasCode(error, "ENOTDIR")) throw error;
      throw new ObjectKeyError(`object key ${key} is below the key of another object`, { cause: error });
    }
  }

  async get(key: string, versionId?: string): Promise<Uint8Array | undefined> {
    checkKey(key);
    const bytes = await this.#open(key, (file) => readObject(key, file));
    if (bytes !== undefined && versionId !== undefined && toHex(sha256(bytes)) !== versionId) {
      throw new ObjectCorruptError(key, `no longer has the bytes of version ${versionId}`);
    }
    return bytes;
  }

  /** A file says neither its hash nor its version: it is read for both. */
  async stat(key: string, versionId?: string): Promise<ObjectInfo | undefined> {
    const bytes = await this.get(key, versionId);
    if (!bytes) return undefined;
    const hash = toHex(sha256(bytes));
    return {
      key,
      versionId: hash,
      bytes: bytes.length,
      sha256: hash,
      retention: null,
      access: "available",
      storageClass: "STANDARD",
    };
  }

  async *list(prefix: string): AsyncIterable<string> {
    checkPrefix(prefix);
    const cut = prefix.lastIndexOf("/") + 1;
    yield* this.#walk(prefix.slice(0, cut), prefix.slice(cut));
  }

  /** It holds nothing open between calls; stores that do are closed alike. */
  async [Symbol.asyncDispose](): Promise<void> {}

  /** Once a process, before its first write; and again when somebody deleted the folder. */
  #prepare(): Promise<void> {
    this.#ready ??= this.#folders
      .create(this.#temporary)
      .then(() => this.#removeStale())
      .catch((error: unknown) => {
        this.#ready = undefined;
        throw error;
      });
    return this.#ready;
  }

  /** Removes what crashed writers left. Not by modification time, which retention sets: by that of the inode's change. */
  async #removeStale(): Promise<void> {
    for await (const entry of await opendir(this.#temporary)) {
      const path = join(this.#temporary, entry.name);
      try {
        if (Date.now() - (await stat(path)).ctimeMs > STALE_MS) await unlink(path);
      } catch (error) {
        if (!hasCode(error, "ENOENT")) throw error; // A live writer's, or another cleaner was first.
      }
    }
  }

  async #create(key: string, body: Uint8Array): Promise<StoredObject> {
    const temporary = join(this.#temporary, randomUUID());
    try {
      const retainUntil = await this.#write(temporary, body);
      // A crash up to here leaves a temporary file and perhaps empty folders; from here on, the whole object.
      await link(temporary, join(this.#root, key));
      return stored(key, body, retainUntil);
    } catch (error) {
      if (!hasCode(error, "EEXIST")) throw error;
      // Another writer came between our look and our link.
      const first = await this.#existing(key, body);
      if (!first) throw new ObjectCorruptError(key, "was deleted while it was written");
      return first;
    } finally {
      await unlink(temporary).catch(() => {}); // What stays behind is removed as stale; no object depends on it.
    }
  }

  /** Writes and flushes a file. Answers its retention. */
  async #write(path: string, body: Uint8Array): Promise<Date | null> {
    await using file = await open(path, "wx", 0o444);
    await file.writeFile(body);
    const now = Date.now();
    const retainUntil = this.#retentionMs === undefined ? null : wholeSeconds(now + this.#retentionMs);
    if (retainUntil) await file.utimes(new Date(now), retainUntil);
    await file.sync();
    return retainUntil;
  }

  /** What is there under `key`, if that has these bytes; undefined if nothing is. */
  #existing(key: string, body: Uint8Array): Promise<StoredObject | undefined> {
    return this.#open(key, async (file) => {
      const bytes = await readObject(key, file);
      if (!bytes) throw new ObjectKeyError(`other objects have keys below ${key}`);
      if (!equalBytes(bytes, body)) throw new ObjectConflictError(key);
      await file.sync(); // It may have come by a copy that nobody flushed.
      return stored(
        key,
        body,
        this.#retentionMs === undefined ? null : wholeSeconds((await file.stat()).mtimeMs),
      );
    });
  }

  async #open<T>(key: string, use: (file: FileHandle) => Promise<T>): Promise<T | undefined> {
    let file: FileHandle;
    try {
      file = await open(join(this.#root, key), "r");
    } catch (error) {
      if (hasCode(error, "ENOENT", "ENOTDIR")) return undefined;
      throw error;
    }
    try {
      return await use(file);
    } finally {
      await file.close();
    }
  }

  /** Keys below `folder`, which is empty or ends in a slash, whose next name starts with `start`. */
  async *#walk(folder: string, start: string): AsyncIterable<string> {
    const names: string[] = [];
    try {
      for await (const entry of await opendir(join(this.#root, folder))) {
        if (!isName(entry.name) || !entry.name.startsWith(start)) continue;
        // A folder sorts by what its keys have next: "a.p" comes before "a/b" although "a" comes before "a.p".
        if (entry.isDirectory()) names.push(`${entry.name}/`);
        else if (entry.isFile()) names.push(entry.name);
      }
    } catch (error) {
      if (!hasCode(error, "ENOENT", "ENOTDIR")) throw error;
    }
    for (const name of names.sort()) {
      if (name.endsWith("/")) yield* this.#walk(folder + name, "");
      else yield folder + name;
    }
  }
}

/** The bytes of an open file; undefined when it is a folder. */
async function readObject(key: string, file: FileHandle): Promise<Uint8Array | undefined> {
  const status = await file.stat();
  if (!status.isFile()) return undefined;
  if (status.size > MAX_OBJECT_BYTES) {
    throw new ObjectCorruptError(key, `has ${status.size} bytes, more than an object can have`);
  }
  const bytes = await file.readFile();
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
}

function stored(key: string, body: Uint8Array, retainUntil: Date | null): StoredObject {
  const hash = toHex(sha256(body));
  // A folder keeps one version of a file, so its hash is name enough.
  return { key, versionId: hash, sha256: hash, bytes: body.length, retainUntil };
}

function wholeSeconds(ms: number): Date {
  return new Date(Math.floor(ms / 1000) * 1000);
}

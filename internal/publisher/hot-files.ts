import { promisify } from "node:util";
import { gzip as gzipCallback } from "node:zlib";
import { toHex } from "../core/bytes.ts";
import { sha256 } from "../core/sha256.ts";

/** What tells one version of a file from another: a file is never written in place, so another one is another inode. */
export interface FileVersion {
  readonly ino: number;
  readonly size: number;
  readonly mtimeMs: number;
}

/** Files by their paths; undefined where there is none. */
export interface VersionedFiles {
  version(path: string): Promise<FileVersion | undefined>;
  read(path: string): Promise<Uint8Array | undefined>;
}

export interface HotFile {
  readonly bytes: Uint8Array;
  /** The first half of the SHA-256, in hex. */
  readonly tag: string;
  readonly lastModified: Date;
  gzip(): Promise<Uint8Array>;
}

export interface HotFilesOptions {
  readonly files: VersionedFiles;
  /** How many bytes of files are kept; what is compressed of them comes on top, and is less. */
  readonly maxBytes?: number;
}

const MAX_BYTES = 32 * 1024 * 1024;
const compress = promisify(gzipCallback);

/**
 * Files that are read again and again, in memory: the checkpoint, and whichever tiles are asked for. Each answer is of
 * the version that is on the disk, for which its inode is looked up, so that a change to the folder shows at once. The
 * files that were not asked for longest go first.
 */
export class HotFiles {
  readonly #files: VersionedFiles;
  readonly #maxBytes: number;
  /** In the order in which they were last asked for. */
  readonly #hot = new Map<string, { readonly version: FileVersion; readonly file: HotFile }>();
  #bytes = 0;

  constructor({ files, maxBytes = MAX_BYTES }: HotFilesOptions) {
    this.#files = files;
    this.#maxBytes = maxBytes;
  }

  /** How many bytes are in memory. */
  get bytes(): number {
    return this.#bytes;
  }

  async read(path: string): Promise<HotFile | undefined> {
    const version = await this.#files.version(path);
    const known = this.#hot.get(path);
    if (known) this.#forget(path);
    if (!version) return undefined;
    if (known && isSame(known.version, version)) {
      this.#keep(path, known);
      return known.file;
    }
    const bytes = await this.#files.read(path);
    if (!bytes) return undefined;
    const file = hotFile(bytes, new Date(version.mtimeMs));
    // What was replaced between the two calls is newer than its version says, and is read again the next time.
    this.#forget(path);
    this.#keep(path, { version, file });
    return file;
  }

  #keep(path: string, entry: { version: FileVersion; file: HotFile }): void {
    const { length } = entry.file.bytes;
    if (length > this.#maxBytes / 8) return;
    this.#hot.set(path, entry);
    this.#bytes += length;
    for (const oldest of this.#hot.keys()) {
      if (this.#bytes <= this.#maxBytes) return;
      this.#forget(oldest);
    }
  }

  #forget(path: string): void {
    this.#bytes -= this.#hot.get(path)?.file.bytes.length ?? 0;
    this.#hot.delete(path);
  }
}

/** A file that is made when it is asked for, as one that was read. */
export function hotFile(bytes: Uint8Array, lastModified: Date): HotFile {
  let gzipped: Promise<Uint8Array> | undefined;
  return {
    bytes,
    lastModified,
    tag: toHex(sha256(bytes).subarray(0, 16)),
    gzip: () => {
      gzipped ??= compress(bytes);
      return gzipped;
    },
  };
}

function isSame(a: FileVersion, b: FileVersion): boolean {
  return a.ino === b.ino && a.size === b.size && a.mtimeMs === b.mtimeMs;
}

import { type ClosingEntry, decodeEntry, type LogEntry } from "../ballot/entry.ts";
import type { Manifest } from "../ballot/manifest.ts";
import { genesisHash } from "../ballot/record.ts";
import type { ShardHead } from "../ballot/shard-head.ts";
import { equalBytes, toHex } from "../core/bytes.ts";
import { messageOf } from "../core/errors.ts";
import { sequence, shardId, type TreeSize } from "../core/ids.ts";
import type { Hash } from "../core/sha256.ts";
import { TILE_WIDTH, tilePath, tileWidthAt } from "../tlog/tile.ts";
import type { Place, VerificationReport } from "./report.ts";

export interface EntrySequenceOptions {
  readonly manifest: Manifest;
  readonly manifestHash: Hash;
  /** The log's. */
  readonly size: TreeSize;
  readonly report: VerificationReport;
  /** Where each shard is before the first entry that is accepted; without it that is the log's first. */
  readonly heads?: readonly ShardHead[] | undefined;
}

/** Reads a log as the public can: which entries there are, in which order, and that none is missing. */
export class EntrySequence {
  readonly #options: EntrySequenceOptions;
  /** Each shard's last entry; undefined while it is not known because entries before could not be read. */
  #heads: (ShardHead | undefined)[];
  closing: ClosingEntry | undefined;

  constructor(options: EntrySequenceOptions) {
    this.#options = options;
    const { manifest, manifestHash, heads } = options;
    const begun = heads && [...heads];
    this.#heads =
      begun ??
      Array.from({ length: manifest.shards }, (_, shard) => ({
        sequence: sequence(0),
        hash: genesisHash(manifestHash, shardId(shard)),
      }));
  }

  /** Each shard's last entry; undefined where it is not known. */
  get heads(): readonly (ShardHead | undefined)[] {
    return this.#heads;
  }

  accept(index: number, bytes: Uint8Array): void {
    const { manifestHash, size } = this.#options;
    let entry: LogEntry;
    try {
      entry = decodeEntry(bytes);
    } catch (error) {
      this.#problem({ index }, messageOf(error));
      return;
    }
    if ((index === 0) !== (entry.type === "manifest")) {
      this.#problem({ index }, "the manifest entry is the first, and only the first");
    }
    switch (entry.type) {
      case "manifest":
        if (!equalBytes(entry.manifestHash, manifestHash)) {
          const object = "manifest.json";
          this.#problem(
            { object, index },
            `does not hash to ${toHex(entry.manifestHash)}, which the log begins with`,
          );
        }
        return;
      case "vote":
        this.#acceptVote(index, entry);
        return;
      case "event":
        // Any hash is a well-formed one: the document is in the evidence.
        return;
      case "closing":
        if (index !== size - 1) this.#problem({ index }, "entries follow the closing entry");
        this.#acceptClosing(index, entry);
    }
  }

  /** Entries could not be read: what comes next in each shard is not known any more. */
  skip(): void {
    this.#heads = this.#heads.map(() => undefined);
  }

  #acceptVote(index: number, { shard, sequence, recordHash }: Extract<LogEntry, { type: "vote" }>): void {
    const { shards } = this.#options.manifest;
    if (shard >= shards) {
      this.#problem({ index, shard, sequence }, `the election has ${shards} shards`);
      return;
    }
    const head = this.#heads[shard];
    if (head && sequence !== head.sequence + 1) {
      this.#problem({ index, shard, sequence }, `follows sequence ${head.sequence} of its shard`);
    }
    this.#heads[shard] = { sequence, hash: recordHash };
  }

  #acceptClosing(index: number, entry: ClosingEntry): void {
    const { shards } = this.#options.manifest;
    this.closing = entry;
    if (entry.shardHeads.length !== shards) {
      this.#problem({ index }, `closes ${entry.shardHeads.length} shards of ${shards}`);
    }
    entry.shardHeads.forEach((final, shard) => {
      const head = this.#heads[shard];
      if (head && (head.sequence !== final.sequence || !equalBytes(head.hash, final.hash))) {
        const place = { index, shard: shardId(shard), sequence: final.sequence };
        this.#problem(place, `the log's last entry of the shard is another, of sequence ${head.sequence}`);
      }
    });
  }

  #problem(place: Place & { readonly index: number }, problem: string): void {
    const { report, size } = this.#options;
    report.problem({ object: bundlePath(place.index, size), ...place }, problem);
  }
}

/** The bundle that holds an entry in a log of that size. */
export function bundlePath(index: number, size: number): string {
  const bundle = Math.floor(index / TILE_WIDTH);
  return tilePath("entries", bundle, tileWidthAt(size, 0, bundle));
}

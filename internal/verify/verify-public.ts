import { type ClosingEntry, decodeEntry, type LogEntry } from "../ballot/entry.ts";
import { type Manifest, parseManifest } from "../ballot/manifest.ts";
import { genesisHash } from "../ballot/record.ts";
import type { ShardHead } from "../ballot/shard-head.ts";
import { equalBytes, toHex } from "../core/bytes.ts";
import { messageOf } from "../core/errors.ts";
import { sequence, shardId, type TreeSize } from "../core/ids.ts";
import { type Hash, sha256 } from "../core/sha256.ts";
import { BLOCK_ENTRIES } from "../evidence/layout.ts";
import { type Checkpoint, openCheckpoint } from "../tlog/checkpoint.ts";
import { NoteVerifier } from "../tlog/note-verifier.ts";
import { verifyConsistency } from "../tlog/proof.ts";
import { TILE_WIDTH } from "../tlog/tile.ts";
import { TileReader } from "../tlog/tile-reader.ts";
import type { PublicSource } from "./http-source.ts";
import type { VerificationReport } from "./report.ts";

export interface VerifyPublicOptions {
  readonly source: PublicSource;
  readonly report: VerificationReport;
  /** The log's verifier key as the caller knows it; without it, the one the manifest names is used. */
  readonly logKey?: string | undefined;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** A public log as far as its signature and manifest were verified. */
export interface VerifiedLog {
  readonly manifest: Manifest;
  readonly manifestHash: Hash;
  readonly log: NoteVerifier;
  readonly checkpoint: Checkpoint;
  /** The closing entry, when the log has one. */
  readonly closing: ClosingEntry | undefined;
}

/** How many bundles are on their way at once. */
const AHEAD = 16;

/**
 * Verifies a public log from nothing but what anybody can read: the signature, the manifest, every tile and every
 * entry up to the signed root, that each shard's votes are numbered without a gap, and every numbered checkpoint.
 * Undefined when there is no signed log to verify at all.
 */
export async function verifyPublicLog(options: VerifyPublicOptions): Promise<VerifiedLog | undefined> {
  const { source, report } = options;
  const signed = await openLog(options);
  if (!signed) return undefined;
  const { checkpoint, manifestHash, manifest } = signed;

  const counting: PublicSource = async (path) => {
    const bytes = await source(path);
    report.checked.tiles++;
    report.checked.bytes += bytes?.length ?? 0;
    return bytes;
  };
  const reader = new TileReader({ fetch: counting, size: checkpoint.size, root: checkpoint.root });
  const sequences = new EntrySequence({ manifest, manifestHash, size: checkpoint.size, report });
  await readAll(reader, sequences, options);
  await verifyNumbered(options, signed, reader, sequences.closing !== undefined);
  return { ...signed, closing: sequences.closing };
}

/** The newest signed checkpoint and the manifest that the log began with. */
async function openLog(options: VerifyPublicOptions): Promise<Omit<VerifiedLog, "closing"> | undefined> {
  const { source, report, logKey } = options;
  const manifestBytes = await source("manifest.json");
  const note = await source("checkpoint");
  if (!manifestBytes) report.problem({ object: "manifest.json" }, "is not there");
  if (!note) report.problem({ object: "checkpoint" }, "is not there");
  if (!manifestBytes || !note) return undefined;

  let manifest: Manifest;
  try {
    manifest = parseManifest(manifestBytes);
  } catch (error) {
    report.problem({ object: "manifest.json" }, messageOf(error));
    return undefined;
  }
  if (logKey === undefined) {
    report.unchecked(
      "the log's key is the one its own manifest names: give --log-key to demand the one you know",
    );
  } else if (logKey !== manifest.logKey) {
    report.problem({ object: "manifest.json" }, "names another log key than the one given");
  }
  try {
    const log = NoteVerifier.parse(logKey ?? manifest.logKey);
    const { checkpoint } = openCheckpoint({ note, log });
    report.checked.notes++;
    return { manifest, manifestHash: sha256(manifestBytes), log, checkpoint };
  } catch (error) {
    report.problem({ object: "checkpoint" }, messageOf(error));
    return undefined;
  }
}

/** Reads every entry through the tree. A bundle that fails is reported, and the next one is tried. */
async function readAll(
  reader: TileReader,
  sequences: EntrySequence,
  options: VerifyPublicOptions,
): Promise<void> {
  const { report, onProgress } = options;
  const bundles = Math.ceil(reader.size / TILE_WIDTH);
  const pending = new Map<number, Promise<Uint8Array[]>>();
  let next = 0;
  for (let bundle = 0; bundle < bundles; bundle++) {
    for (; next < bundles && next < bundle + AHEAD; next++) {
      const reading = readBundle(reader, next);
      // It is awaited in its turn.
      reading.catch(() => {});
      pending.set(next, reading);
    }
    const first = bundle * TILE_WIDTH;
    try {
      const entries = (await pending.get(bundle)) ?? [];
      for (const [offset, entry] of entries.entries()) sequences.accept(first + offset, entry);
      report.checked.entries += entries.length;
    } catch (error) {
      report.problem({ object: `tile/entries/${bundle}`, index: first }, messageOf(error));
      sequences.skip();
    }
    pending.delete(bundle);
    onProgress?.(Math.min(first + TILE_WIDTH, reader.size), reader.size);
  }
}

function readBundle(reader: TileReader, bundle: number): Promise<Uint8Array[]> {
  const first = bundle * TILE_WIDTH;
  const width = Math.min(TILE_WIDTH, reader.size - first);
  return Promise.all(Array.from({ length: width }, (_, offset) => reader.entry(first + offset)));
}

/** Each numbered checkpoint is a signed state that the newest one must extend. */
async function verifyNumbered(
  { source, report }: VerifyPublicOptions,
  { checkpoint, log }: Omit<VerifiedLog, "closing">,
  reader: TileReader,
  closed: boolean,
): Promise<void> {
  const blocks = closed
    ? Math.ceil(checkpoint.size / BLOCK_ENTRIES)
    : Math.floor(checkpoint.size / BLOCK_ENTRIES);
  for (let number = 1; number <= blocks; number++) {
    const object = `checkpoints/${String(number).padStart(10, "0")}`;
    try {
      const note = await source(object);
      // The closing block's own may come a moment after the checkpoint of the same size.
      if (!note) {
        report.problem({ object }, "is not there");
        continue;
      }
      const { checkpoint: numbered } = openCheckpoint({ note, log });
      report.checked.notes++;
      const expected = Math.min(number * BLOCK_ENTRIES, checkpoint.size);
      if (numbered.size !== expected) {
        report.problem({ object }, `is of size ${numbered.size}, not ${expected}`);
        continue;
      }
      verifyConsistency({
        oldSize: numbered.size,
        oldRoot: numbered.root,
        newSize: checkpoint.size,
        newRoot: checkpoint.root,
        proof: await reader.consistencyProof(numbered.size),
      });
    } catch (error) {
      report.problem({ object }, messageOf(error));
    }
  }
}

interface EntrySequenceOptions {
  readonly manifest: Manifest;
  readonly manifestHash: Hash;
  readonly size: TreeSize;
  readonly report: VerificationReport;
}

/** Reads the log as the public can: which entries there are, in which order, and that none is missing. */
class EntrySequence {
  readonly #options: EntrySequenceOptions;
  /** Each shard's last entry; undefined while it is not known because entries before could not be read. */
  #heads: (ShardHead | undefined)[];
  closing: ClosingEntry | undefined;

  constructor(options: EntrySequenceOptions) {
    this.#options = options;
    const { manifest, manifestHash } = options;
    this.#heads = Array.from({ length: manifest.shards }, (_, shard) => ({
      sequence: sequence(0),
      hash: genesisHash(manifestHash, shardId(shard)),
    }));
  }

  accept(index: number, bytes: Uint8Array): void {
    const { report, manifestHash, size } = this.#options;
    let entry: LogEntry;
    try {
      entry = decodeEntry(bytes);
    } catch (error) {
      report.problem({ index }, messageOf(error));
      return;
    }
    if ((index === 0) !== (entry.type === "manifest")) {
      report.problem({ index }, "the manifest entry is the first, and only the first");
    }
    switch (entry.type) {
      case "manifest":
        if (!equalBytes(entry.manifestHash, manifestHash)) {
          report.problem({ index }, `is of the manifest ${toHex(entry.manifestHash)}, not of manifest.json`);
        }
        return;
      case "vote":
        this.#acceptVote(index, entry);
        return;
      case "closing":
        if (index !== size - 1) report.problem({ index }, "entries follow the closing entry");
        this.#acceptClosing(index, entry);
    }
  }

  /** Entries could not be read: what comes next in each shard is not known any more. */
  skip(): void {
    this.#heads = this.#heads.map(() => undefined);
    this.#options.report.unchecked(
      "that no vote is missing, for each shard's first vote after an unreadable entry",
    );
  }

  #acceptVote(index: number, { shard, sequence, recordHash }: Extract<LogEntry, { type: "vote" }>): void {
    const { report, manifest } = this.#options;
    if (shard >= manifest.shards) {
      report.problem({ index, shard, sequence }, `the election has ${manifest.shards} shards`);
      return;
    }
    const head = this.#heads[shard];
    if (head && sequence !== head.sequence + 1) {
      report.problem({ index, shard, sequence }, `follows sequence ${head.sequence} of its shard`);
    }
    this.#heads[shard] = { sequence, hash: recordHash };
  }

  #acceptClosing(index: number, entry: ClosingEntry): void {
    const { report, manifest } = this.#options;
    this.closing = entry;
    if (entry.shardHeads.length !== manifest.shards) {
      report.problem({ index }, `closes ${entry.shardHeads.length} shards of ${manifest.shards}`);
    }
    entry.shardHeads.forEach((final, shard) => {
      const head = this.#heads[shard];
      if (head && (head.sequence !== final.sequence || !equalBytes(head.hash, final.hash))) {
        const place = { index, shard: shardId(shard), sequence: final.sequence };
        report.problem(place, `the log's last entry of the shard is sequence ${head.sequence}`);
      }
    });
  }
}

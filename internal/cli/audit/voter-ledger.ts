import { appendFile, mkdir, readFile, rm, stat, truncate } from "node:fs/promises";
import { join } from "node:path";
import type { Manifest } from "../../ballot/manifest.ts";
import { oneVoteProblem } from "../../ballot/tally.ts";
import { positionOf, type Sequence, type ShardId } from "../../core/ids.ts";
import type { VoterRule } from "../../verify/voter-rule.ts";
import { UsageError } from "../exit-code.ts";
import { ROW_SIZE, VoterRows, voterBucket } from "./voter-rows.ts";
import { VoterTable } from "./voter-table.ts";

export interface VoterLedgerOptions {
  /** Of its own. It holds 32 bytes a record. */
  readonly folder: string;
  readonly manifest: Pick<Manifest, "revoting" | "shards">;
  /** How many files voters are spread over. */
  readonly parts: number;
  /** How much of each file counts, when it goes on where another left off. */
  readonly lengths?: readonly number[] | undefined;
}

/** Where a record stands. */
export interface RecordPlace {
  readonly index: number;
  readonly shard: ShardId;
  readonly sequence: Sequence;
}

/** Voters in a file: what is in memory at the end is one file's. */
const VOTERS_A_FILE = 500_000;
const MAX_PARTS = 4_096;
const BUFFER_SIZE = 64 * 1024;

/** How many files an election with so many entries takes. */
export function partsFor(entries: number): number {
  return Math.min(MAX_PARTS, Math.max(1, Math.ceil(entries / VOTERS_A_FILE)));
}

/**
 * Applies the one-vote rule to an election of any size in the memory of one file, and a buffer a file: voters are written
 * into files by their pseudonym while the log is read, and each file is folded by itself at the end.
 */
export class VoterLedger implements VoterRule<Uint8Array> {
  readonly #options: VoterLedgerOptions;
  /** Rows that are not in the files yet. One is made when it is needed. */
  readonly #buffers: (Uint8Array | undefined)[];
  readonly #buffered: number[];
  readonly #lengths: number[];
  #ready: Promise<void> | undefined;

  constructor(options: VoterLedgerOptions) {
    this.#options = options;
    this.#buffers = new Array(options.parts);
    this.#buffered = Array.from({ length: options.parts }, () => 0);
    this.#lengths = this.#buffered.map((_, part) => options.lengths?.[part] ?? 0);
  }

  get parts(): number {
    return this.#options.parts;
  }

  async add(_key: string, rows: Uint8Array): Promise<void> {
    for (let at = 0; at < rows.length; at += ROW_SIZE) {
      const part = voterBucket(rows, at) % this.parts;
      const buffered = this.#buffered[part] ?? 0;
      this.#buffers[part] ??= new Uint8Array(BUFFER_SIZE);
      this.#buffers[part].set(rows.subarray(at, at + ROW_SIZE), buffered);
      this.#buffered[part] = buffered + ROW_SIZE;
      if (buffered + ROW_SIZE === BUFFER_SIZE) await this.#write(part);
    }
  }

  /** Writes everything to the files. Answers how long each is then. */
  async flush(): Promise<readonly number[]> {
    for (const part of this.#buffered.keys()) await this.#write(part);
    return [...this.#lengths];
  }

  /** Folds one file after another. `problem` hears of each record that the rule does not allow. */
  async finish(problem: (place: RecordPlace, what: string) => Promise<void> | void): Promise<void> {
    await this.flush();
    const { manifest } = this.#options;
    for (const [part, length] of this.#lengths.entries()) {
      if (length === 0) continue;
      const bytes = new Uint8Array(await readFile(this.#file(part)));
      const [rows, voters] = [new VoterRows(bytes), new VoterTable(bytes)];
      const place = (row: number) => ({
        index: rows.index(row),
        ...positionOf(rows.id(row), manifest.shards),
      });
      for (let row = 0; row < rows.count; row++) {
        const previous = voters.newest(row);
        const before =
          previous === undefined ? undefined : { ...place(previous), revision: rows.revision(previous) };
        const wrong = oneVoteProblem(manifest.revoting, before, rows.revision(row));
        if (wrong) await problem(place(row), wrong);
        else voters.set(row);
      }
    }
  }

  async #write(part: number): Promise<void> {
    this.#ready ??= this.#prepare();
    await this.#ready;
    const rows = this.#buffers[part]?.subarray(0, this.#buffered[part]) ?? new Uint8Array();
    if (rows.length === 0) return;
    await appendFile(this.#file(part), rows);
    this.#lengths[part] = (this.#lengths[part] ?? 0) + rows.length;
    this.#buffered[part] = 0;
  }

  /** What was written after the last state was saved will be written again. */
  async #prepare(): Promise<void> {
    await mkdir(this.#options.folder, { recursive: true, mode: 0o700 });
    for (const [part, length] of this.#lengths.entries()) {
      const file = this.#file(part);
      if (length === 0) {
        await rm(file, { force: true });
        continue;
      }
      const size = await stat(file).then(
        ({ size }) => size,
        () => 0,
      );
      if (size < length)
        throw new UsageError(`${file} is not what the audit left there: begin anew, without --resume`);
      await truncate(file, length);
    }
  }

  #file(part: number): string {
    return join(this.#options.folder, `voters-${String(part).padStart(4, "0")}`);
  }
}

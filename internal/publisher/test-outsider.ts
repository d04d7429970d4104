// For tests: somebody who has an election's log key and can fetch its files, believes nobody, and never forgets a
// checkpoint.
import assert from "node:assert/strict";
import { decodeEntry } from "../ballot/entry.ts";
import { parseManifest } from "../ballot/manifest.ts";
import { equalBytes } from "../core/bytes.ts";
import { type Hash, sha256 } from "../core/sha256.ts";
import { type Checkpoint, openCheckpoint } from "../tlog/checkpoint.ts";
import { NoteVerifier } from "../tlog/note-verifier.ts";
import { verifyConsistency, verifyInclusion } from "../tlog/proof.ts";
import { readEntries } from "../tlog/read-entries.ts";
import { OracleTree } from "../tlog/test-oracle.ts";
import { hashesAtLevel, rightEdge, TILE_WIDTH, tilePath, tileWidthAt } from "../tlog/tile.ts";
import { TileReader } from "../tlog/tile-reader.ts";

/** Buffers, whose text is at hand. */
type Fetch = (path: string) => Promise<Buffer | undefined>;

export class Outsider {
  readonly #log: NoteVerifier;
  readonly #logKey: string;
  #fetch: Fetch;
  /** What each note says. To verify one takes milliseconds, and the same are seen again and again. */
  readonly #opened = new Map<string, Checkpoint>();
  /** Every checkpoint seen, by its size. */
  readonly #seen = new Map<number, Checkpoint>();

  constructor(options: { readonly logKey: string; readonly fetch: Fetch }) {
    this.#logKey = options.logKey;
    this.#log = NoteVerifier.parse(options.logKey);
    this.#fetch = options.fetch;
  }

  /** Goes on with the same memory where the log is served now. */
  moveTo(fetch: Fetch): void {
    this.#fetch = fetch;
  }

  /** Remembers a note. Two roots of one size are the end of the log's good name. */
  see(note: string | Buffer): Checkpoint {
    const text = String(note);
    const checkpoint = this.#opened.get(text) ?? openCheckpoint({ note, log: this.#log }).checkpoint;
    this.#opened.set(text, checkpoint);
    const before = this.#seen.get(checkpoint.size);
    if (before) assertSame(checkpoint.root, before.root, `two roots were signed for size ${checkpoint.size}`);
    this.#seen.set(checkpoint.size, checkpoint);
    return checkpoint;
  }

  /** Looks at the newest checkpoint, if there is one. */
  async look(): Promise<Checkpoint | undefined> {
    const note = await this.#fetch("checkpoint");
    return note && this.see(note);
  }

  /** Checks everything there is. Answers the size of the log, 0 if there is no checkpoint. */
  async check(): Promise<number> {
    const newest = await this.look();
    if (!newest) {
      assert.equal(this.#seen.size, 0, "the checkpoint is gone");
      return 0;
    }
    const { size, root } = newest;
    const entries = await this.#entries(size);
    const oracle = new OracleTree(entries);
    assertSame(oracle.root(size), root, "the entries do not hash to the root");

    const manifest = await this.#fetch("manifest.json");
    assert.ok(manifest, "no manifest");
    assert.equal(parseManifest(manifest).logKey, this.#logKey);
    const [first, last] = [entries[0], entries.at(-1)].map((entry) => decodeEntry(entry ?? new Uint8Array()));
    assert.ok(first?.type === "manifest");
    assertSame(first.manifestHash, sha256(manifest), "the manifest is not the one of entry 0");

    for (let number = 1; number <= Math.ceil(size / 10_000); number++) {
      const note = await this.#fetch(`checkpoints/${String(number).padStart(10, "0")}`);
      const isWhole = number * 10_000 <= size;
      if (!isWhole && last?.type !== "closing")
        assert.equal(note, undefined, `block ${number} has not ended`);
      else assert.equal(this.see(note ?? "").size, isWhole ? number * 10_000 : size);
    }

    const reader = new TileReader({ fetch: this.#fetch, size, root });
    for (const [oldSize, old] of this.#seen) {
      assert.ok(
        oldSize <= size,
        `a checkpoint of size ${oldSize} has been seen, and now there are ${size} entries`,
      );
      const proof = await reader.consistencyProof(oldSize);
      verifyConsistency({ oldSize, oldRoot: old.root, newSize: size, newRoot: root, proof });
      await this.#checkEdge(oldSize, oracle);
    }
    for (const index of [0, Math.floor(size / 2), size - 1]) {
      const proof = await reader.inclusionProof(index);
      verifyInclusion({ leaf: oracle.leaf(index), index, size, proof, root });
    }
    await this.#checkFullTiles(size, oracle);
    return size;
  }

  async #entries(size: number): Promise<Uint8Array[]> {
    const entries: Uint8Array[] = [];
    for await (const run of readEntries(this.#fetch, 0, size)) entries.push(...run.entries);
    return entries;
  }

  /** The partial tiles of a size that had a checkpoint are served as they were. */
  async #checkEdge(size: number, oracle: OracleTree): Promise<void> {
    for (const { level, index, width } of rightEdge(size)) {
      const path = tilePath(level, index, width);
      assertSame(await this.#fetch(path), tileOf(oracle, level, index, width), path);
      if (level === 0)
        assert.ok(await this.#fetch(tilePath("entries", index, width)), `no bundle of width ${width}`);
    }
  }

  async #checkFullTiles(size: number, oracle: OracleTree): Promise<void> {
    for (let level = 0; hashesAtLevel(size, level) > 0; level++) {
      for (let index = 0; tileWidthAt(size, level, index) === TILE_WIDTH; index++) {
        const path = tilePath(level, index);
        assertSame(await this.#fetch(path), tileOf(oracle, level, index, TILE_WIDTH), path);
      }
    }
  }
}

/** The bytes of a tile by definition: each hash is of the subtree of 256^level entries. */
function tileOf(oracle: OracleTree, level: number, index: number, width: number): Buffer {
  const leaves = TILE_WIDTH ** level;
  const hash = (position: number): Hash => {
    const start = (index * TILE_WIDTH + position) * leaves;
    return oracle.root(start + leaves, start);
  };
  return Buffer.concat(Array.from({ length: width }, (_, position) => hash(position)));
}

/** Equal bytes, in a Buffer or not. */
function assertSame(actual: Uint8Array | undefined, expected: Uint8Array, message: string): void {
  assert.ok(actual && equalBytes(actual, expected), message);
}

import { equalBytes, toHex } from "../core/bytes.ts";
import type { TreeSize } from "../core/ids.ts";
import type { Hash } from "../core/sha256.ts";
import { badTile, TlogError, unverified } from "./errors.ts";
import { PromiseCache } from "./promise-cache.ts";
import {
  type CompleteSubtree,
  completeSubtrees,
  consistencyRanges,
  inclusionRanges,
  type Range,
} from "./ranges.ts";
import { hashesAtLevel, rightEdge, TILE_HEIGHT, TILE_WIDTH, tilePath, tileWidthAt } from "./tile.ts";
import { fetchEntryBundle, fetchTile, type TileFetch } from "./tile-fetch.ts";
import { TileTree } from "./tile-tree.ts";
import { EMPTY_ROOT, leafHash, nodeHash } from "./tree.ts";

export type { TileFetch } from "./tile-fetch.ts";

export interface TileReaderOptions {
  /** What it throws (a network error, say) reaches the caller as it is. */
  readonly fetch: TileFetch;
  /** Size and root of a tree that is trusted already, from a checkpoint whose signature was verified. */
  readonly size: TreeSize;
  readonly root: Hash;
  /** Verified tiles kept, 16 KiB each. */
  readonly cachedTiles?: number;
  /** Verified entry bundles kept; a bundle of vote entries is 12 KiB, of the longest possible ones 16 MiB. */
  readonly cachedBundles?: number;
}

/**
 * Reads one tree, of one size, from the tiles of a server that is not trusted. A tile is used only after its hash was
 * found in the tile above it, and so on up to the partial tiles of the right edge, which together give the root.
 */
export class TileReader {
  readonly size: TreeSize;
  readonly root: Hash;
  readonly #fetch: TileFetch;
  readonly #tiles: PromiseCache<TileTree>;
  readonly #bundles: PromiseCache<Uint8Array[]>;
  #edge: Promise<ReadonlyMap<number, TileTree>> | undefined;

  constructor({ fetch, size, root, cachedTiles = 1024, cachedBundles = 16 }: TileReaderOptions) {
    this.size = size;
    this.root = root;
    this.#fetch = fetch;
    this.#tiles = new PromiseCache({ limit: cachedTiles });
    this.#bundles = new PromiseCache({ limit: cachedBundles });
  }

  // The tree of any older size is made of complete subtrees, which this tree has as well: its roots and proofs come from
  // the tiles of this tree. Whether tiles of the older size itself were ever written does not matter.

  /** The root of the tree as it was at `size`. */
  async rootAt(size: number): Promise<Hash> {
    checkOlder(size, this.size);
    return size === 0 ? EMPTY_ROOT : this.#rangeHash({ start: 0, end: size });
  }

  /** The proof that an entry is in the tree, as it is or as it was at `size`; leaf's sibling first. */
  async inclusionProof(index: number, size: number = this.size): Promise<Hash[]> {
    checkOlder(size, this.size);
    checkIndex(index, size);
    return this.#hashes(inclusionRanges(index, size));
  }

  /** The proof that the tree, as it is or as it was at `newSize`, extends the one it was at `oldSize`. */
  async consistencyProof(oldSize: number, newSize: number = this.size): Promise<Hash[]> {
    checkOlder(newSize, this.size);
    checkOlder(oldSize, newSize);
    return oldSize === 0 ? [] : this.#hashes(consistencyRanges(oldSize, newSize));
  }

  /** An entry's bytes, after their hash was found in the tree. */
  async entry(index: number): Promise<Uint8Array> {
    checkIndex(index, this.size);
    const bundle = await this.#bundle(Math.floor(index / TILE_WIDTH));
    // #bundle has checked that all the entries are there. A copy, so that nobody can change what is cached.
    return new Uint8Array(bundle[index % TILE_WIDTH] ?? []);
  }

  /** A tile's hashes, after they were found in the tree: 256, or fewer on the right edge. */
  async tile(level: number, index: number): Promise<Hash[]> {
    const tile = await this.#tile(level, index);
    return Array.from({ length: tile.width }, (_, place) => tile.hash(0, place));
  }

  #hashes(ranges: readonly Range[]): Promise<Hash[]> {
    return Promise.all(ranges.map((range) => this.#rangeHash(range)));
  }

  async #rangeHash(range: Range): Promise<Hash> {
    const hashes = await Promise.all(completeSubtrees(range).map((subtree) => this.#subtreeHash(subtree)));
    return hashes.reduceRight((right, left) => nodeHash(left, right));
  }

  async #subtreeHash({ height, index }: CompleteSubtree): Promise<Hash> {
    const level = Math.floor(height / TILE_HEIGHT);
    const heightInTile = height % TILE_HEIGHT;
    const perTile = 2 ** (TILE_HEIGHT - heightInTile);
    const tile = await this.#tile(level, Math.floor(index / perTile));
    return tile.hash(heightInTile, index % perTile);
  }

  async #tile(level: number, index: number): Promise<TileTree> {
    if (tileWidthAt(this.size, level, index) === TILE_WIDTH) {
      return this.#tiles.get(tilePath(level, index), () => this.#loadFullTile(level, index));
    }
    const partial = (await this.#rightEdge()).get(level);
    if (!partial || index !== Math.floor(hashesAtLevel(this.size, level) / TILE_WIDTH)) {
      throw new TlogError(
        "out-of-range",
        `a tree of size ${this.size} has no tile ${index} at level ${level}`,
      );
    }
    return partial;
  }

  /** A full tile's hash is in the tile above, which always exists and which is verified the same way. */
  async #loadFullTile(level: number, index: number): Promise<TileTree> {
    const [bytes, above] = await Promise.all([
      fetchTile(this.#fetch, level, index, TILE_WIDTH),
      this.#tile(level + 1, Math.floor(index / TILE_WIDTH)),
    ]);
    const tile = new TileTree(bytes);
    const expected = above.hash(0, index % TILE_WIDTH);
    if (!equalBytes(tile.hash(TILE_HEIGHT, 0), expected)) {
      throw badTile(
        "unverified",
        tilePath(level, index),
        ` does not hash to ${toHex(expected)}, which the level above has for it`,
      );
    }
    return tile;
  }

  #rightEdge(): Promise<ReadonlyMap<number, TileTree>> {
    if (!this.#edge) {
      this.#edge = this.#loadRightEdge();
      // The next caller tries again.
      this.#edge.catch(() => {
        this.#edge = undefined;
      });
    }
    return this.#edge;
  }

  async #loadRightEdge(): Promise<ReadonlyMap<number, TileTree>> {
    const partials = rightEdge(this.size);
    const tiles = await Promise.all(
      partials.map(async ({ level, index, width }): Promise<[number, TileTree]> => {
        return [level, new TileTree(await fetchTile(this.#fetch, level, index, width))];
      }),
    );
    let root: Hash | undefined;
    for (const [, tile] of tiles) {
      for (const { hash } of tile.peaks()) root = root ? nodeHash(hash, root) : hash;
    }
    if (!equalBytes(root ?? EMPTY_ROOT, this.root)) {
      const paths = partials.map(({ level, index, width }) => tilePath(level, index, width)).join(", ");
      throw unverified(
        `${paths} hash to the root ${toHex(root ?? EMPTY_ROOT)}, not to ${toHex(this.root)} of size ${this.size}`,
      );
    }
    return new Map(tiles);
  }

  #bundle(index: number): Promise<Uint8Array[]> {
    return this.#bundles.get(tilePath("entries", index), async () => {
      const width = tileWidthAt(this.size, 0, index);
      const [entries, leaves] = await Promise.all([
        fetchEntryBundle(this.#fetch, index, width),
        this.#tile(0, index),
      ]);
      entries.forEach((entry, position) => {
        if (!equalBytes(leafHash(entry), leaves.hash(0, position))) {
          throw badTile(
            "unverified",
            tilePath("entries", index, width),
            `: entry ${index * TILE_WIDTH + position} is not the one in the tree`,
          );
        }
      });
      return entries;
    });
  }
}

function checkIndex(index: number, size: number): void {
  if (!Number.isInteger(index) || index < 0 || index >= size) {
    throw new TlogError("out-of-range", `index ${index} is not in a tree of size ${size}`);
  }
}

function checkOlder(oldSize: number, size: number): void {
  if (!Number.isInteger(oldSize) || oldSize < 0 || oldSize > size) {
    throw new TlogError("out-of-range", `a tree of size ${size} has no older size ${oldSize}`);
  }
}

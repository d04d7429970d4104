import { equalBytes, toHex } from "../core/bytes.ts";
import { type TreeSize, treeSize } from "../core/ids.ts";
import { HASH_SIZE, type Hash } from "../core/sha256.ts";
import { CompactRange } from "./compact-range.ts";
import { TlogError, unverified } from "./errors.ts";
import {
  hashesAtLevel,
  rightEdge,
  TILE_HEIGHT,
  TILE_WIDTH,
  type Tile,
  tilePath,
  tileWidthAt,
} from "./tile.ts";
import { fetchEntryBundle, fetchTile, type TileFetch } from "./tile-fetch.ts";
import { TileTree } from "./tile-tree.ts";
import { EMPTY_ROOT, leafHash, nodeHash } from "./tree.ts";

/** The rightmost tile of a level, while it fills. */
interface OpenTile {
  index: number;
  width: number;
  bytes: Uint8Array;
}

/**
 * The right edge of a growing log: enough to append, to know the root and to write the tiles, and no more, whatever
 * the size. An append costs one leaf hash and, on average, one node hash; a root costs at most 53.
 */
export class GrowingTree {
  #size = 0;
  /**
   * peaks[h]: the root of the complete subtree of 2^h entries at the right edge, if the size has that bit. Appending
   * is adding 1 to a binary counter, and a carry is a node hash.
   */
  #peaks: (Hash | undefined)[] = [];
  /** The open tile of each level, and the open entry bundle. */
  #levels: OpenTile[] = [];
  #bundle: OpenTile & { length: number } = { index: 0, width: 0, bytes: new Uint8Array(1 << 14), length: 0 };
  /** Full tiles and bundles that nobody has taken yet. */
  #full: Tile[] = [];

  private constructor() {}

  static empty(): GrowingTree {
    return new GrowingTree();
  }

  /**
   * The tree of that size, from the partial tiles and the partial entry bundle of its right edge. The entries must
   * hash to the tile, and all of it to `root` if it is given; without it, compare `root()` with a root you trust
   * before you build on it.
   */
  static async load(size: TreeSize, fetch: TileFetch, root?: Hash): Promise<GrowingTree> {
    const tree = new GrowingTree();
    const bundleIndex = Math.floor(size / TILE_WIDTH);
    const bundleWidth = tileWidthAt(size, 0, bundleIndex);
    const [tiles, entries] = await Promise.all([
      Promise.all(
        rightEdge(size).map(async (at) => ({
          ...at,
          bytes: await fetchTile(fetch, at.level, at.index, at.width),
        })),
      ),
      bundleWidth > 0 ? fetchEntryBundle(fetch, bundleIndex, bundleWidth) : [],
    ]);

    tree.#size = size;
    tree.#bundle.index = bundleIndex;
    // A level whose last tile is full has no partial one, and the next hash opens the tile after it.
    for (let level = 0; hashesAtLevel(size, level) > 0; level++) {
      tree.#openTile(level).index = Math.floor(hashesAtLevel(size, level) / TILE_WIDTH);
    }
    for (const { level, width, bytes } of tiles) {
      const open = tree.#openTile(level);
      open.width = width;
      open.bytes.set(bytes);
      for (const peak of new TileTree(bytes).peaks())
        tree.#peaks[level * TILE_HEIGHT + peak.height] = peak.hash;
    }
    entries.forEach((entry, position) => {
      const leaf = tree.#levels[0]?.bytes.subarray(position * HASH_SIZE, (position + 1) * HASH_SIZE);
      if (!leaf || !equalBytes(leafHash(entry), leaf)) {
        const path = tilePath("entries", bundleIndex, bundleWidth);
        throw unverified(
          `${path}: entry ${bundleIndex * TILE_WIDTH + position} is not the one in the level-0 tile`,
        );
      }
      tree.#addToBundle(entry);
    });
    if (root && !equalBytes(tree.root(), root)) {
      throw unverified(
        `the right edge of size ${size} hashes to ${toHex(tree.root())}, not to ${toHex(root)}`,
      );
    }
    return tree;
  }

  get size(): TreeSize {
    return treeSize(this.#size);
  }

  /** Adds an entry of at most 65,535 bytes, which are copied. */
  append(entry: Uint8Array): void {
    if (this.#size === Number.MAX_SAFE_INTEGER) throw new TlogError("out-of-range", "the tree is full");
    let hash = leafHash(entry);
    this.#addToBundle(entry);
    this.#addToTile(0, hash);
    let height = 0;
    for (let left = this.#peaks[0]; left !== undefined; left = this.#peaks[height]) {
      hash = nodeHash(left, hash);
      this.#peaks[height] = undefined;
      height++;
      // The root of a full tile is a hash of the level above.
      if (height % TILE_HEIGHT === 0) this.#addToTile(height / TILE_HEIGHT, hash);
    }
    this.#peaks[height] = hash;
    this.#size++;
  }

  root(): Hash {
    let root: Hash | undefined;
    for (const peak of this.#peaks) {
      if (peak) root = root ? nodeHash(peak, root) : peak;
    }
    return root ?? EMPTY_ROOT;
  }

  /**
   * The tiles and bundles that were filled since the last call, and all partial ones of the present size. Whoever
   * writes them may write any of them again: a path always has the same bytes. What is not taken stays in memory, so
   * a long run of appends takes them now and then.
   */
  takeTiles(): Tile[] {
    const tiles = this.#full;
    this.#full = [];
    if (this.#bundle.width > 0) tiles.push(closedBundle(this.#bundle));
    this.#levels.forEach((open, level) => {
      if (open.width > 0) {
        const bytes = open.bytes.slice(0, open.width * HASH_SIZE);
        tiles.push({ path: tilePath(level, open.index, open.width), bytes });
      }
    });
    return tiles;
  }

  /** The same tree for whoever needs no tiles. */
  compact(): CompactRange {
    return CompactRange.of(this.size, this.#peaks.filter((peak) => peak !== undefined).reverse());
  }

  /** An independent copy, to try appends that may have to be given up. */
  clone(): GrowingTree {
    const copy = new GrowingTree();
    copy.#size = this.#size;
    copy.#peaks = [...this.#peaks];
    copy.#levels = this.#levels.map((open) => ({ ...open, bytes: open.bytes.slice() }));
    copy.#bundle = { ...this.#bundle, bytes: this.#bundle.bytes.slice() };
    copy.#full = [...this.#full];
    return copy;
  }

  #openTile(level: number): OpenTile {
    this.#levels[level] ??= { index: 0, width: 0, bytes: new Uint8Array(TILE_WIDTH * HASH_SIZE) };
    return this.#levels[level];
  }

  #addToTile(level: number, hash: Hash): void {
    const open = this.#openTile(level);
    open.bytes.set(hash, open.width * HASH_SIZE);
    open.width++;
    if (open.width < TILE_WIDTH) return;
    this.#full.push({ path: tilePath(level, open.index), bytes: open.bytes });
    open.index++;
    open.width = 0;
    open.bytes = new Uint8Array(TILE_WIDTH * HASH_SIZE);
  }

  #addToBundle(entry: Uint8Array): void {
    const bundle = this.#bundle;
    const end = bundle.length + 2 + entry.length;
    if (end > bundle.bytes.length) {
      const grown = new Uint8Array(Math.max(end, 2 * bundle.bytes.length));
      grown.set(bundle.bytes.subarray(0, bundle.length));
      bundle.bytes = grown;
    }
    bundle.bytes[bundle.length] = entry.length >> 8;
    bundle.bytes[bundle.length + 1] = entry.length & 0xff;
    bundle.bytes.set(entry, bundle.length + 2);
    bundle.length = end;
    bundle.width++;
    if (bundle.width < TILE_WIDTH) return;
    this.#full.push(closedBundle(bundle));
    bundle.index++;
    bundle.width = 0;
    bundle.length = 0;
  }
}

function closedBundle(bundle: OpenTile & { length: number }): Tile {
  return {
    path: tilePath("entries", bundle.index, bundle.width),
    bytes: bundle.bytes.slice(0, bundle.length),
  };
}

import type { TreeSize } from "../core/ids.ts";
import type { Hash } from "../core/sha256.ts";
import { TlogError } from "../tlog/errors.ts";
import { GrowingTree } from "../tlog/growing-tree.ts";
import { verifyConsistency } from "../tlog/proof.ts";
import type { TileFetch } from "../tlog/tile-fetch.ts";
import { TileReader } from "../tlog/tile-reader.ts";

/**
 * Whoever compares a log from its beginning to its end needs the tiles over one place and over the tree's right edge, two a
 * level, and never again those behind it.
 */
const CACHED_TILES = 16;

/** A signed tree, to hold something else against. Everything it answers was verified against its root. */
export class PublicTree {
  readonly size: TreeSize;
  readonly #fetch: TileFetch;
  readonly #reader: TileReader;

  constructor(options: { readonly fetch: TileFetch; readonly size: TreeSize; readonly root: Hash }) {
    this.size = options.size;
    this.#fetch = options.fetch;
    this.#reader = new TileReader({ ...options, cachedTiles: CACHED_TILES });
  }

  entry(index: number): Promise<Uint8Array> {
    return this.#reader.entry(index);
  }

  /** Whether this is the root that the tree had at that size. */
  async hadRoot(size: number, root: Hash): Promise<boolean> {
    const proof = await this.#reader.consistencyProof(size);
    const { size: newSize, root: newRoot } = this.#reader;
    try {
      verifyConsistency({ oldSize: size, oldRoot: root, newSize, newRoot, proof });
      return true;
    } catch (error) {
      if (error instanceof TlogError && error.kind === "unverified") return false;
      throw error;
    }
  }

  /** The tree as it was at that size. */
  async at(size: TreeSize): Promise<GrowingTree> {
    const tree = await GrowingTree.load(size, this.#fetch);
    if (await this.hadRoot(size, tree.root())) return tree;
    throw new TlogError("unverified", `the tiles of size ${size} do not belong to the signed tree`);
  }
}

import { HASH_SIZE, type Hash } from "../core/sha256.ts";
import { TILE_HEIGHT } from "./tile.ts";
import { nodeHash } from "./tree.ts";

/**
 * The subtree that a tile stands for. A tile's bytes are its bottom row only; the rows above are computed once, as
 * checking the tile needs them anyway and proofs then are look-ups. 16 KiB for a full tile.
 */
export class TileTree {
  /** rows[h]: the hashes of the complete subtrees of height h over the tile's hashes, 32 bytes each. */
  readonly #rows: Uint8Array[] = [];

  /** `hashes`: the tile's bytes, which are copied. */
  constructor(hashes: Uint8Array) {
    let row = new Uint8Array(hashes);
    this.#rows.push(row);
    for (let height = 1; height <= TILE_HEIGHT; height++) {
      const above = new Uint8Array(Math.floor(row.length / HASH_SIZE / 2) * HASH_SIZE);
      for (let offset = 0; offset < above.length; offset += HASH_SIZE) {
        const left = 2 * offset;
        above.set(
          nodeHash(
            row.subarray(left, left + HASH_SIZE),
            row.subarray(left + HASH_SIZE, left + 2 * HASH_SIZE),
          ),
          offset,
        );
      }
      this.#rows.push(above);
      row = above;
    }
  }

  /** How many hashes the tile has. */
  get width(): number {
    return (this.#rows[0]?.length ?? 0) / HASH_SIZE;
  }

  /** The root of the `index`-th complete subtree of a height: (0, i) is the tile's i-th hash, (8, 0) a full tile's root. */
  hash(height: number, index: number): Hash {
    const row = this.#rows[height];
    const hash = row?.slice(index * HASH_SIZE, (index + 1) * HASH_SIZE);
    if (hash?.length !== HASH_SIZE) throw new RangeError(`a tile has no hash ${index} at height ${height}`);
    // 32 bytes that nodeHash or a checked tile put there.
    return hash as Uint8Array as Hash;
  }

  /**
   * The roots of the largest complete subtrees the tile divides into, by height, smallest first: one for each bit of
   * a width below 256.
   */
  *peaks(): Generator<{ height: number; hash: Hash }> {
    for (let height = 0; height < TILE_HEIGHT; height++) {
      const count = (this.#rows[height]?.length ?? 0) / HASH_SIZE;
      if (count % 2 === 1) yield { height, hash: this.hash(height, count - 1) };
    }
  }
}

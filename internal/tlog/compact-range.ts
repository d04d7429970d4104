import { type TreeSize, treeSize } from "../core/ids.ts";
import { HASH_SIZE, type Hash } from "../core/sha256.ts";
import { TlogError } from "./errors.ts";
import { EMPTY_ROOT, hashPairs, nodeHash } from "./tree.ts";

/** The root of a complete subtree of 2^height entries. */
export interface Subtree {
  readonly height: number;
  readonly hash: Hash;
}

/**
 * A tree of which nothing is kept but the roots of its complete subtrees: one for each 1 in the binary form of its size,
 * so at most 53 hashes. It can grow and knows its root. Without tiles, it is a GrowingTree's for whoever only verifies.
 */
export class CompactRange {
  #size: number;
  /** By height. Appending is adding to a binary counter, and a carry is a node hash. */
  readonly #peaks: (Hash | undefined)[];

  private constructor(size: number, peaks: (Hash | undefined)[]) {
    this.#size = size;
    this.#peaks = peaks;
  }

  static empty(): CompactRange {
    return new CompactRange(0, []);
  }

  /** The tree of that size whose complete subtrees, from left to right, have these roots. */
  static of(size: TreeSize, hashes: readonly Hash[]): CompactRange {
    const heights: number[] = [];
    for (let height = 0, left: number = size; left > 0; height++, left = Math.floor(left / 2)) {
      if (left % 2 === 1) heights.unshift(height);
    }
    if (heights.length !== hashes.length) {
      throw outOfRange(
        `a tree of ${size} entries has ${heights.length} complete subtrees, not ${hashes.length}`,
      );
    }
    const peaks: (Hash | undefined)[] = [];
    heights.forEach((height, i) => {
      peaks[height] = hashes[i];
    });
    return new CompactRange(size, peaks);
  }

  get size(): TreeSize {
    return treeSize(this.#size);
  }

  /** The roots of the complete subtrees from left to right, which is from large to small. */
  get hashes(): Hash[] {
    return this.#peaks.filter((peak) => peak !== undefined).reverse();
  }

  /** Adds a subtree's entries. The size is a multiple of theirs: nothing smaller is left open. */
  append({ height: at, hash: root }: Subtree): void {
    const entries = 2 ** at;
    if (this.#size % entries > 0)
      throw outOfRange(`no subtree of ${entries} entries begins at ${this.#size}`);
    let [height, hash] = [at, root];
    for (let left = this.#peaks[height]; left !== undefined; left = this.#peaks[height]) {
      hash = nodeHash(left, hash);
      this.#peaks[height] = undefined;
      height++;
    }
    this.#peaks[height] = hash;
    this.#size += entries;
  }

  root(): Hash {
    let root: Hash | undefined;
    for (const peak of this.#peaks) if (peak) root = root ? nodeHash(peak, root) : peak;
    return root ?? EMPTY_ROOT;
  }

  clone(): CompactRange {
    return new CompactRange(this.#size, [...this.#peaks]);
  }
}

/**
 * The complete subtrees that consecutive entries make up, in order: whoever has the tree up to `first` appends these
 * instead of each entry. `leaves` has their leaf hashes, one behind another.
 */
export function subtreesOf(first: number, leaves: Uint8Array): Subtree[] {
  const [left, right]: [Subtree[], Subtree[]] = [[], []];
  // Each level is written over the one below it.
  const hashes = new Uint8Array(leaves);
  const at = (i: number) => hashes.slice(i * HASH_SIZE, (i + 1) * HASH_SIZE) as Hash; // Hashes by contract.
  let count = Math.floor(leaves.length / HASH_SIZE);
  for (let height = 0, index = first; count > 0; height++, index = Math.floor(index / 2)) {
    // One that is a right child has its left sibling outside, and so has the last if it is a left child.
    const alone = index % 2;
    if (alone === 1) {
      left.push({ height, hash: at(0) });
      index++;
    }
    if ((count - alone) % 2 === 1) right.unshift({ height, hash: at(count - 1) });
    count = hashPairs(hashes, alone, count - alone);
  }
  return [...left, ...right];
}

function outOfRange(message: string): TlogError {
  return new TlogError("out-of-range", message);
}

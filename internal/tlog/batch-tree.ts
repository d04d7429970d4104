import type { Hash } from "../core/sha256.ts";
import { TlogError } from "./errors.ts";
import { nodeHash } from "./tree.ts";

/**
 * The tree of entries that are all there at once, with each one's inclusion proof at hand: n − 1 hashes for n entries.
 * A log that grows is a GrowingTree.
 */
export class BatchTree {
  /** From the leaves up to the root. */
  readonly #levels: readonly (readonly Hash[])[];

  /** `leaves`: the entries' leaf hashes, one or more. */
  constructor(leaves: readonly Hash[]) {
    if (leaves.length === 0) throw new TlogError("out-of-range", "a batch has at least one entry");
    const levels = [leaves];
    for (let level = leaves; level.length > 1; levels.push(level)) level = parentsOf(level);
    this.#levels = levels;
  }

  get size(): number {
    return this.#levels[0]?.length ?? 0;
  }

  root(): Hash {
    return this.#hash(this.#levels.length - 1, 0);
  }

  /** The audit path of RFC 6962 section 2.1.1, leaf's sibling first. */
  inclusionProof(index: number): Hash[] {
    if (!Number.isInteger(index) || index < 0 || index >= this.size) {
      throw new TlogError("out-of-range", `index ${index} is not in a batch of ${this.size}`);
    }
    const proof: Hash[] = [];
    for (let level = 0, at = index; level < this.#levels.length - 1; level++, at >>= 1) {
      const sibling = this.#levels[level]?.[at ^ 1];
      if (sibling) proof.push(sibling);
    }
    return proof;
  }

  #hash(level: number, index: number): Hash {
    const hash = this.#levels[level]?.[index];
    if (!hash) throw new TypeError("no such hash");
    return hash;
  }
}

/**
 * RFC 6962 splits a tree from the top, at the largest power of two. From below that means: pair what has a partner, and
 * carry a last one without a partner upwards as it is.
 */
function parentsOf(level: readonly Hash[]): Hash[] {
  const parents: Hash[] = [];
  for (let i = 0; i < level.length; i += 2) {
    const [left, right] = [level[i], level[i + 1]];
    if (left) parents.push(right ? nodeHash(left, right) : left);
  }
  return parents;
}

// Verification of Merkle proofs, by the algorithms of RFC 9162 sections 2.1.3.2 and 2.1.4.2 (the trees and proofs are
// RFC 6962's). They walk up from the leaf with two counters and know nothing of how a proof is made (ranges.ts).
import { equalBytes, toHex } from "../core/bytes.ts";
import { HASH_SIZE, type Hash } from "../core/sha256.ts";
import { malformed, TlogError, unverified } from "./errors.ts";
import { EMPTY_ROOT, nodeHash } from "./tree.ts";

/** More hashes than this are in no proof: a tree of 2^53 entries is 53 high, and consistency adds one. */
export const MAX_PROOF_HASHES = 54;

export interface Inclusion {
  /** The leaf hash, SHA-256(0x00 ‖ entry). */
  readonly leaf: Hash;
  /** Where the entry is, from 0. */
  readonly index: number;
  readonly size: number;
  /** Leaf's sibling first. */
  readonly proof: readonly Hash[];
  readonly root: Hash;
}

/** Throws a TlogError unless the tree of `size` entries with that root has that leaf at that index. */
export function verifyInclusion({ leaf, index, size, proof, root }: Inclusion): void {
  checkCount("a tree size", size);
  checkCount("an index", index);
  checkHashes(proof, leaf, root);
  if (index >= size) throw outOfRange(`index ${index} is not in a tree of size ${size}`);

  let node = index;
  let last = size - 1;
  let hash = leaf;
  for (const sibling of proof) {
    if (last === 0) throw unverified(`an inclusion proof for index ${index} of ${size} has too many hashes`);
    if (isOdd(node) || node === last) {
      hash = nodeHash(sibling, hash);
      // The right edge of an incomplete tree: levels where this node is alone have no hash in the proof.
      while (!isOdd(node) && node !== 0) {
        node = half(node);
        last = half(last);
      }
    } else {
      hash = nodeHash(hash, sibling);
    }
    node = half(node);
    last = half(last);
  }
  if (last !== 0) throw unverified(`an inclusion proof for index ${index} of ${size} has too few hashes`);
  if (!equalBytes(hash, root)) {
    throw unverified(
      `an inclusion proof for index ${index} of ${size} leads to root ${toHex(hash)}, not ${toHex(root)}`,
    );
  }
}

export interface Consistency {
  readonly oldSize: number;
  readonly oldRoot: Hash;
  readonly newSize: number;
  readonly newRoot: Hash;
  readonly proof: readonly Hash[];
}

/** Throws a TlogError unless the old tree's entries are the first of the new tree's. */
export function verifyConsistency({ oldSize, oldRoot, newSize, newRoot, proof }: Consistency): void {
  checkCount("a tree size", oldSize);
  checkCount("a tree size", newSize);
  checkHashes(proof, oldRoot, newRoot);
  const what = `a consistency proof from size ${oldSize} to ${newSize}`;
  if (oldSize > newSize) throw outOfRange(`a tree of size ${newSize} cannot extend one of size ${oldSize}`);

  if (oldSize === 0 || oldSize === newSize) {
    // Every tree extends the empty one, and equal sizes mean equal roots: there is nothing to prove (RFC 9162 2.1.4.1).
    const expected = oldSize === 0 ? EMPTY_ROOT : newRoot;
    if (proof.length > 0) throw unverified(`${what} has too many hashes`);
    if (!equalBytes(oldRoot, expected)) throw differs("old", what, expected, oldRoot);
    if (newSize === 0 && !equalBytes(newRoot, EMPTY_ROOT)) throw differs("new", what, EMPTY_ROOT, newRoot);
    return;
  }

  let node = oldSize - 1;
  let last = newSize - 1;
  while (isOdd(node)) {
    node = half(node);
    last = half(last);
  }
  // An old tree of a power of two is a node of the new one, so its root is not repeated in the proof.
  const path = node === 0 ? [oldRoot, ...proof] : proof;
  const [first, ...rest] = path;
  if (first === undefined) throw unverified(`${what} has too few hashes`);
  let oldHash = first;
  let newHash = first;
  for (const hash of rest) {
    if (last === 0) throw unverified(`${what} has too many hashes`);
    if (isOdd(node) || node === last) {
      oldHash = nodeHash(hash, oldHash);
      newHash = nodeHash(hash, newHash);
      while (!isOdd(node) && node !== 0) {
        node = half(node);
        last = half(last);
      }
    } else {
      newHash = nodeHash(newHash, hash);
    }
    node = half(node);
    last = half(last);
  }
  if (last !== 0) throw unverified(`${what} has too few hashes`);
  if (!equalBytes(oldHash, oldRoot)) throw differs("old", what, oldHash, oldRoot);
  if (!equalBytes(newHash, newRoot)) throw differs("new", what, newHash, newRoot);
}

function differs(which: "old" | "new", what: string, computed: Hash, claimed: Hash): TlogError {
  return unverified(`${what} leads to the ${which} root ${toHex(computed)}, not ${toHex(claimed)}`);
}

function isOdd(value: number): boolean {
  return value % 2 === 1;
}

/** `value >> 1` for values above 2^31. */
function half(value: number): number {
  return Math.floor(value / 2);
}

function outOfRange(message: string): TlogError {
  return new TlogError("out-of-range", message);
}

function checkCount(what: string, value: number): void {
  if (!Number.isSafeInteger(value) || value < 0) throw outOfRange(`${what} is an integer from 0 to 2^53 - 1`);
}

/** Proofs come from outside: a cast somewhere must not turn a short hash into a crash or, worse, into an answer. */
function checkHashes(proof: readonly Uint8Array[], ...others: readonly Uint8Array[]): void {
  if (proof.length > MAX_PROOF_HASHES) {
    throw malformed(`a proof has at most ${MAX_PROOF_HASHES} hashes, got ${proof.length}`);
  }
  const wrong = [...proof, ...others].find((hash) => hash.length !== HASH_SIZE);
  if (wrong) throw malformed(`a hash is ${HASH_SIZE} bytes, got ${wrong.length}`);
}

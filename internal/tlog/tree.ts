// The Merkle tree hash of RFC 6962 section 2.1, over SHA-256.
import { HASH_SIZE, type Hash, sha256, sha256Into } from "../core/sha256.ts";
import { malformed } from "./errors.ts";

const LEAF_PREFIX = 0x00;
const NODE_PREFIX = 0x01;

/** The longest entry of a log: an entry bundle (tlog-tiles) gives its length in two bytes. */
export const MAX_ENTRY_SIZE = 0xffff;

/** The root of a tree without entries: SHA-256 of nothing. */
export const EMPTY_ROOT: Hash = sha256(new Uint8Array(0));

// A log hashes every entry once as a leaf and once, on average, as a node. These two buffers save an allocation each
// time, since nearly every entry has the same length. Nobody else can run between their filling and their hashing, so one
// of each is enough.
let leafInput = Uint8Array.of(LEAF_PREFIX);
const nodeInput = new Uint8Array(1 + 2 * HASH_SIZE);
nodeInput[0] = NODE_PREFIX;

/** SHA-256(0x00 ‖ entry). */
export function leafHash(entry: Uint8Array): Hash {
  if (entry.length > MAX_ENTRY_SIZE) {
    throw malformed(`an entry is at most ${MAX_ENTRY_SIZE} bytes, got ${entry.length}`);
  }
  if (leafInput.length !== 1 + entry.length) {
    leafInput = new Uint8Array(1 + entry.length);
    leafInput[0] = LEAF_PREFIX;
  }
  leafInput.set(entry, 1);
  return sha256(leafInput);
}

/** SHA-256(0x01 ‖ left ‖ right). */
export function nodeHash(left: Uint8Array, right: Uint8Array): Hash {
  // A short hash would leave bytes of the call before in the buffer, and the result would depend on them.
  if (left.length !== HASH_SIZE || right.length !== HASH_SIZE) {
    throw malformed(`a node has two ${HASH_SIZE}-byte hashes, got ${left.length} and ${right.length} bytes`);
  }
  nodeInput.set(left, 1);
  nodeInput.set(right, 1 + HASH_SIZE);
  return sha256(nodeInput);
}

/**
 * Replaces consecutive hashes of one level, from `first` on, by those of the level above, and answers how many these are. A
 * last hash that has no partner is left where it is.
 */
export function hashPairs(hashes: Uint8Array, first: number, count: number): number {
  const pairs = Math.floor(count / 2);
  for (let i = 0; i < pairs; i++) {
    const from = (first + 2 * i) * HASH_SIZE;
    for (let j = 0; j < 2 * HASH_SIZE; j++) nodeInput[1 + j] = hashes[from + j] ?? 0;
    sha256Into(hashes, i * HASH_SIZE, nodeInput);
  }
  return pairs;
}

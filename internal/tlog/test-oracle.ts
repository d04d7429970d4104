// For tests only: the definitions of RFC 6962 section 2.1, word for word, against which the library is held.
import { createHash } from "node:crypto";
import type { Hash } from "../core/sha256.ts";
import type { GrowingTree } from "./growing-tree.ts";
import type { TileFetch } from "./tile-fetch.ts";

function hash(...parts: Uint8Array[]): Hash {
  const sha = createHash("sha256");
  for (const part of parts) sha.update(part);
  return new Uint8Array(sha.digest()) as Hash;
}

/** MTH, PATH and PROOF of D[n] = the first n entries, for any n. MTH is remembered, as it is asked for again and again. */
export class OracleTree {
  readonly #entries: readonly Uint8Array[];
  readonly #known = new Map<number, Hash>();

  constructor(entries: readonly Uint8Array[]) {
    this.#entries = entries;
  }

  /** MTH(D[start:end]). */
  root(end: number, start = 0): Hash {
    const key = start * 2 ** 26 + end;
    const known = this.#known.get(key);
    if (known) return known;
    const root = this.#root(start, end);
    this.#known.set(key, root);
    return root;
  }

  #root(start: number, end: number): Hash {
    const n = end - start;
    if (n === 0) return hash();
    if (n === 1) return this.leaf(start);
    const k = largestPowerOfTwoBelow(n);
    return hash(Uint8Array.of(0x01), this.root(start + k, start), this.root(end, start + k));
  }

  leaf(index: number): Hash {
    return hash(Uint8Array.of(0x00), this.#entries[index] ?? new Uint8Array());
  }

  /** PATH(m, D[n]), section 2.1.1. */
  inclusionProof(m: number, n: number): Hash[] {
    return this.#path(m, 0, n);
  }

  #path(m: number, start: number, end: number): Hash[] {
    const n = end - start;
    if (n === 1) return [];
    const k = largestPowerOfTwoBelow(n);
    return m < k
      ? [...this.#path(m, start, start + k), this.root(end, start + k)]
      : [...this.#path(m - k, start + k, end), this.root(start + k, start)];
  }

  /** PROOF(m, D[n]), section 2.1.2. */
  consistencyProof(m: number, n: number): Hash[] {
    return this.#subproof(m, 0, n, true);
  }

  #subproof(m: number, start: number, end: number, known: boolean): Hash[] {
    const n = end - start;
    if (m === n) return known ? [] : [this.root(end, start)];
    const k = largestPowerOfTwoBelow(n);
    return m <= k
      ? [...this.#subproof(m, start, start + k, known), this.root(end, start + k)]
      : [...this.#subproof(m - k, start + k, end, false), this.root(start + k, start)];
  }
}

function largestPowerOfTwoBelow(n: number): number {
  let k = 1;
  while (k * 2 < n) k *= 2;
  return k;
}

/** Entry i of the counting tree in vectors.json: i as a big-endian u64. */
export function countingEntry(index: number): Uint8Array {
  const entry = new Uint8Array(8);
  new DataView(entry.buffer).setBigUint64(0, BigInt(index));
  return entry;
}

export function countingEntries(count: number): Uint8Array[] {
  return Array.from({ length: count }, (_, index) => countingEntry(index));
}

/** What a server has. Every fetch is written down. */
export class TileStore {
  readonly objects = new Map<string, Uint8Array>();
  readonly fetched: string[] = [];

  /** Stores what a tree has to store. An object never changes. */
  store(tree: GrowingTree): void {
    for (const { path, bytes } of tree.takeTiles()) {
      const before = this.objects.get(path);
      if (before && !Buffer.from(before).equals(bytes)) throw new Error(`${path} changed`);
      this.objects.set(path, bytes);
    }
  }

  /** A class field, so that it can be passed as it is. */
  readonly fetch: TileFetch = async (path) => {
    this.fetched.push(path);
    return this.objects.get(path);
  };

  withoutPartials(): TileStore {
    const store = new TileStore();
    for (const [path, bytes] of this.objects) if (!path.includes(".p/")) store.objects.set(path, bytes);
    return store;
  }
}

/** A copy with one bit changed. */
export function flipBit<Bytes extends Uint8Array>(bytes: Bytes, bit: number): Bytes {
  const copy = new Uint8Array(bytes);
  const index = Math.floor(bit / 8) % copy.length;
  copy[index] = (copy[index] ?? 0) ^ (1 << (bit % 8));
  // The same kind of bytes: only a bit differs.
  return copy as Bytes;
}

import { randomInt } from "node:crypto";
import { ROW_SIZE, VOTER_SIZE } from "./voter-rows.ts";

const ROW_WORDS = ROW_SIZE / 4;
const VOTER_WORDS = VOTER_SIZE / 4;

/**
 * Which of the packed rows is each voter's newest: a hash table with open addressing over the rows themselves, several
 * times as fast as a Map with a string and an object a voter. It is at most half full, and salted, so that whoever writes
 * evidence cannot choose voters that collide.
 */
export class VoterTable {
  readonly #words: Uint32Array;
  /** 1 + the row; 0 for none. */
  readonly #slots: Uint32Array;
  readonly #shift: number;
  /** Odd numbers: multiplying by them is one to one. */
  readonly #salt = Uint32Array.from({ length: VOTER_WORDS }, () => randomInt(2 ** 31) * 2 + 1);

  /** `rows` is not copied, and begins at a multiple of 4 of its buffer. */
  constructor(rows: Uint8Array) {
    this.#words = new Uint32Array(rows.buffer, rows.byteOffset, rows.length / 4);
    const bits = 1 + Math.ceil(Math.log2(1 + rows.length / ROW_SIZE));
    this.#slots = new Uint32Array(2 ** bits);
    this.#shift = 32 - bits;
  }

  /** The newest row so far of the voter of a row, by its number; undefined when there is none. */
  newest(row: number): number | undefined {
    const found = this.#slots[this.#slotOf(row)] ?? 0;
    return found === 0 ? undefined : found - 1;
  }

  /** Makes a row its voter's newest. */
  set(row: number): void {
    this.#slots[this.#slotOf(row)] = 1 + row;
  }

  /** The slot that has a row of the same voter, or is free for one. */
  #slotOf(row: number): number {
    let slot = this.#hash(row) >>> this.#shift;
    for (;;) {
      const other = this.#slots[slot] ?? 0;
      if (other === 0 || this.#isSameVoter(row, other - 1)) return slot;
      slot = slot + 1 < this.#slots.length ? slot + 1 : 0;
    }
  }

  #hash(row: number): number {
    let hash = 0;
    for (let i = 0; i < VOTER_WORDS; i++) {
      hash ^= Math.imul(this.#words[row * ROW_WORDS + i] ?? 0, this.#salt[i] ?? 0);
      hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b_3c6d);
    }
    return hash;
  }

  #isSameVoter(row: number, other: number): boolean {
    for (let i = 0; i < VOTER_WORDS; i++)
      if (this.#words[row * ROW_WORDS + i] !== this.#words[other * ROW_WORDS + i]) return false;
    return true;
  }
}

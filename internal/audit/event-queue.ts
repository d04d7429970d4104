import type { SegmentEntry } from "../evidence/segment-line.ts";

/**
 * The most that wait. In a segment an event is up to 32 KiB, when every character of it is escaped: so many and 1,000
 * votes still make a segment that readers unpack (2 MiB).
 */
const MAX_EVENTS = 16;

/** Event documents that wait for the next commit, in memory alone. */
export class EventQueue {
  readonly #notes: string[] = [];

  get size(): number {
    return this.#notes.length;
  }

  /** Whether there was room. */
  add(note: string): boolean {
    if (this.#notes.length >= MAX_EVENTS) return false;
    this.#notes.push(note);
    return true;
  }

  /** Hands the oldest to `commit`, `limit` at most, and keeps them unless it succeeds. */
  async drain(limit: number, commit: (events: readonly SegmentEntry[]) => Promise<void>): Promise<void> {
    const taken = this.#notes.splice(0, Math.min(limit, MAX_EVENTS));
    try {
      await commit(taken.map((note) => ({ type: "event", note })));
    } catch (error) {
      this.#notes.unshift(...taken);
      throw error;
    }
  }
}

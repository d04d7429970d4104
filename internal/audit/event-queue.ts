import type { EventKind } from "../evidence/event.ts";
import type { SegmentEntry } from "../evidence/segment-line.ts";

/**
 * The most that wait. In a segment an event is up to 32 KiB, when every character of it is escaped: so many and 1,000
 * votes still make a segment that readers unpack (2 MiB).
 */
const MAX_EVENTS = 16;

export interface WaitingEvent {
  readonly kind: EventKind;
  /** The event document. */
  readonly note: string;
}

/** Event documents that wait for the next commit, in memory alone. */
export class EventQueue {
  #waiting: WaitingEvent[] = [];
  /** Counts how often all was forgotten. */
  #forgotten = 0;

  get size(): number {
    return this.#waiting.length;
  }

  /** Whether there was room. When there is none, the newest of its kind gives way: what is so now counts most. */
  add(event: WaitingEvent): boolean {
    if (this.#waiting.length >= MAX_EVENTS) {
      const older = this.#waiting.findLastIndex(({ kind }) => kind === event.kind);
      if (older < 0) return false;
      this.#waiting.splice(older, 1);
    }
    this.#waiting.push(event);
    return true;
  }

  /** Hands the oldest to `commit`, `limit` at most, and keeps them unless it succeeds, or all is forgotten meanwhile. */
  async drain(limit: number, commit: (events: readonly SegmentEntry[]) => Promise<void>): Promise<void> {
    const taken = this.#waiting.splice(0, Math.min(limit, MAX_EVENTS));
    const forgotten = this.#forgotten;
    try {
      await commit(taken.map(({ note }) => ({ type: "event", note })));
    } catch (error) {
      if (forgotten === this.#forgotten) this.#waiting.unshift(...taken);
      throw error;
    }
  }

  /** What waits is nobody's any more: whoever found it says it again. */
  forget(): void {
    this.#waiting = [];
    this.#forgotten++;
  }
}

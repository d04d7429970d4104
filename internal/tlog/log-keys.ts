import { malformed } from "./errors.ts";
import type { NoteVerifier } from "./note-verifier.ts";

/** From an entry on another key signs the log. */
export interface LogKeyChange {
  /** The entry's index. */
  readonly index: number;
  readonly to: NoteVerifier;
}

/**
 * The keys of one log, the first of which somebody trusts; each later one was named by the one before it. Which of them
 * must have signed a checkpoint depends on its size alone: a checkpoint that covers a change, by the new key. So the old
 * key, once it is out of its owner's hands, is good for nothing beyond the change.
 */
export class LogKeys {
  readonly first: NoteVerifier;
  /** In the order in which they came. */
  readonly changes: readonly LogKeyChange[];

  constructor(first: NoteVerifier, changes: readonly LogKeyChange[] = []) {
    this.first = first;
    this.changes = changes;
  }

  /** In the order in which they came. */
  get all(): readonly NoteVerifier[] {
    return [this.first, ...this.changes.map(({ to }) => to)];
  }

  get newest(): NoteVerifier {
    return this.changes.at(-1)?.to ?? this.first;
  }

  /** The key that must have signed a checkpoint of that size. */
  at(size: number): NoteVerifier {
    return this.changes.findLast(({ index }) => index < size)?.to ?? this.first;
  }

  has(key: NoteVerifier): boolean {
    return this.all.some((known) => known.toString() === key.toString());
  }

  /** The same, and one more change. Whether it is right, is for the caller to have verified. */
  changed(index: number, to: NoteVerifier): LogKeys {
    const last = this.changes.at(-1)?.index ?? 0;
    // Entry 0 is the manifest's.
    if (index <= last) throw malformed(`a change of key at entry ${index} does not come after ${last}`);
    return new LogKeys(this.first, [...this.changes, { index, to }]);
  }
}

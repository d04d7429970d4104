import { type ClosingEntry, decodeEntry, encodeEntry, type LogEntry } from "../ballot/entry.ts";
import { FormatError } from "../ballot/format-error.ts";
import { equalBytes } from "../core/bytes.ts";
import { invalidField, messageOf, ServiceError } from "../core/errors.ts";
import type { Hash } from "../core/sha256.ts";

/**
 * The order in which a log's entries come: first the manifest's, then votes and events, and the closing entry last.
 * Whether they are the right ones is for auditors, who can see records and event documents.
 */
export class EntryOrder {
  readonly #manifestEntry: Uint8Array;
  #closing: ClosingEntry | undefined;
  #problem: ServiceError | undefined;

  constructor(options: { readonly manifestHash: Hash }) {
    this.#manifestEntry = encodeEntry({ type: "manifest", manifestHash: options.manifestHash });
  }

  /** The closing entry, once it has come. */
  get closing(): ClosingEntry | undefined {
    return this.#closing;
  }

  /** What was wrong first, if anything was. */
  get problem(): ServiceError | undefined {
    return this.#problem;
  }

  /** Takes the next entry, which is the log's `index`-th. */
  next(index: number, entry: Uint8Array): void {
    this.#problem ??= index === 0 ? this.#firstProblem(entry) : this.#laterProblem(index, entry);
  }

  #firstProblem(entry: Uint8Array): ServiceError | undefined {
    if (equalBytes(entry, this.#manifestEntry)) return undefined;
    return invalidField("manifest", "does not hash to entry 0 of the log");
  }

  #laterProblem(index: number, bytes: Uint8Array): ServiceError | undefined {
    if (this.#closing) return badEntry(index, "it comes after the closing entry");
    let entry: LogEntry;
    try {
      entry = decodeEntry(bytes);
    } catch (error) {
      if (error instanceof FormatError) return badEntry(index, messageOf(error));
      throw error;
    }
    if (entry.type === "manifest") return badEntry(index, "it is a second manifest's");
    if (entry.type === "closing") this.#closing = entry;
    return undefined;
  }
}

function badEntry(index: number, why: string): ServiceError {
  const message = `entry ${index} does not belong into the log: ${why}`;
  return new ServiceError("data-loss", message, { reason: "BAD_ENTRY" });
}

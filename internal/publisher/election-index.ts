import { utf8 } from "../core/bytes.ts";
import type { ElectionId } from "../core/ids.ts";
import type { DurableFiles } from "./durable-files.ts";

export const ELECTION_INDEX = "index.json";

/** An election with a published checkpoint, and the verifier key that its manifest names. */
export interface IndexedElection {
  readonly election: ElectionId;
  readonly logKey: string;
}

/**
 * The elections of the public directory, in `index.json` at its root, for people and programs who start from the address
 * alone. It is made again from what the Publisher finds there at its start.
 */
export class ElectionIndex {
  readonly #files: DurableFiles;
  readonly #logKeys = new Map<ElectionId, string>();
  #last: Promise<void> = Promise.resolve();

  constructor(options: { readonly files: DurableFiles }) {
    this.#files = options.files;
  }

  /** Has the index name an election. It does when this resolves; after a failure it can be tried again. */
  async add({ election, logKey }: IndexedElection): Promise<void> {
    if (this.#logKeys.get(election) === logKey) return;
    this.#logKeys.set(election, logKey);
    try {
      await this.write();
    } catch (error) {
      this.#logKeys.delete(election);
      throw error;
    }
  }

  /** Writes what is known, one time after another: several elections may come at once. */
  write(): Promise<void> {
    const written = this.#last.then(() =>
      this.#files.replace({ path: ELECTION_INDEX, bytes: this.#encode() }),
    );
    this.#last = written.catch(() => {});
    return written;
  }

  #encode(): Uint8Array {
    const elections = [...this.#logKeys]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([election, logKey]) => ({ election_id: election, log_key: logKey }));
    return utf8(`${JSON.stringify({ elections }, null, 2)}\n`);
  }
}

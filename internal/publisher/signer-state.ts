import { utf8 } from "../core/bytes.ts";
import { type ElectionId, isElectionId } from "../core/ids.ts";
import type { DurableFiles } from "./durable-files.ts";

const SUFFIX = ".checkpoint";

/**
 * The signer's memory: for each election the last note it signed, in `<election>.checkpoint`. It is all that stands
 * between the key and a second history. Restoring it from a backup rolls the signer back, so `LogPublisher` refuses a
 * state that is behind what it published.
 */
export class SignerState {
  readonly #files: DurableFiles;

  constructor(options: { readonly files: DurableFiles }) {
    this.#files = options.files;
  }

  /** The elections that something was signed for. */
  async elections(): Promise<ElectionId[]> {
    const names = await this.#files.list();
    return names
      .filter((name) => name.endsWith(SUFFIX))
      .map((name) => name.slice(0, -SUFFIX.length))
      .filter(isElectionId);
  }

  load(election: ElectionId): Promise<Uint8Array | undefined> {
    return this.#files.read(election + SUFFIX);
  }

  /** When it resolves, the note survives a power cut. When it rejects, it may or may not be what `load` returns. */
  save(election: ElectionId, note: string): Promise<void> {
    return this.#files.replace({ path: election + SUFFIX, bytes: utf8(note) });
  }
}

import { logOrigin, type Manifest } from "../ballot/manifest.ts";
import { readSecretFile } from "../config/secret-file.ts";
import { eventKeyName, type LogEvent, signEvent } from "../evidence/event.ts";
import { NoteSigner } from "../tlog/note.ts";

/** AuditService's own Ed25519 key. It signs what this service says it saw; a log is signed by the Publisher alone. */
export class EventKey {
  readonly #seed: Uint8Array;

  /** `seed`: what RFC 8032 calls the private key, 32 bytes. */
  constructor(seed: Uint8Array) {
    this.#seed = new Uint8Array(seed);
  }

  /** Reads the seed's file. */
  static async load(path: string): Promise<EventKey> {
    return new EventKey(await readSecretFile(path));
  }

  /** By what an election's events are verified. It is one key for all elections of a deployment. */
  verifierKey(manifest: Manifest): string {
    return this.#signer(manifest).verifierKey;
  }

  /** The event document. Throws a FormatError when there is none of this event. */
  sign(manifest: Manifest, event: Omit<LogEvent, "electionId">): string {
    return signEvent({ ...event, electionId: manifest.electionId }, this.#signer(manifest));
  }

  #signer(manifest: Manifest): NoteSigner {
    return NoteSigner.fromSeed(eventKeyName(logOrigin(manifest)), this.#seed);
  }
}

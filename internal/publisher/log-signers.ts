import { ServiceError } from "../core/errors.ts";
import type { ElectionId } from "../core/ids.ts";
import { signKeyChange } from "../evidence/key-change.ts";
import type { LogKeys } from "../tlog/log-keys.ts";
import type { NoteSigner } from "../tlog/note.ts";
import { NoteVerifier } from "../tlog/note-verifier.ts";
import type { SigningKey } from "./signing-key.ts";

/** The keys that a deployment holds. */
export interface DeploymentKeys {
  /** What logs are signed with. */
  readonly key: SigningKey;
  /** What is to follow it, while logs change from the one to the other. */
  readonly nextKey?: SigningKey | undefined;
}

export interface Signing {
  /** Those that sign the log's checkpoints, the log's own first. */
  readonly signers: readonly NoteSigner[];
  /** The document that the log is to have, for the next key to become its own. */
  readonly change: string | undefined;
}

const RETRY_MS = 5_000;

/**
 * Who signs one election's log, which may be under the key, on its way from it to the next one, or there. Both sign from
 * the moment there are two, before the change is in the log, and as long as the operator leaves them: so at any time the
 * newest checkpoint is good for whoever knows the change, and for whoever has not heard of it.
 */
export class LogSigners {
  readonly #election: ElectionId;
  readonly #key: NoteSigner;
  readonly #next: NoteSigner | undefined;
  #change: string | undefined;

  constructor(options: DeploymentKeys & { readonly logPrefix: string; readonly election: ElectionId }) {
    const { key, nextKey, logPrefix, election } = options;
    this.#election = election;
    this.#key = key.signerFor(logPrefix, election);
    this.#next = nextKey?.signerFor(logPrefix, election);
  }

  /** What the manifest of a log that is yet to begin should name: the key that will last longest. */
  get newest(): NoteSigner {
    return this.#next ?? this.#key;
  }

  /** The signer that a manifest names; undefined when that is another's. */
  named(verifierKey: string): NoteSigner | undefined {
    return [this.#key, this.#next].find((signer) => signer?.verifierKey === verifierKey);
  }

  /** Whether the log's key is here. */
  has(keys: LogKeys): boolean {
    return this.named(keys.newest.toString()) !== undefined;
  }

  /** Throws an UNAVAILABLE when it is not. */
  of(keys: LogKeys): Signing {
    const [key, next] = [this.#key, this.#next];
    const own = this.named(keys.newest.toString());
    if (!own) {
      const message = `the log's key, ${keys.newest.label}, is not among the publisher's`;
      // Not for good: an operator who gave the wrong file, or took the old one away too early, can put it back.
      throw new ServiceError("unavailable", message, { reason: "KEY_MISSING", retryDelayMs: RETRY_MS });
    }
    if (!next) return { signers: [key], change: undefined };
    // A log that began with the next key has no use for the other.
    if (own === next) return { signers: keys.has(verifierOf(key)) ? [next, key] : [next], change: undefined };
    // No log takes a key that it has had before.
    if (keys.has(verifierOf(next))) return { signers: [key], change: undefined };
    this.#change ??= signKeyChange(this.#election, key, next);
    return { signers: [key, next], change: this.#change };
  }
}

function verifierOf({ verifierKey }: NoteSigner): NoteVerifier {
  return NoteVerifier.parse(verifierKey);
}

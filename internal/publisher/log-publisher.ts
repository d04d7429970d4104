import { parseManifest } from "../ballot/manifest.ts";
import { equalBytes, toHex } from "../core/bytes.ts";
import { invalidField, ServiceError } from "../core/errors.ts";
import type { ElectionId, TreeSize } from "../core/ids.ts";
import { type Hash, sha256 } from "../core/sha256.ts";
import type { Logger } from "../telemetry/logger.ts";
import { LogKeys } from "../tlog/log-keys.ts";
import { NoteVerifier } from "../tlog/note-verifier.ts";
import { FileConflictError } from "./durable-files.ts";
import { extendLog, type TileSource } from "./extend-log.ts";
import { publishKeyChange } from "./key-change.ts";
import { endsBlock, type LogFront } from "./log-front.ts";
import type { LogSigners } from "./log-signers.ts";
import type { PublisherMetrics } from "./metrics.ts";
import { numberedCheckpoint, type PublicLog } from "./public-log.ts";
import { BLOCK_SIZE, blockNumber, openSignedHead, type SignedHead, signHead } from "./signed-head.ts";
import { loadSignedLog, type SignedLog } from "./signed-log.ts";
import type { SignerState } from "./signer-state.ts";
import { StateError } from "./state-error.ts";
import { Turns } from "./turns.ts";

/** A head that AuditService has committed and wants signed. */
export interface OfferedHead {
  /** At least 1: every log begins with its manifest's entry. */
  readonly size: TreeSize;
  readonly root: Hash;
  readonly manifest: Uint8Array;
  readonly endsBlock: boolean;
}

export interface LogPublisherOptions {
  readonly election: ElectionId;
  readonly signers: LogSigners;
  readonly source: TileSource;
  readonly state: SignerState;
  readonly publicLog: PublicLog;
  readonly front: LogFront;
  readonly logger: Logger;
  readonly metrics: PublisherMetrics;
}

/** AuditService offers a head at a time. More than this many waiting is somebody's mistake. */
const MAX_WAITING = 8;
const RETRY_MS = 1000;

/** Signs and publishes one election's log. It trusts only what it has signed before. */
export class LogPublisher {
  readonly #options: LogPublisherOptions;
  readonly #logger: Logger;
  readonly #turns = new Turns({ limit: MAX_WAITING, what: "heads of this election" });
  /** What the disk says. Undefined while it has to be read, at the start and after any failure that could have changed it. */
  #log: SignedLog | undefined;
  /** The log's keys, as they were when the disk was last read or written. */
  #keys: LogKeys | undefined;

  constructor(options: LogPublisherOptions) {
    this.#options = options;
    this.#logger = options.logger.child({ election: options.election });
  }

  /** Answers the note of a head, which is signed and public then, or with its witnesses. Any failure leaves what was signed before as it was. */
  submit(offered: OfferedHead): Promise<string> {
    return this.#turns.run(async () => {
      const started = performance.now();
      try {
        return await this.#submit(offered);
      } catch (error) {
        throw this.#refusal(error, { size: offered.size, root: toHex(offered.root) });
      } finally {
        this.#options.metrics.submitSeconds.observe((performance.now() - started) / 1000);
      }
    });
  }

  /** Reads back the state, and finishes what a crash may have interrupted, without waiting for the next head. */
  load(): Promise<void> {
    return this.#turns.run(async () => {
      try {
        await this.#load();
      } catch (error) {
        throw this.#refusal(error, {});
      }
    });
  }

  /** The published heads. */
  get shown(): PublicLog["shown"] {
    return this.#options.publicLog.shown;
  }

  /** The log's key; undefined before its first head. */
  get key(): NoteVerifier | undefined {
    return this.#keys?.newest;
  }

  /** The document that the log is to have next, for its key to change. */
  get keyChange(): string | undefined {
    const { signers } = this.#options;
    const keys = this.#keys;
    return keys && !this.#log?.closing && signers.has(keys) ? signers.of(keys).change : undefined;
  }

  /** Resolves when no head is being worked on. */
  idle(): Promise<void> {
    return this.#turns.idle();
  }

  async #submit(offered: OfferedHead): Promise<string> {
    const { election, signers, source, state, publicLog, front, metrics } = this.#options;
    const log = await this.#load();
    const { manifestHash, keys } = this.#checkManifest(offered.manifest, log);

    if (log.head && offered.size <= log.head.size) return this.#signedBefore(offered, log.head);

    const { size } = offered;
    const { tree, closing, problem } = await extendLog({ election, log, size, manifestHash, source });
    if (!equalBytes(tree.root(), offered.root)) throw forkedHead();
    if (problem) throw problem;
    if (offered.endsBlock !== endsBlock(size, closing !== undefined)) {
      throw invalidField("ends_block", "must be set at a multiple of 10,000 and for the closed log, only");
    }

    const signing = signers.of(keys);

    // Up to here nothing has changed anywhere. From here to the end the disk may be ahead of this object, so after a
    // failure, or a crash, whoever is next reads it again.
    this.#log = undefined;

    // First the tiles, so that whoever sees the checkpoint can fetch them. A crash meanwhile leaves some of them without
    // a checkpoint, which nobody looks for; the same head finds them there, and another one that contradicts them is
    // refused, since its author had committed to these.
    await publicLog.add(tree.takeTiles(), offered.manifest);

    const head = signHead(signing.signers, offered);
    // The commit point. Until it resolves, nobody but this function has the note. A crash meanwhile leaves the old state
    // or the new one, and the restart goes on from that: if it is the old, no one has ever seen a root for this size.
    await state.save(election, head.note);

    // A crash here, or a failure, leaves a head that is signed and not shown. `loadSignedLog` shows it.
    const { change } = signing;
    const newKeys = await publishKeyChange({ publicLog, keys, change, from: log.head?.size ?? 0, head });
    await front.show({ head, manifest: offered.manifest, keys: newKeys, closing });

    this.#log = { head, tree, manifestHash, keys: newKeys, closing };
    this.#keys = newKeys;
    if (newKeys !== keys) this.#logger.info({ key: newKeys.newest.label }, "the log has another key");
    metrics.headsSigned.inc();
    metrics.entriesSigned.inc(head.size - (log.head?.size ?? 0));
    this.#logger.debug({ size: head.size }, "signed and published a head");
    return head.note;
  }

  async #load(): Promise<SignedLog> {
    this.#log ??= await loadSignedLog(this.#options);
    this.#keys = this.#log.keys;
    return this.#log;
  }

  /** The manifest must be the one that the log began with or, before that, one that names a key of ours. */
  #checkManifest(bytes: Uint8Array, log: SignedLog): { manifestHash: Hash; keys: LogKeys } {
    const manifestHash = sha256(bytes);
    if (log.manifestHash && log.keys) {
      if (equalBytes(manifestHash, log.manifestHash)) return { manifestHash, keys: log.keys };
      throw invalidField("manifest", "is not the one that the log began with");
    }
    const { election, signers } = this.#options;
    const manifest = parseManifest(bytes);
    if (manifest.electionId !== election) throw invalidField("manifest.election_id", "is another election's");
    // The manifest tells the public which key to believe. It is entry 0, so it could never be put right.
    const signer = signers.named(manifest.logKey);
    if (!signer) {
      throw invalidField("manifest.log_key", `is not this log's key, ${signers.newest.verifierKey}`);
    }
    return { manifestHash, keys: new LogKeys(NoteVerifier.parse(signer.verifierKey)) };
  }

  /** The note of a size that has been signed, or passed over. */
  async #signedBefore(offered: OfferedHead, newest: SignedHead): Promise<string> {
    const head = offered.size === newest.size ? newest : await this.#numberedHead(offered.size);
    if (!head) {
      const message = `the log is signed up to size ${newest.size}, and ${offered.size} does not end a block`;
      throw new ServiceError("failed-precondition", message, { reason: "HEAD_TOO_OLD" });
    }
    if (!equalBytes(head.root, offered.root)) throw forkedHead();
    return head.note;
  }

  /** The signed head at the end of a block before the newest head. */
  async #numberedHead(size: TreeSize): Promise<SignedHead | undefined> {
    if (size % BLOCK_SIZE !== 0) return undefined;
    const path = numberedCheckpoint(blockNumber(size));
    const note = await this.#options.publicLog.read(path);
    // No boundary is passed over, and `loadSignedLog` makes up for one that a crash came before.
    if (note === undefined) throw new StateError(`our ${path} is missing`);
    const { keys } = await this.#load();
    if (!keys) throw new StateError(`our ${path} is of a log that has not begun`);
    const head = openSignedHead(path, note, keys);
    if (head.size !== size) throw new StateError(`our ${path} is of size ${head.size}`);
    return head;
  }

  /** What the caller is told, after those who run this were told all of it. */
  #refusal(error: unknown, head: { readonly size?: number; readonly root?: string }): ServiceError {
    const refusal = refusalOf(error);
    this.#options.metrics.headsRefused.inc({ reason: refusal.reason ?? "UNKNOWN" });
    const fields = { error, ...head, signed_size: this.#log?.head?.size };
    // Data loss pages a human: either what we signed has changed, or somebody wants a second history.
    if (refusal.kind === "data-loss") this.#logger.fatal(fields, `refused to sign: ${refusal.message}`);
    else this.#logger.warn(fields, `did not sign: ${refusal.message}`);
    return refusal;
  }
}

function forkedHead(cause?: unknown): ServiceError {
  const message = "the head does not extend the signed log";
  return new ServiceError("data-loss", message, { reason: "FORKED_HEAD", cause });
}

function refusalOf(error: unknown): ServiceError {
  if (error instanceof ServiceError) return error;
  // Tiles that were published for a head just before a crash belong to another history than this one.
  if (error instanceof FileConflictError) return forkedHead(error);
  if (error instanceof StateError) {
    const message = "the publisher's own files contradict each other";
    return new ServiceError("data-loss", message, { reason: "STATE_MISMATCH", cause: error });
  }
  // The disk, most likely. The same head again is always right.
  const message = "the publisher could not read or write its files";
  const options = { reason: "STORAGE", retryDelayMs: RETRY_MS, cause: error };
  return new ServiceError("unavailable", message, options);
}

import { equalBytes } from "../core/bytes.ts";
import type { Clock } from "../core/clock.ts";
import { type TreeSize, treeSize } from "../core/ids.ts";
import type { Logger } from "../telemetry/logger.ts";
import { type AddCheckpoint, parseAddCheckpoint } from "../tlog/add-checkpoint.ts";
import { type Checkpoint, parseCheckpoint } from "../tlog/checkpoint.ts";
import type { CosignatureSigner } from "../tlog/cosignature.ts";
import { TlogError } from "../tlog/errors.ts";
import { openNote, parseNote, withSignaturesOf } from "../tlog/note.ts";
import type { NoteVerifier } from "../tlog/note-verifier.ts";
import { verifyConsistency } from "../tlog/proof.ts";
import { EMPTY_ROOT } from "../tlog/tree.ts";
import type { Cosigned, WitnessState } from "./witness-state.ts";

export interface WitnessOptions {
  readonly signer: CosignatureSigner;
  /** The keys of the logs that it witnesses. One log may have several keys, all under its origin. */
  readonly logs: readonly NoteVerifier[];
  readonly state: WitnessState;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** What a request is answered with: an HTTP status, and either the cosignature, or why there is none. */
export type WitnessReply =
  | { readonly status: 200; readonly lines: string }
  /** The size that it cosigned last, which is not the request's old size. */
  | { readonly status: 409; readonly size: TreeSize }
  | { readonly status: 400 | 403 | 404 | 422 | 503; readonly problem: string };

/**
 * Requests of one log that wait for the one before. A log sends one at a time; the others are of strangers who repeat its
 * checkpoints, and take milliseconds. So many that the log's own rather waits behind them than is turned away.
 */
const MAX_WAITING = 256;

/** One log, and whoever waits to extend it. */
interface WitnessedLog {
  readonly keys: NoteVerifier[];
  waiting: number;
  last: Promise<unknown>;
}

/** Cosigns what extends what it cosigned before (c2sp.org/tlog-witness). */
export class Witness {
  readonly #options: WitnessOptions;
  readonly #logs = new Map<string, WitnessedLog>();

  constructor(options: WitnessOptions) {
    this.#options = options;
    for (const key of options.logs) {
      const log = this.#logs.get(key.name);
      if (log) log.keys.push(key);
      else this.#logs.set(key.name, { keys: [key], waiting: 0, last: Promise.resolve() });
    }
  }

  get verifierKey(): string {
    return this.#options.signer.verifierKey;
  }

  /** The logs that it witnesses, each with the newest checkpoint that it cosigned. */
  async cosigned(): Promise<{ origin: string; cosigned: Cosigned | undefined }[]> {
    const origins = [...this.#logs.keys()].sort();
    return Promise.all(
      origins.map(async (origin) => ({ origin, cosigned: await this.#options.state.load(origin) })),
    );
  }

  /** Answers an add-checkpoint request's body. Throws what the disk throws. */
  async addCheckpoint(body: Uint8Array): Promise<WitnessReply> {
    let request: AddCheckpoint;
    let checkpoint: Checkpoint;
    try {
      request = parseAddCheckpoint(body);
      checkpoint = parseCheckpoint(parseNote(request.note).text);
    } catch (error) {
      return refusal(400, error);
    }
    const log = this.#logs.get(checkpoint.origin);
    if (!log) return { status: 404, problem: "this log is not witnessed here" };
    try {
      openNote(request.note, log.keys);
    } catch (error) {
      return refusal(403, error);
    }
    if (request.oldSize > checkpoint.size) {
      return { status: 400, problem: "the old size is larger than the checkpoint's" };
    }
    if (log.waiting === MAX_WAITING) return { status: 503, problem: "too many requests of this log" };

    // One at a time: between the look at what was cosigned last and the write of what is cosigned now nobody else may come,
    // or two requests could each extend the same tree, and the smaller one roll the larger back.
    log.waiting++;
    const reply = log.last.then(() => this.#extend(request, checkpoint, log));
    log.last = reply.catch(() => {}).finally(() => log.waiting--);
    return reply;
  }

  async #extend(
    { oldSize, proof, note }: AddCheckpoint,
    checkpoint: Checkpoint,
    log: WitnessedLog,
  ): Promise<WitnessReply> {
    const { signer, state, clock, logger } = this.#options;
    const { origin, size, root } = checkpoint;
    const known = await state.load(origin);
    const knownSize = known?.size ?? treeSize(0);
    if (known && size === knownSize && !equalBytes(root, known.root)) {
      // Both are signed by the log: whoever has the two has the proof that it forked.
      const kept = await state.keepConflict(known, note);
      logger.fatal({ origin, size, kept }, "the log signed two trees of one size");
    }
    if (oldSize !== knownSize) return { status: 409, size: knownSize };
    try {
      const oldRoot = known?.root ?? EMPTY_ROOT;
      verifyConsistency({ oldSize, oldRoot, newSize: size, newRoot: root, proof });
    } catch (error) {
      // No more than a warning: anybody can send the log's own checkpoint with another proof.
      logger.warn(
        { error, origin, old_size: oldSize, size },
        "refused a checkpoint that was not proved to extend the last",
      );
      return refusal(422, error);
    }

    const line = signer.cosign(parseNote(note).text, Math.floor(clock.nowMicros() / 1_000_000));
    // The same checkpoint again leaves nothing to remember. Anybody can send it, and must not have the disk flushed for it,
    // while the log's own next step waits.
    if (known && size === knownSize) return { status: 200, lines: line };
    // Before the answer: a crash after it, with the old size on the disk, would let the log go another way from there. A
    // crash before it leaves a cosignature that nobody has seen, and the log is told the new size when it asks again.
    await state.save(origin, withSignaturesOf(note, log.keys) + line);
    logger.info({ origin, size }, "cosigned a checkpoint");
    return { status: 200, lines: line };
  }
}

function refusal(status: 400 | 403 | 422, error: unknown): WitnessReply {
  if (!(error instanceof TlogError)) throw error;
  return { status, problem: error.message };
}

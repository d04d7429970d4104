import type { ClosingEntry } from "../ballot/entry.ts";
import { logOrigin, parseManifest } from "../ballot/manifest.ts";
import type { Clock } from "../core/clock.ts";
import { messageOf } from "../core/errors.ts";
import type { ElectionId } from "../core/ids.ts";
import { sha256 } from "../core/sha256.ts";
import type { Logger } from "../telemetry/logger.ts";
import type { LogKeys } from "../tlog/log-keys.ts";
import { parseNote } from "../tlog/note.ts";
import { keyLabel } from "../tlog/note-verifier.ts";
import { CLOSING, encodeClosingReport } from "./closing-report.ts";
import type { CosignedCheckpoint } from "./cosigned-checkpoint.ts";
import type { ElectionIndex } from "./election-index.ts";
import { HISTORY, History } from "./history.ts";
import { encodeLogDescription, LOG_DESCRIPTION, type LogStatements } from "./log-description.ts";
import type { PublicLog } from "./public-log.ts";
import { BLOCK_SIZE, type SignedHead } from "./signed-head.ts";

export interface ShownHead {
  readonly head: SignedHead;
  readonly manifest: Uint8Array;
  readonly keys: LogKeys;
  readonly closing: ClosingEntry | undefined;
}

export interface LogFrontOptions {
  readonly election: ElectionId;
  readonly publicLog: PublicLog;
  /** Where the log has witnesses: shows its checkpoint with what they answer. */
  readonly cosigned?: CosignedCheckpoint | undefined;
  readonly index: ElectionIndex;
  readonly statements: LogStatements;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Whether a log of that size, closed or not, ends a numbered block. */
export function endsBlock(size: number, closed: boolean): boolean {
  return closed || size % BLOCK_SIZE === 0;
}

/** Those of the log's keys that signed a head. */
function keysOf({ note }: SignedHead, keys: LogKeys): string[] {
  const signed = new Set(parseNote(note).signatures.map(({ name, keyId }) => keyLabel(name, keyId)));
  return keys.all.filter(({ label }) => signed.has(label)).map(String);
}

/** What the public sees of a log beside its tiles: the newest head, and the files that tell of it. */
export class LogFront {
  readonly #options: LogFrontOptions;
  /** Undefined until it has been read. */
  #history: History | undefined;

  constructor(options: LogFrontOptions) {
    this.#options = options;
  }

  /**
   * Shows a signed head, last of all the checkpoint, so that whoever sees that finds what it refers to. Where there are
   * witnesses, the checkpoint is on its way to them when it resolves. All of it can be done again: what there is already
   * stays as it is.
   */
  async show({ head, manifest, keys, closing }: ShownHead): Promise<void> {
    const { election, publicLog, cosigned, index, statements } = this.#options;
    const manifestHash = sha256(manifest);
    const parsed = parseManifest(manifest);
    const { logKey } = parsed;
    const description = encodeLogDescription({
      ...statements,
      election,
      origin: logOrigin(parsed),
      manifestHash,
      firstKey: logKey,
      keys: keysOf(head, keys),
    });
    await publicLog.put(LOG_DESCRIPTION, description);
    if (closing) {
      await publicLog.put(CLOSING, encodeClosingReport({ election, manifestHash, head, closing }));
    }
    if (endsBlock(head.size, closing !== undefined)) await publicLog.addNumbered(head);
    if (cosigned) cosigned.offer(head);
    else await publicLog.show(head);
    await index.add({ election, logKey });
    await this.#note(head.size, closing !== undefined);
  }

  /** Nothing depends on the history, so that it stops nothing. */
  async #note(size: number, last: boolean): Promise<void> {
    const { publicLog, clock, logger } = this.#options;
    try {
      this.#history ??= await this.#readHistory();
      const now = Math.floor(clock.nowMicros() / 1e6);
      if (this.#history.add(now, size, { last })) await publicLog.put(HISTORY, this.#history.encode());
    } catch (error) {
      logger.warn({ reason: messageOf(error) }, "the log's history could not be written");
    }
  }

  async #readHistory(): Promise<History> {
    const bytes = await this.#options.publicLog.read(HISTORY);
    if (bytes === undefined) return History.empty();
    try {
      return History.parse(bytes);
    } catch (error) {
      this.#options.logger.warn(
        { reason: messageOf(error) },
        "the log's history cannot be read and begins anew",
      );
      return History.empty();
    }
  }
}

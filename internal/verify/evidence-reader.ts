import { toHex } from "../core/bytes.ts";
import { sha256 } from "../core/sha256.ts";
import {
  ObjectArchivedError,
  ObjectCorruptError,
  type ObjectInfo,
  type ObjectStore,
  type RetentionMode,
} from "../worm/object-store.ts";
import type { VerificationReport } from "./report.ts";

/** An object as another one names it: a segment in a vote checkpoint, a vote in a segment. */
export interface NamedObject {
  readonly key: string;
  readonly versionId: string;
  /** Lower-case hex. */
  readonly sha256: string;
  /** Its size, where it is named. */
  readonly bytes?: number;
  /** Until when it is to be locked, where that is named. */
  readonly retainUntil?: Date | null;
}

/** How the objects of an election are to be locked, and whom to ask. */
export interface ExpectedLock {
  /** COMPLIANCE will do for GOVERNANCE, not the other way round. */
  readonly mode: RetentionMode;
  readonly stat: ObjectStore["stat"];
  /** Milliseconds since 1970. */
  readonly now: number;
}

export interface EvidenceReaderOptions {
  readonly store: Pick<ObjectStore, "get">;
  /** Without it, nobody is asked for retention: a directory has none, and readers may not care. */
  readonly lock?: ExpectedLock | undefined;
}

/**
 * Reads the objects of an evidence store, and compares what is to be known of each before it is read. An object in a
 * cold tier is listed in the report, and reading it rejects with an ObjectArchivedError.
 */
export class EvidenceReader {
  readonly #store: Pick<ObjectStore, "get">;
  readonly #lock: ExpectedLock | undefined;

  constructor({ store, lock }: EvidenceReaderOptions) {
    this.#store = store;
    this.#lock = lock;
  }

  /** An object that nothing names. `lockedUntil` is the least that its retention can be. */
  async read(key: string, report: VerificationReport, lockedUntil?: Date): Promise<Uint8Array | undefined> {
    await this.#inspect(report, { key, lockedUntil });
    const body = await this.#get(report, key);
    report.checked.bytes += body?.length ?? 0;
    return body;
  }

  /**
   * The bytes that an object names, or else those that are there now: they show what was changed. Whichever of the two is
   * at fault is reported. Undefined when there is nothing.
   */
  async readNamed(
    named: NamedObject,
    by: string,
    report: VerificationReport,
  ): Promise<Uint8Array | undefined> {
    const { key, versionId } = named;
    await this.#inspect(report, { key, versionId, lockedUntil: named.retainUntil ?? undefined });
    let body: Uint8Array | undefined;
    try {
      body = await this.#get(report, key, versionId);
    } catch (error) {
      if (!(error instanceof ObjectCorruptError)) throw error;
    }
    const versioned = body !== undefined;
    body ??= await this.#get(report, key);
    if (!body) return undefined;
    report.checked.bytes += body.length;
    const asNamed =
      toHex(sha256(body)) === named.sha256 && (named.bytes === undefined || body.length === named.bytes);
    if (versioned && !asNamed) {
      report.problem(
        { object: by },
        `names another hash or length of ${key} than the version that it names has`,
      );
    } else if (!versioned && asNamed) {
      report.problem({ object: by }, `names a version of ${key} that the store does not have`);
    } else if (!versioned) {
      report.problem({ object: key }, `has other bytes than ${by} names`);
    }
    return body;
  }

  async #get(report: VerificationReport, key: string, versionId?: string): Promise<Uint8Array | undefined> {
    try {
      return await this.#store.get(key, versionId);
    } catch (error) {
      if (error instanceof ObjectArchivedError) report.archive({ key, versionId, access: "archived" });
      throw error;
    }
  }

  /** Compares the lock. That the object is not there, reading it tells. */
  async #inspect(report: VerificationReport, { key, versionId, lockedUntil }: Inspection): Promise<void> {
    if (!this.#lock) return;
    let info: ObjectInfo | undefined;
    try {
      info = await this.#lock.stat(key, versionId);
    } catch (error) {
      if (error instanceof ObjectCorruptError) return;
      throw error;
    }
    if (!info) return;
    report.checked.locks++;
    const problem = lockProblem(info, this.#lock, lockedUntil);
    if (problem) report.problem({ object: key }, problem);
    if (info.access === "available") return;
    report.archive({ key, versionId: info.versionId, access: info.access });
    throw new ObjectArchivedError(key);
  }
}

interface Inspection {
  readonly key: string;
  readonly versionId?: string | undefined;
  readonly lockedUntil: Date | undefined;
}

/**
 * A retention that was recorded may be over by now, and must not have been shorter. Where none is recorded, one that is
 * over says nothing of what it was.
 */
function lockProblem(
  { retention }: ObjectInfo,
  { mode, now }: ExpectedLock,
  lockedUntil: Date | undefined,
): string | undefined {
  if (!retention) return "is not locked: it has no retention, and can be deleted";
  const until = retention.until.toISOString();
  if (mode === "COMPLIANCE" && retention.mode !== mode) {
    return `is locked in mode ${retention.mode} where ${mode} is expected: who may bypass it can delete it`;
  }
  if (lockedUntil && retention.until < lockedUntil) {
    return `is locked until ${until} alone, and was to be until ${lockedUntil.toISOString()}`;
  }
  if (!lockedUntil && retention.until.getTime() < now)
    return `was locked until ${until}, and is not any more`;
  return undefined;
}

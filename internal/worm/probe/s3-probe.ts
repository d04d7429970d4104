import { randomBytes } from "node:crypto";
import type { S3Client } from "@aws-sdk/client-s3";
import { type Clock, systemClock } from "../../core/clock.ts";
import { messageOf } from "../../core/errors.ts";
import { ObjectStoreError, type RetentionMode, type StoreFailure } from "../object-store.ts";
import { createS3Client, type S3ClientOptions } from "../s3-client.ts";
import { type Retention, resolveRetention } from "../s3-lock.ts";
import { ATTEMPTS } from "./attempts.ts";
import { Bench } from "./bench.ts";
import { type Actor, CHECK_NAMES, type CheckName, checkOf, severityOf } from "./checks.ts";
import type { Judgement } from "./judge.ts";
import { outcomeOf, type ProbeReport, type ProbeResult } from "./report.ts";
import { ServerClock } from "./server-clock.ts";

/**
 * Where the probe's objects are, below the evidence's prefix. No election's id has an underscore. They stay when their
 * locks are over, until a lifecycle rule of the bucket expires them (bucket-setup.ts).
 */
export const SCRATCH_FOLDER = "_psephos-probe";

export const DEFAULT_LOCK_SECONDS = 60;

/** What is not of one request alone. */
const GONE: readonly StoreFailure[] = ["unreachable", "credentials"];

const TIMEOUTS = { connectMs: 3_000, answerMs: 10_000 };

export interface S3ProbeOptions extends S3ClientOptions {
  readonly bucket: string;
  readonly prefix?: string | undefined;
  /** Of evidence: more depends on GOVERNANCE where that is all there is. */
  readonly retention?: Partial<Retention> | undefined;
  /** To try with as well. They may do more than those that evidence is written with, and locks have to hold all the same. */
  readonly admin?: S3ClientOptions["credentials"];
  /** How long the locks of the probe's objects last. All of a check has to happen within it. */
  readonly lockSeconds?: number | undefined;
  readonly clock?: Clock | undefined;
}

export interface ProbeRunOptions {
  /** Also what leaves something lasting behind, or touches the bucket's settings. */
  readonly lasting: boolean;
  readonly signal?: AbortSignal | undefined;
  readonly onResult?: ((result: ProbeResult) => void) | undefined;
}

/** Attacks a bucket, on scratch objects of its own, and tells what held. */
export class S3Probe implements AsyncDisposable {
  readonly #writer: Bench;
  readonly #admin: Bench | undefined;
  readonly #clients: S3Client[] = [];
  readonly #folder: string;
  readonly #store: string;
  readonly #mode: RetentionMode;
  readonly #lockSeconds: number;
  readonly #clock: Clock;

  constructor(options: S3ProbeOptions) {
    const { bucket, prefix = "", retention, admin, lockSeconds = DEFAULT_LOCK_SECONDS } = options;
    const place = prefix === "" || prefix.endsWith("/") ? prefix : `${prefix}/`;
    this.#folder = `${place}${SCRATCH_FOLDER}`;
    this.#store = `s3://${bucket}${prefix === "" ? "" : `/${prefix}`}`;
    this.#mode = resolveRetention(retention).mode;
    this.#lockSeconds = lockSeconds;
    this.#clock = options.clock ?? systemClock;
    const clock = new ServerClock(this.#clock);
    const bench = (credentials: S3ClientOptions["credentials"]) => {
      const client = createS3Client({ ...options, credentials, timeouts: options.timeouts ?? TIMEOUTS });
      clock.follow(client);
      this.#clients.push(client);
      return new Bench({ client, bucket, lockMs: lockSeconds * 1000, clock });
    };
    this.#writer = bench(options.credentials);
    this.#admin = admin && bench(admin);
  }

  /**
   * Makes the checks one after another: some of what they touch is the whole bucket's. That one of them could not be made
   * is a result. Where the store is gone there is nothing more to try: then the run ends, with what critical was found.
   *
   * @throws ObjectStoreError  the store does not answer, or does not know the credentials, and nothing critical was found
   * @throws ObjectLockError   there is no such bucket
   */
  async run({ lasting, signal, onResult }: ProbeRunOptions): Promise<ProbeReport> {
    const startedAt = new Date(this.#clock.nowMicros() / 1000);
    for (const bench of [this.#writer, ...(this.#admin ? [this.#admin] : [])]) await bench.knock();
    const folder = `${this.#folder}/${folderName(startedAt)}`;
    const report = { store: this.#store, startedAt, retentionSeconds: this.#lockSeconds };
    const results: ProbeResult[] = [];
    for (const check of CHECK_NAMES.filter((name) => lasting || !checkOf(name).lasting)) {
      for (const as of this.#actors(check)) {
        signal?.throwIfAborted();
        const { error, ...judgement } = await this.#attempt(check, as, `${folder}/${check}-${as}`);
        const result = { check, as, severity: severityOf(check, as, this.#mode), ...judgement };
        results.push(result);
        onResult?.(result);
        if (error === undefined || !GONE.includes(error.failure)) continue;
        if (outcomeOf({ ...report, results }) === "critical") return { ...report, results };
        throw error;
      }
    }
    return { ...report, results };
  }

  /**
   * For who need not see it broken: without Object Lock nothing can hold.
   *
   * @throws ObjectLockError  the bucket has no Object Lock
   */
  requireLock(): Promise<void> {
    return this.#writer.requireLock();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) client.destroy();
  }

  #actors(check: CheckName): Actor[] {
    return this.#admin && checkOf(check).asAdmin !== undefined ? ["writer", "admin"] : ["writer"];
  }

  async #attempt(
    check: CheckName,
    as: Actor,
    name: string,
  ): Promise<Judgement & { error?: ObjectStoreError }> {
    const writer = this.#writer;
    const strongest = this.#admin ?? writer;
    try {
      return await ATTEMPTS[check]({
        writer,
        attacker: as === "admin" ? strongest : writer,
        strongest,
        name,
      });
    } catch (error) {
      if (!(error instanceof ObjectStoreError)) throw error;
      return { verdict: "error", observed: messageOf(error), error };
    }
  }
}

/** `20261103t080000z-1f3a9c`: in order of time, and of one run alone. */
function folderName(at: Date): string {
  const time = at.toISOString().slice(0, 19).replace(/[-:]/g, "").toLowerCase();
  return `${time}z-${randomBytes(3).toString("hex")}`;
}

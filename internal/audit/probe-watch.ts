import type { Clock } from "../core/clock.ts";
import { messageOf } from "../core/errors.ts";
import { Feed } from "../core/feed.ts";
import type { JsonObject } from "../evidence/event.ts";
import type { Logger } from "../telemetry/logger.ts";
import { ObjectLockError } from "../worm/object-store.ts";
import type { ProbeMetrics } from "./metrics.ts";

/** What one check of the evidence store came to. */
export interface CheckResult {
  readonly check: string;
  /** error: it could not be found out. */
  readonly verdict: "held" | "broken" | "not-supported" | "error";
  readonly observed: string;
}

export interface ProbeRun {
  readonly results: readonly CheckResult[];
  /** All of it, as it goes into the log. */
  readonly report: JsonObject;
}

/** Attacks the evidence store as somebody would who wants evidence gone. internal/worm has one for buckets. */
export interface StoreProbe {
  /**
   * Makes the checks; with `lasting` also those that leave something behind.
   *
   * @throws ObjectLockError  the store does not lock, which settles it. Any other error: it could not be probed.
   */
  run(options: { readonly lasting: boolean; readonly signal: AbortSignal }): Promise<ProbeRun>;
}

export interface ProbeWatchOptions {
  readonly probe: StoreProbe;
  /** From one run to the next. */
  readonly intervalMs: number;
  /** The checks that have to hold while anything is sealed. */
  readonly minimum: readonly string[];
  readonly metrics: ProbeMetrics;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** After a run that did not show all of the minimum. */
const RETRY_MS = 60_000;
/** After one in which nothing was tried. */
const ABSENCE_MS = 5_000;

/**
 * Probes the evidence store at start and from then on, and says whether it may be written to. Until the minimum has been
 * seen to hold it may not; afterwards, until it is seen not to hold: that a check could not be made is no such sight, and
 * a store that is away stops sealing by itself.
 */
export class ProbeWatch {
  /** Why nothing may be sealed now; undefined while it may. */
  readonly objection: Feed<string | undefined>;
  /** What is worth a word in the logs, the newest of it. */
  readonly news = new Feed<JsonObject | undefined>(undefined);
  readonly #options: ProbeWatchOptions;
  /** The last verdict on each check that was not an error. */
  readonly #known = new Map<string, CheckResult>();
  /** Why the last run could not be made. */
  #failure: unknown;
  /** What the objection is about, without words that differ from one run to the next. */
  #gist = "";

  constructor(options: ProbeWatchOptions) {
    this.#options = options;
    this.objection = new Feed<string | undefined>("the evidence store has not been probed yet");
  }

  /** Probes until the signal aborts. It rejects only when the program is wrong. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, intervalMs } = this.#options;
    let lasting = true;
    let regularAt = clock.nowMicros();
    while (!signal.aborted) {
      const run = await this.#probe(lasting, signal);
      if (signal.aborted) return;
      const changed = this.#judge();
      const regular = clock.nowMicros() >= regularAt;
      if (run && (regular || changed)) this.#tell(run);
      if (run && regular) regularAt = clock.nowMicros() + intervalMs * 1000;
      const missing = this.#missing();
      // What lasts is left behind once, and again only where sealing waits for nothing else.
      if (run) lasting = missing.length > 0 && missing.every((check) => !isIn(run, check));
      const settled = run !== undefined && missing.length === 0;
      const retryMs = run ? RETRY_MS : ABSENCE_MS;
      await clock.sleep(settled ? intervalMs : Math.min(retryMs, intervalMs), signal);
    }
  }

  async #probe(lasting: boolean, signal: AbortSignal): Promise<ProbeRun | undefined> {
    const { probe, metrics, logger, clock } = this.#options;
    try {
      const run = await probe.run({ lasting, signal });
      this.#failure = undefined;
      for (const result of run.results) {
        const { check, verdict } = result;
        if (verdict === "error") metrics.errors.inc({ check });
        else this.#known.set(check, result);
        metrics.broken.set({ check }, this.#known.get(check)?.verdict === "broken" ? 1 : 0);
      }
      metrics.completedAt.set(clock.nowMicros() / 1e6);
      return run;
    } catch (error) {
      this.#failure = error;
      if (!signal.aborted) {
        metrics.failures.inc();
        logger.warn({ reason: messageOf(error) }, "the evidence store cannot be probed; trying again");
      }
      return undefined;
    }
  }

  /** Answers whether what it objects to is other than before. */
  #judge(): boolean {
    const objection = this.#objection();
    if (objection !== this.objection.current) this.objection.publish(objection);
    const gist = this.#gistOf(objection);
    if (gist === this.#gist) return false;
    this.#gist = gist;
    const { logger } = this.#options;
    if (objection === undefined) logger.info({}, "the evidence store passes its probe");
    else logger.error({ reason: objection }, "nothing is sealed until a later probe passes; votes are kept");
    return true;
  }

  /** What servers say has times and request ids in it. */
  #gistOf(objection: string | undefined): string {
    if (objection === undefined) return "passed";
    if (this.#failure instanceof ObjectLockError) return "no lock";
    const missing = this.#missing().sort();
    return missing.map((check) => `${check} ${this.#known.has(check) ? "failed" : "unknown"}`).join(", ");
  }

  #objection(): string | undefined {
    const failure = this.#failure;
    if (failure instanceof ObjectLockError) return failure.message;
    const missing = this.#missing();
    if (missing.length === 0) return undefined;
    const seen = missing.flatMap((check) => this.#known.get(check) ?? []);
    const [first] = seen;
    if (first) {
      const names = seen.map(({ check }) => check).join(", ");
      return `the evidence store failed its probe: ${names} (${first.check}: ${first.observed})`;
    }
    if (failure !== undefined) return messageOf(failure);
    return `the evidence store has not been seen to hold yet: ${missing.join(", ")}`;
  }

  #tell({ report }: ProbeRun): void {
    const { minimum } = this.#options;
    this.news.publish({ minimum, passed: this.objection.current === undefined, report });
  }

  /** What of the minimum is not known to hold. */
  #missing(): string[] {
    return this.#options.minimum.filter((check) => this.#known.get(check)?.verdict !== "held");
  }
}

function isIn({ results }: ProbeRun, check: string): boolean {
  return results.some((result) => result.check === check);
}

import type { Clock } from "../core/clock.ts";
import { ServiceError } from "../core/errors.ts";
import type { Logger } from "../telemetry/logger.ts";

export interface AvailabilityOptions {
  /** What the placement map calls the instance. */
  readonly name: string;
  /** Resolves when the instance can take votes. */
  readonly probe: () => Promise<void>;
  readonly clock: Clock;
  readonly logger: Logger;
}

const FIRST_DELAY_MS = 100;
const LONGEST_DELAY_MS = 2_000;

/**
 * Knows whether an instance can be reached. While it cannot, calls to it fail at once instead of each waiting for the
 * time limits of a connection, and one probe after the other asks whether it is back.
 */
export class Availability implements AsyncDisposable {
  readonly #options: AvailabilityOptions;
  readonly #stopping = new AbortController();
  #up = false;
  #checking: Promise<boolean> | undefined;
  #recovering: Promise<void> = Promise.resolve();

  constructor(options: AvailabilityOptions) {
    this.#options = options;
  }

  get up(): boolean {
    return this.#up;
  }

  /** Resolves after the first probe, whether it found the instance or not. Rejects when trying again cannot help. */
  async start(): Promise<void> {
    try {
      await this.#options.probe();
      this.#up = true;
    } catch (error) {
      if (!isUnavailable(error)) throw error;
      this.#lose(error);
    }
  }

  /**
   * Does `work`, which must be safe to repeat: a connection that died while nobody used it says so when it is used. A
   * probe tells that from an instance that is down.
   */
  async run<T>(work: () => Promise<T>): Promise<T> {
    if (!this.#up) throw this.#down();
    try {
      return await work();
    } catch (error) {
      if (!isUnavailable(error) || !(await this.#check())) throw error;
    }
    return work();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    await this.#recovering;
  }

  /** Whether the instance is up. Callers that ask at the same time share one probe. */
  #check(): Promise<boolean> {
    if (!this.#up) return Promise.resolve(false);
    this.#checking ??= this.#probe().finally(() => {
      this.#checking = undefined;
    });
    return this.#checking;
  }

  async #probe(): Promise<boolean> {
    try {
      await this.#options.probe();
      return true;
    } catch (error) {
      this.#lose(error);
      return false;
    }
  }

  #lose(error: unknown): void {
    this.#up = false;
    this.#options.logger.error({ error, instance: this.#options.name }, "a database instance is down");
    this.#recovering = this.#recover();
  }

  async #recover(): Promise<void> {
    const { name, probe, clock, logger } = this.#options;
    const { signal } = this.#stopping;
    for (let delay = FIRST_DELAY_MS; ; delay = Math.min(2 * delay, LONGEST_DELAY_MS)) {
      await clock.sleep(delay, signal);
      if (signal.aborted) return;
      try {
        await probe();
        this.#up = true;
        logger.info({ instance: name }, "a database instance is up again");
        return;
      } catch (error) {
        logger[isUnavailable(error) ? "debug" : "error"]({ error, instance: name }, "a probe failed");
      }
    }
  }

  #down(): ServiceError {
    return new ServiceError("unavailable", `instance ${this.#options.name} is down`, {
      reason: "INSTANCE_DOWN",
      retryDelayMs: LONGEST_DELAY_MS,
    });
  }
}

export function isUnavailable(error: unknown): boolean {
  return error instanceof ServiceError && error.kind === "unavailable";
}

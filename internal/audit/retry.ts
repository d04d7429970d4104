import type { Clock } from "../core/clock.ts";
import type { Logger } from "../telemetry/logger.ts";
import { isFatal } from "./halt.ts";

const FIRST_DELAY_MS = 50;
const LONGEST_DELAY_MS = 5_000;

export interface RetryOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/**
 * Repeats an idempotent step until it succeeds, with full jitter between attempts. The store, Postgres or the
 * Publisher may be away for any time: sealing waits, and the votes wait in their shards. Rethrows what is fatal, and
 * the abort reason when the service stops.
 */
export async function retry<T>(step: string, attempt: () => Promise<T>, options: RetryOptions): Promise<T> {
  const { clock, logger, signal } = options;
  for (let delay = FIRST_DELAY_MS; ; delay = Math.min(2 * delay, LONGEST_DELAY_MS)) {
    signal.throwIfAborted();
    try {
      return await attempt();
    } catch (error) {
      signal.throwIfAborted();
      if (isFatal(error)) throw error;
      logger.warn({ error, step, retry_within_ms: delay }, "a step failed and is tried again");
      await clock.sleep(Math.random() * delay, signal);
    }
  }
}

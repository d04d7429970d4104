// Whether the databases still keep the rules of the migrations: a constraint or trigger that a superuser switched off is
// missed by nobody until it would have refused something.
import type { Clock } from "../core/clock.ts";
import { messageOf } from "../core/errors.ts";
import type { Logger } from "../telemetry/logger.ts";
import type { ShardMetrics } from "./metrics.ts";

export interface WatchGuardsOptions {
  /** By what the placement map calls it. */
  readonly instance: string;
  /** The names of the rules that are not as they were made. */
  readonly read: () => Promise<readonly string[]>;
  /** What was found last, by instance. One that nobody has looked at yet is not there. */
  readonly broken: Map<string, readonly string[]>;
  readonly everyMs: number;
  readonly metrics: Pick<ShardMetrics, "watch">;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/** Looks until the signal aborts, and never rejects. Each rule is logged when it is first found broken, and counted while it is. */
export async function watchGuards(options: WatchGuardsOptions): Promise<void> {
  const { instance, read, broken, everyMs, metrics, clock, logger, signal } = options;
  while (!signal.aborted) {
    try {
      const found = await read();
      const before = broken.get(instance) ?? [];
      for (const guard of found) {
        if (!before.includes(guard)) logger.error({ instance }, `${guard} is not as the migrations made it`);
      }
      broken.set(instance, found);
      // Not before: until somebody has looked, 0 would be a claim.
      metrics.watch("brokenGuards", instance, () => found.length);
    } catch (error) {
      // What was seen last holds until somebody looks again.
      logger.debug({ instance, reason: messageOf(error) }, "a database's rules were not read");
    }
    await clock.sleep(everyMs, signal);
  }
}

import type { Gauge, Metrics } from "../telemetry/metrics.ts";
import { ALERT_KINDS } from "./alert.ts";
import type { Look } from "./monitor.ts";

/** What the newest look found, for Prometheus. */
export class MonitorMetrics {
  readonly #alerts: Gauge<"kind">;
  readonly #size: Gauge;
  readonly #looked: Gauge;

  constructor(metrics: Metrics) {
    this.#alerts = metrics.gauge({
      name: "psephos_monitor_alerts",
      help: "Alerts of the newest look, by kind.",
      labels: ["kind"],
    });
    this.#size = metrics.gauge({
      name: "psephos_monitor_verified_entries",
      help: "Entries of the log that were verified, without a fault.",
    });
    this.#looked = metrics.gauge({
      name: "psephos_monitor_last_look_timestamp_seconds",
      help: "When the newest look ended, in POSIX seconds.",
    });
  }

  record({ seen, alerts }: Look, now: number): void {
    for (const kind of ALERT_KINDS) {
      this.#alerts.set({ kind }, alerts.filter((alert) => alert.kind === kind).length);
    }
    this.#size.set(seen?.size ?? 0);
    this.#looked.set(now);
  }
}

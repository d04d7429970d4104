import type { Counter, Gauge, Histogram, Metrics } from "../telemetry/metrics.ts";
import type { Answer } from "./decide.ts";

type InstanceGauge = "up" | "waiting" | "unpublished" | "behind" | "brokenGuards";

/** What ShardRouter tells about itself. */
export class ShardMetrics {
  readonly #groupVotes: Histogram<"instance">;
  readonly #commitSeconds: Histogram<"instance">;
  readonly #answers: Counter<"instance" | "outcome">;
  readonly #published: Counter<"instance">;
  readonly #publishFailures: Counter<"instance">;
  readonly #gauges: Readonly<Record<InstanceGauge, Gauges>>;

  constructor(metrics: Metrics) {
    this.#groupVotes = metrics.histogram({
      name: "psephos_shard_group_votes",
      help: "Votes in a group commit.",
      labels: ["instance"],
      buckets: [1, 3, 10, 30, 100, 300, 1_000],
    });
    this.#commitSeconds = metrics.histogram({
      name: "psephos_shard_commit_seconds",
      help: "How long a group's transaction took, waiting for its locks included.",
      labels: ["instance"],
    });
    this.#answers = metrics.counter({
      name: "psephos_shard_votes_total",
      help: "Votes answered, by outcome.",
      labels: ["instance", "outcome"],
    });
    this.#published = metrics.counter({
      name: "psephos_shard_published_records_total",
      help: "Records published to the audit stream, repeated ones included.",
      labels: ["instance"],
    });
    this.#publishFailures = metrics.counter({
      name: "psephos_shard_publish_failures_total",
      help: "Attempts to publish to the audit stream that failed.",
      labels: ["instance"],
    });
    this.#gauges = {
      up: new Gauges(metrics, "psephos_shard_instance_up", "Whether the instance can be reached."),
      waiting: new Gauges(metrics, "psephos_shard_waiting_votes", "Votes waiting for a group commit."),
      unpublished: new Gauges(
        metrics,
        "psephos_shard_unpublished_records",
        "Records held for the audit stream.",
      ),
      behind: new Gauges(
        metrics,
        "psephos_shard_behind_shards",
        "Shards whose records must be read again for the audit stream.",
      ),
      brokenGuards: new Gauges(
        metrics,
        "psephos_shard_broken_guards",
        "Constraints and triggers that are not as the migrations made them.",
      ),
    };
  }

  committed(instance: string, votes: number, seconds: number): void {
    this.#groupVotes.observe({ instance }, votes);
    this.#commitSeconds.observe({ instance }, seconds);
  }

  answered(instance: string, answers: readonly Answer[]): void {
    const counts = new Map<Answer["outcome"], number>();
    for (const { outcome } of answers) counts.set(outcome, (counts.get(outcome) ?? 0) + 1);
    for (const [outcome, count] of counts) this.#answers.inc({ instance, outcome }, count);
  }

  published(instance: string, records: number): void {
    this.#published.inc({ instance }, records);
  }

  publishFailed(instance: string): void {
    this.#publishFailures.inc({ instance });
  }

  /** Tells `read()` at each scrape as the gauge's value for an instance. */
  watch(gauge: InstanceGauge, instance: string, read: () => number): void {
    this.#gauges[gauge].watch(instance, read);
  }
}

/** A gauge with a value an instance, read at each scrape. */
class Gauges {
  readonly #reads = new Map<string, () => number>();

  constructor(metrics: Metrics, name: string, help: string) {
    const collect = (gauge: Gauge<"instance">) => {
      for (const [instance, read] of this.#reads) gauge.set({ instance }, read());
    };
    metrics.gauge({ name, help, labels: ["instance"], collect });
  }

  watch(instance: string, read: () => number): void {
    this.#reads.set(instance, read);
  }
}

import type { Counter, Histogram, Metrics } from "../telemetry/metrics.ts";

export interface PublisherMetrics {
  readonly headsSigned: Counter;
  readonly entriesSigned: Counter;
  /** By reason: FORKED_HEAD and STATE_MISMATCH are what alerts watch. */
  readonly headsRefused: Counter<"reason">;
  readonly submitSeconds: Histogram;
  /** Requests to the public HTTP server, by status code. */
  readonly publicRequests: Counter<"status">;
  /** Connections closed at once because their client had too many. */
  readonly publicConnectionsRefused: Counter;
  readonly witnesses: WitnessMetrics;
}

/** `witness` is its name in the policy, of which there are 64 at most. */
export interface WitnessMetrics {
  readonly cosignatures: Counter<"witness">;
  /** By WitnessFailure: inconsistent and bad_answer are what alerts watch. */
  readonly failures: Counter<"witness" | "reason">;
  readonly seconds: Histogram<"witness">;
  /** Checkpoints shown, by whether they had a quorum when they were. */
  readonly shown: Counter<"quorum">;
}

export function publisherMetrics(metrics: Metrics): PublisherMetrics {
  return {
    headsSigned: metrics.counter({
      name: "psephos_publisher_heads_signed_total",
      help: "Tree heads signed and published.",
    }),
    entriesSigned: metrics.counter({
      name: "psephos_publisher_entries_signed_total",
      help: "Log entries that a signed head covers for the first time.",
    }),
    headsRefused: metrics.counter({
      name: "psephos_publisher_heads_refused_total",
      help: "Offered tree heads that were not signed, by reason.",
      labels: ["reason"],
    }),
    submitSeconds: metrics.histogram({
      name: "psephos_publisher_submit_seconds",
      help: "Time from an offered head to its published checkpoint.",
    }),
    publicRequests: metrics.counter({
      name: "psephos_publisher_public_requests_total",
      help: "Requests to the public HTTP server, by status code.",
      labels: ["status"],
    }),
    publicConnectionsRefused: metrics.counter({
      name: "psephos_publisher_public_connections_refused_total",
      help: "Public connections closed at once because their client had too many.",
    }),
    witnesses: {
      cosignatures: metrics.counter({
        name: "psephos_publisher_cosignatures_total",
        help: "Cosignatures that came, by witness.",
        labels: ["witness"],
      }),
      failures: metrics.counter({
        name: "psephos_publisher_witness_failures_total",
        help: "Submissions that brought no cosignature, by witness and reason.",
        labels: ["witness", "reason"],
      }),
      seconds: metrics.histogram({
        name: "psephos_publisher_witness_seconds",
        help: "Time from a submission to its cosignature, by witness.",
        labels: ["witness"],
      }),
      shown: metrics.counter({
        name: "psephos_publisher_checkpoints_shown_total",
        help: "Checkpoints shown where there are witnesses, by whether they had a quorum then.",
        labels: ["quorum"],
      }),
    },
  };
}

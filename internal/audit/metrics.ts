import type { Counter, Gauge, Histogram, Metrics } from "../telemetry/metrics.ts";

export interface AuditMetrics {
  readonly sealedEntries: Counter;
  readonly fetchedRecords: Counter;
  readonly parkedMessages: Counter;
  readonly evidenceFailures: Counter<"operation" | "failure">;
  readonly commitSeconds: Histogram;
  readonly reconciledRecords: Counter;
  readonly foundDifferences: Counter<"kind">;
  readonly differences: Gauge<"election">;
  readonly brokenGuards: Gauge<"election" | "instance">;
  readonly lastReconciliation: Gauge<"election">;
  readonly treeSize: Gauge<"election">;
  readonly halted: Gauge<"election">;
  readonly paused: Gauge<"election">;
}

/** Of the evidence store's probe. */
export interface ProbeMetrics {
  readonly broken: Gauge<"check">;
  readonly errors: Counter<"check">;
  readonly failures: Counter;
  readonly completedAt: Gauge;
}

export function auditMetrics(metrics: Metrics): AuditMetrics {
  return {
    sealedEntries: metrics.counter({
      name: "psephos_audit_sealed_entries_total",
      help: "Log entries committed by this process.",
    }),
    fetchedRecords: metrics.counter({
      name: "psephos_audit_fetched_records_total",
      help: "Records read from their shard because the stream did not bring them.",
    }),
    parkedMessages: metrics.counter({
      name: "psephos_audit_parked_messages_total",
      help: "Stream messages that are malformed or do not verify, parked for a human.",
    }),
    evidenceFailures: metrics.counter({
      name: "psephos_audit_evidence_failures_total",
      help: "What the evidence store did not do: put, get, stat or list, and why. Sealing waits meanwhile.",
      labels: ["operation", "failure"],
    }),
    commitSeconds: metrics.histogram({
      name: "psephos_audit_commit_seconds",
      help: "From a commit's first segment to its last tile.",
    }),
    reconciledRecords: metrics.counter({
      name: "psephos_audit_reconciled_records_total",
      help: "Sealed records that were compared with their rows in the databases.",
    }),
    foundDifferences: metrics.counter({
      name: "psephos_audit_found_differences_total",
      help: "Places where a database was found not to be as it was sealed, and rules (`guard`) not as they were made, each once a process.",
      labels: ["kind"],
    }),
    differences: metrics.gauge({
      name: "psephos_audit_differences",
      help: "Places where the databases were not as they were sealed, in the last whole reconciliation.",
      labels: ["election"],
    }),
    brokenGuards: metrics.gauge({
      name: "psephos_audit_broken_guards",
      help: "Constraints and triggers of an instance that were not as the migrations made them, in the last whole reconciliation.",
      labels: ["election", "instance"],
    }),
    lastReconciliation: metrics.gauge({
      name: "psephos_audit_last_reconciliation_seconds",
      help: "When the last whole reconciliation ended, in seconds since 1970.",
      labels: ["election"],
    }),
    treeSize: metrics.gauge({
      name: "psephos_audit_tree_size",
      help: "Entries in an election's log.",
      labels: ["election"],
    }),
    halted: metrics.gauge({
      name: "psephos_audit_halted",
      help: "1 when an election's log halted and a human has to look.",
      labels: ["election"],
    }),
    paused: metrics.gauge({
      name: "psephos_audit_paused",
      help: "1 while an election's log waits for the evidence store to pass its probe.",
      labels: ["election"],
    }),
  };
}

export function probeMetrics(metrics: Metrics): ProbeMetrics {
  return {
    broken: metrics.gauge({
      name: "psephos_worm_probe_broken",
      help: "1 when the evidence store did not withstand this check, the last time it could be made.",
      labels: ["check"],
    }),
    errors: metrics.counter({
      name: "psephos_worm_probe_errors_total",
      help: "Checks of the evidence store that could not be made.",
      labels: ["check"],
    }),
    failures: metrics.counter({
      name: "psephos_worm_probe_failures_total",
      help: "Probes that found no store to try anything on.",
    }),
    completedAt: metrics.gauge({
      name: "psephos_worm_probe_completed_timestamp_seconds",
      help: "When the last probe of the evidence store was completed.",
    }),
  };
}

import serialize from "canonicalize";
import { utf8 } from "../../core/bytes.ts";
import type { Actor, CheckName, Severity } from "./checks.ts";
import type { Verdict } from "./judge.ts";

/** What one check came to, with one set of credentials. */
export interface ProbeResult {
  readonly check: CheckName;
  readonly as: Actor;
  readonly severity: Severity;
  readonly verdict: Verdict;
  readonly observed: string;
}

export interface ProbeReport {
  /** `s3://bucket/prefix` */
  readonly store: string;
  readonly startedAt: Date;
  readonly retentionSeconds: number;
  readonly results: readonly ProbeResult[];
}

/**
 * Bytes of it as JSON. Longer than a server's word for a refusal ever is; and with the longest prefix that a key can have
 * (1,024 bytes) all of a writer's checks fit into an event of 16 KiB.
 */
const MAX_OBSERVED = 200;

/** docs/spec.md, "Probe report". */
export function reportJson({ store, startedAt, retentionSeconds, results }: ProbeReport) {
  return {
    format: "psephos/worm-probe/v1",
    store,
    started_at: startedAt.getTime() * 1000,
    retention_seconds: retentionSeconds,
    results: results.map(({ check, as, severity, verdict, observed }) => ({
      check,
      as,
      severity,
      verdict,
      observed: shortened(observed),
    })),
  };
}

/** Escapes count, and no character is cut in two. */
function shortened(text: string): string {
  let bytes = 0;
  let kept = "";
  for (const character of text.toWellFormed()) {
    bytes += utf8(JSON.stringify(character)).length - 2; // Without its quotation marks.
    if (bytes > MAX_OBSERVED) break;
    kept += character;
  }
  return kept;
}

/** RFC 8785: a report has one text. */
export function formatReport(report: ProbeReport): string {
  const text = serialize(reportJson(report));
  // serialize() returns undefined only for undefined itself, as JSON.stringify() does.
  if (text === undefined) throw new TypeError("a report without a JSON form");
  return text;
}

export type Outcome = "held" | "critical" | "serious" | "unknown";

/** The worst of a report. What is only noted does not count; a check that could not be made is not known to hold. */
export function outcomeOf({ results }: ProbeReport): Outcome {
  const broken = (severity: Severity) =>
    results.some((result) => result.severity === severity && result.verdict === "broken");
  const untold = (severity: Severity) =>
    results.some((result) => result.severity === severity && result.verdict === "error");
  if (broken("critical")) return "critical";
  if (untold("critical")) return "unknown";
  if (broken("serious")) return "serious";
  return untold("serious") ? "unknown" : "held";
}

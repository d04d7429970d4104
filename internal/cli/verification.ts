import type { Problem, VerificationReport } from "../verify/report.ts";
import type { VerifiedEvidence } from "../verify/verify-evidence.ts";
import type { VerifiedLog } from "../verify/verify-public.ts";
import { formatCount } from "./terminal.ts";

/** What was verified, and what was found. */
export interface Verification {
  readonly report: VerificationReport;
  readonly log: Pick<VerifiedLog, "checkpoint" | "closing"> | undefined;
  readonly evidence: VerifiedEvidence | undefined;
}

/** The report as `--json` shows it. */
export function verificationJson({ report, log, evidence }: Verification): object {
  return {
    result: report.ok ? "ok" : "failed",
    log_size: log?.checkpoint.size ?? evidence?.treeSize ?? 0,
    closed: (log?.closing ?? evidence?.closing) !== undefined,
    checked: report.checked,
    problems: report.problems.map(problemJson),
    more_problems: report.moreProblems,
    not_checked: report.notChecked,
    unreferenced: report.unreferenced,
  };
}

function problemJson({ object, index, shard, sequence, problem }: Problem): object {
  return { object, index, shard, sequence, problem };
}

/** The report as people read it. */
export function describeVerification({ report }: Verification): string[] {
  const { notes, entries, tiles, segments, records, events, checkpoints, rows, bytes } = report.checked;
  const lines = [
    `checked: ${formatCount(entries)} public entries in ${formatCount(tiles)} tiles and bundles`,
    `checked: ${formatCount(records)} records and their chains in ${formatCount(segments)} evidence segments`,
    `checked: ${formatCount(notes)} signatures, ${formatCount(checkpoints)} vote checkpoints, ` +
      `${formatCount(bytes / 1e6)} MB`,
  ];
  if (events > 0) lines.push(`checked: ${counted(events, "event")}`);
  if (rows > 0) lines.push(`checked: ${formatCount(rows)} records and their chains in the databases`);
  for (const what of report.notChecked) lines.push(`not checked: ${what}`);
  for (const key of report.unreferenced) lines.push(`unreferenced, no part of the log: ${key}`);
  for (const problem of report.problems) lines.push(`PROBLEM ${describeProblem(problem)}`);
  if (report.moreProblems > 0) lines.push(`and ${formatCount(report.moreProblems)} more problems`);
  lines.push(
    report.ok
      ? "result: ok"
      : `result: FAILED, ${counted(report.problems.length + report.moreProblems, "problem")}`,
  );
  return lines;
}

export function describeProblem({ object, index, shard, sequence, problem }: Problem): string {
  const places = [
    object,
    index === undefined ? undefined : `index ${index}`,
    shard === undefined ? undefined : `shard ${shard}`,
    sequence === undefined ? undefined : `sequence ${sequence}`,
  ];
  const named = places.filter((place) => place !== undefined);
  return named.length > 0 ? `${named.join(", ")}: ${problem}` : problem;
}

function counted(count: number, what: string): string {
  return `${formatCount(count)} ${what}${count === 1 ? "" : "s"}`;
}

import type { Problem, VerificationReport } from "../verify/report.ts";
import type { VerifiedEvidence } from "../verify/verify-evidence.ts";
import type { VerifiedLog } from "../verify/verify-public.ts";
import { ExitCode } from "./exit-code.ts";
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
    result: report.result,
    log_size: log?.checkpoint.size ?? evidence?.treeSize ?? 0,
    closed: (log?.closing ?? evidence?.closing) !== undefined,
    ...findingsJson(report),
  };
}

/** What was looked at and what was found, for programs. */
export function findingsJson(report: VerificationReport): object {
  return {
    checked: report.checked,
    problems: report.problems.map(problemJson),
    more_problems: report.moreProblems,
    warnings: report.warnings.map(problemJson),
    not_checked: report.notChecked,
    archived: report.archived.map(({ key, versionId, access }) => ({ key, version_id: versionId, access })),
    more_archived: report.moreArchived,
    unreferenced: report.unreferenced,
  };
}

function problemJson({ object, index, shard, sequence, problem }: Problem): object {
  return { object, index, shard, sequence, problem };
}

/** The report as people read it. */
export function describeVerification({ report }: Verification): string[] {
  return [...describeFindings(report), resultLine(report)];
}

export function describeFindings(report: VerificationReport): string[] {
  const { notes, entries, tiles, segments, records, events, checkpoints, locks, rows, bytes } =
    report.checked;
  const lines = [
    `checked: ${formatCount(records)} records and their chains in ${formatCount(segments)} evidence segments`,
    `checked: ${formatCount(notes)} signatures, ${formatCount(checkpoints)} vote checkpoints, ` +
      `${formatCount(bytes / 1e6)} MB`,
  ];
  if (entries > 0 || tiles > 0) {
    lines.unshift(
      `checked: ${formatCount(entries)} public entries in ${formatCount(tiles)} tiles and bundles`,
    );
  }
  if (events > 0) lines.push(`checked: ${counted(events, "event")}`);
  if (locks > 0) lines.push(`checked: the retention of ${counted(locks, "object")}`);
  if (rows > 0) lines.push(`checked: ${formatCount(rows)} records and their chains in the databases`);
  for (const what of report.notChecked) lines.push(`not checked: ${what}`);
  for (const { key, access } of report.archived) lines.push(`not checked: ${key}, ${ARCHIVED[access]}`);
  if (report.moreArchived > 0) lines.push(`and ${formatCount(report.moreArchived)} more archived objects`);
  for (const key of report.unreferenced) lines.push(`unreferenced, no part of the log: ${key}`);
  for (const problem of report.warnings) lines.push(`WARNING ${describeProblem(problem)}`);
  for (const problem of report.problems) lines.push(`PROBLEM ${describeProblem(problem)}`);
  if (report.moreProblems > 0) lines.push(`and ${formatCount(report.moreProblems)} more problems`);
  return lines;
}

const ARCHIVED = {
  archived: "which is archived: audit --restore asks for a copy",
  restoring: "which is archived: a copy is on its way",
} as const;

export function exitCodeOfResult({ result }: VerificationReport): ExitCode {
  return { ok: ExitCode.ok, failed: ExitCode.failed, incomplete: ExitCode.unavailable }[result];
}

export function resultLine(report: VerificationReport): string {
  if (report.result === "failed") {
    return `result: FAILED, ${counted(report.problems.length + report.moreProblems, "problem")}`;
  }
  if (report.result === "incomplete") return "result: INCOMPLETE, not all of it could be read";
  return report.warnings.length === 0
    ? "result: ok"
    : `result: ok, ${counted(report.warnings.length, "warning")}`;
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

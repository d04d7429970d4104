// The report of an audit: for programs, for a terminal, and as a text to hand over.
import { toHex } from "../../core/bytes.ts";
import { formatCount } from "../terminal.ts";
import { describeFindings, findingsJson, resultLine } from "../verification.ts";
import type { Audit, AuditRange } from "./run-audit.ts";

/** What a report says of how the audit was made. */
export interface AuditCircumstances {
  readonly electionId: string;
  readonly place: string;
  readonly range: AuditRange;
  readonly publicUrl: string | undefined;
  readonly logKey: string | undefined;
  readonly eventKey: string | undefined;
  readonly retentionMode: string | undefined;
  readonly workers: number;
  readonly version: string;
  /** ISO 8601. */
  readonly finishedAt: string;
  readonly seconds: number;
}

export function auditJson(audit: Audit, of: AuditCircumstances): object {
  const { report, opened, signed, evidence, resumed } = audit;
  return {
    ...findingsJson(report),
    result: report.result,
    election: of.electionId,
    evidence: of.place,
    range: { first: of.range.first, last: of.range.last ?? null },
    manifest_hash: opened ? toHex(opened.manifestHash) : null,
    log_key: of.logKey ?? opened?.manifest.logKey ?? null,
    log_key_given: of.logKey !== undefined,
    event_key: of.eventKey ?? null,
    retention_mode: of.retentionMode ?? null,
    public: of.publicUrl ?? null,
    public_size: signed?.checkpoint.size ?? null,
    public_root: signed ? toHex(signed.checkpoint.root) : null,
    log_size: evidence?.size ?? 0,
    root: evidence?.root ? toHex(evidence.root) : null,
    closed: evidence?.closing !== undefined,
    votes: evidence?.heads ? votesOf(evidence.heads) : null,
    started_at: audit.startedAt,
    finished_at: of.finishedAt,
    seconds: of.seconds,
    resumed_after_checkpoint: resumed?.checkpoint ?? null,
    workers: of.workers,
    version: of.version,
  };
}

export function describeAudit(audit: Audit, { seconds, workers }: AuditCircumstances): string[] {
  const { records } = audit.report.checked;
  const rate = formatCount(Math.round(records / Math.max(seconds, 0.001)));
  return [
    ...describeFindings(audit.report),
    `${formatCount(records)} records in ${formatCount(seconds)} s by ${workers} threads: ${rate}/s`,
    resultLine(audit.report),
  ];
}

/** The report as a text that stands for itself. */
export function auditText(audit: Audit, of: AuditCircumstances): string {
  const { opened, signed, evidence, report, resumed } = audit;
  const rows: [string, string][] = [
    ["Election", opened ? `${of.electionId} ("${opened.manifest.title}")` : of.electionId],
    ["Manifest", opened ? `SHA-256 ${toHex(opened.manifestHash)}` : "could not be read"],
    ["Evidence", of.place],
    ["Scope", describeRange(of.range)],
    ["Begun", audit.startedAt],
    ["Ended", of.finishedAt],
    ["Program", `${of.version}, ${of.workers} threads`],
    ["Log key", `${of.logKey ?? opened?.manifest.logKey ?? "none"} (${keySource(of.logKey)})`],
    ["Event key", of.eventKey ?? "none given: who signed the events was not checked"],
    [
      "Retention",
      of.retentionMode ? `${of.retentionMode} demanded of each object` : "a directory cannot lock",
    ],
    [
      "Public log",
      of.publicUrl === undefined
        ? "not compared"
        : `${of.publicUrl}: ${
            signed ? `${signed.checkpoint.size} entries, root ${toHex(signed.checkpoint.root)}` : "not signed"
          }`,
    ],
    ["Evidence log", evidence ? `${evidence.size} entries, root ${rootOf(audit)}` : "not read"],
    ["Votes", evidence?.heads ? String(votesOf(evidence.heads)) : "unknown"],
    ["Closed", evidence?.closing ? "yes: the log ends with its closing entry" : "no closing entry was seen"],
  ];
  if (resumed) {
    rows.push([
      "Resumed",
      `${resumed.times} times, the last time after checkpoint ${resumed.checkpoint}. What was verified before was taken ` +
        "from the auditor's own state file and not verified again.",
    ]);
  }
  const width = Math.max(...rows.map(([name]) => name.length));
  return [
    "AUDIT OF THE EVIDENCE OF AN ELECTION",
    "",
    ...rows.map(([name, text]) => `${name.padEnd(width)}  ${text}`),
    "",
    resultLine(report).toUpperCase(),
    "",
    "How it was made",
    ...METHOD.map((line) => `  - ${line}`),
    "",
    "Findings",
    ...describeFindings(report).map((line) => `  ${line}`),
    "",
  ].join("\n");
}

const METHOD = [
  "Each object was read by the version that the election's own checkpoints name, and its SHA-256 compared.",
  "Each record's hash was computed again from its content and the hash of the record before it in its shard.",
  "Each entry was hashed into one RFC 6962 Merkle tree, whose roots were compared with those that the segments name,",
  "  with every checkpoint, and with the Publisher's Ed25519 signatures under the log key above.",
  "Each object's retention, mode and date, was asked of the store, where the store can lock at all.",
  "What is listed as not checked was not checked; nothing is to be concluded from this report about it.",
];

function describeRange({ first, last }: AuditRange): string {
  if (last === undefined) return first === 1 ? "the whole log" : `the log from checkpoint ${first} on`;
  return `checkpoint ${first} alone`;
}

function keySource(given: string | undefined): string {
  return given === undefined ? "named by the election's own manifest" : "given by the auditor";
}

function rootOf({ evidence }: Audit): string {
  return evidence?.root ? toHex(evidence.root) : "unknown";
}

function votesOf(heads: readonly { readonly sequence: number }[]): number {
  return heads.reduce((sum, { sequence }) => sum + sequence, 0);
}

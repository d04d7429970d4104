import { decodeRun } from "../../audit/record-message.ts";
import { encodeManifest } from "../../ballot/manifest.ts";
import type { VoteRecord } from "../../ballot/record.ts";
import type { ElectionId, ShardId } from "../../core/ids.ts";
import { sha256 } from "../../core/sha256.ts";
import { httpSource } from "../../verify/http-source.ts";
import { type Problem, VerificationReport } from "../../verify/report.ts";
import { type VerifiedEvidence, verifyEvidence } from "../../verify/verify-evidence.ts";
import { type VerifiedLog, verifyPublicLog } from "../../verify/verify-public.ts";
import { verifyShards } from "../../verify/verify-shards.ts";
import { DirectoryStore } from "../../worm/directory-store.ts";
import type { CliContext } from "../context.ts";
import { UsageError } from "../exit-code.ts";
import { formatCount, type Terminal } from "../terminal.ts";

export interface VerifyOptions {
  readonly electionId: ElectionId;
  /** The public endpoint's address. */
  readonly publicUrl?: string | undefined;
  /** The evidence store's folder. */
  readonly evidence?: string | undefined;
  /** Reads the shards' databases through ShardRouter; needs an auditor's identity. */
  readonly readChain?: ((shard: ShardId) => AsyncIterable<readonly VoteRecord[]>) | undefined;
  readonly logKey?: string | undefined;
}

export interface Verification {
  readonly report: VerificationReport;
  readonly log: VerifiedLog | undefined;
  readonly evidence: VerifiedEvidence | undefined;
}

/** Verifies whichever of the public log, the evidence and the databases are named, and that they agree. */
export async function verifyElection(terminal: Terminal, options: VerifyOptions): Promise<Verification> {
  const { electionId, publicUrl, evidence: directory, readChain, logKey } = options;
  if (!publicUrl && !directory)
    throw new UsageError("name what to verify: --public URL, --evidence FOLDER, or both");
  const report = new VerificationReport();

  let log: VerifiedLog | undefined;
  if (publicUrl) {
    const onProgress = bar(terminal, "verifying the public log");
    log = await verifyPublicLog({
      source: httpSource(publicUrl, electionId),
      report,
      logKey,
      onProgress: onProgress.update,
    });
    onProgress.end();
  } else {
    report.unchecked("the public log");
  }

  let evidence: VerifiedEvidence | undefined;
  if (directory) {
    const onProgress = bar(terminal, "verifying the evidence");
    evidence = await verifyEvidence({
      store: new DirectoryStore({ directory }),
      electionId,
      report,
      logKey,
      known: log && { size: log.checkpoint.size, root: log.checkpoint.root },
      onProgress: (entries) => onProgress.update(entries, log?.checkpoint.size ?? entries),
    });
    onProgress.end();
  } else {
    report.unchecked("the evidence store: records, chains, and that each voter counts once");
  }

  const manifest = evidence?.manifest ?? log?.manifest;
  if (readChain && manifest) {
    const manifestHash = sha256(encodeManifest(manifest));
    const sealedHeads = evidence?.shardHeads ?? log?.closing?.shardHeads;
    await verifyShards({ readChain, shards: manifest.shards, manifestHash, sealedHeads, report });
  } else {
    report.unchecked("the shards' databases");
  }
  return { report, log, evidence };
}

/** Reads chains through ShardRouter, with the auditor's identity of the profile. */
export function chainReader(context: CliContext, electionId: ElectionId) {
  const router = context.shards("auditor");
  return async function* (shard: ShardId): AsyncGenerator<readonly VoteRecord[], void, undefined> {
    for await (const { run } of router.readChain({ electionId, shard, firstSequence: 1n, limit: 0n })) {
      if (run) yield decodeRun(run);
    }
  };
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
  };
}

function problemJson({ object, index, shard, sequence, problem }: Problem): object {
  return { object, index, shard, sequence, problem };
}

/** The report as people read it. */
export function describeVerification({ report }: Verification): string[] {
  const { notes, entries, tiles, segments, records, checkpoints, bytes } = report.checked;
  const lines = [
    `checked: ${formatCount(notes)} signed notes, ${formatCount(entries)} public entries in ${formatCount(tiles)} ` +
      `tiles and bundles, ${formatCount(segments)} evidence segments, ${formatCount(records)} records and their ` +
      `chains, ${formatCount(checkpoints)} vote checkpoints; ${(bytes / 1e6).toFixed(1)} MB`,
  ];
  for (const what of report.notChecked) lines.push(`not checked: ${what}`);
  for (const problem of report.problems) lines.push(`PROBLEM ${describeProblem(problem)}`);
  if (report.moreProblems > 0) lines.push(`and ${formatCount(report.moreProblems)} more problems`);
  lines.push(report.ok ? "result: ok" : `result: FAILED, ${formatCount(report.problems.length)} problems`);
  return lines;
}

function describeProblem({ object, index, shard, sequence, problem }: Problem): string {
  const places = [
    object,
    index === undefined ? undefined : `index ${index}`,
    shard === undefined ? undefined : `shard ${shard}`,
    sequence === undefined ? undefined : `sequence ${sequence}`,
  ];
  return `${places.filter((place) => place !== undefined).join(", ")}: ${problem}`;
}

/** A bar that is drawn once its total is known. */
function bar(terminal: Terminal, label: string) {
  let progress: ReturnType<Terminal["progress"]> | undefined;
  return {
    update(done: number, total: number): void {
      progress ??= terminal.progress(label, total);
      progress.update(done);
    },
    end(): void {
      progress?.end();
    },
  };
}

import { writeFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { type Command, Option } from "commander";
import type { EvidenceConfig } from "../../config/evidence.ts";
import type { ElectionId } from "../../core/ids.ts";
import { httpSource } from "../../verify/http-source.ts";
import type { RetentionMode } from "../../worm/object-store.ts";
import { S3Store } from "../../worm/s3-store.ts";
import { parseCount, parseLogKey, parseUrl } from "../arguments.ts";
import { type AuditCircumstances, auditJson, auditText, describeAudit } from "../audit/audit-report.ts";
import { restoreArchived } from "../audit/restore-archived.ts";
import { type Audit, type AuditRange, runAudit, WHOLE_LOG } from "../audit/run-audit.ts";
import { SegmentPool } from "../audit/segment-pool.ts";
import type { Cli } from "../cli.ts";
import type { CliContext } from "../context.ts";
import {
  addEvidenceOptions,
  describePlace,
  type EvidenceOptions,
  evidencePlace,
  openEvidence,
} from "../evidence.ts";
import { ExitCode, UsageError } from "../exit-code.ts";
import { homeFolder } from "../profile.ts";
import { formatCount, type Progress } from "../terminal.ts";
import { TimeLeft } from "../time-left.ts";
import { exitCodeOfResult } from "../verification.ts";
import { programVersion } from "../version.ts";

interface AuditCommandOptions extends EvidenceOptions {
  readonly full?: boolean;
  readonly since?: number;
  readonly checkpoint?: number;
  readonly election?: string;
  /** false: --no-public. */
  readonly public?: string | false;
  readonly logKey?: string;
  readonly eventKey?: string;
  readonly retentionMode?: RetentionMode;
  readonly workers: number;
  readonly state?: string;
  readonly resume: boolean;
  readonly report?: string;
  readonly restore: boolean;
  readonly restoreDays: number;
}

const EXAMPLES = `
Examples:
  psephos audit --full --report audit.txt       everything, with a text to hand over
  psephos audit --full --resume                 go on after an interruption, from the last verified checkpoint
  psephos audit --since 120                     what came after checkpoint 119
  psephos audit --checkpoint 7 --evidence s3://evidence-2026 --log-key 'example.org/town+1a2b3c4d+AQ…'
  psephos audit --full --restore                ask for copies of what is in Glacier, and audit nothing yet

A part of the log is joined to the tree of the public log, and to the signed vote checkpoint before it. --resume takes the
word of the state file for what was verified before: keep it where only you can write. Objects in a cold tier are listed and
not checked; then, if nothing else is wrong, the exit status is 3. A newer version or a delete marker over an object is a
warning: the evidence is the first version, and that is what is read.`;

export function auditCommand(program: Command, { run, terminal, stopSignal }: Cli): void {
  const audit = program
    .command("audit")
    .description(
      "audit an election's evidence on all cores: every object, its retention, every record hash, chain, tree root, " +
        "checkpoint and signature",
    )
    .option("--full", "the whole log, and that each voter counts once in it")
    .option("--since <n>", "the log from vote checkpoint n on", parseCount)
    .option("--checkpoint <n>", "vote checkpoint n alone", parseCount)
    .option("--election <id>", "the profile's unless given")
    .option("--public <url>", "the public endpoint to compare with; the profile's unless given", parseUrl)
    .option("--no-public", "compare with nothing that is public")
    .option("--log-key <key>", "demand this verifier key instead of the one the manifest names", parseLogKey)
    .option("--event-key <key>", "demand that this verifier key signed the log's events", parseLogKey)
    .addOption(
      new Option(
        "--retention-mode <mode>",
        "demand this mode of each object; the profile's unless given",
      ).choices(["COMPLIANCE", "GOVERNANCE"]),
    )
    .option("--workers <n>", "threads", parseCount, availableParallelism())
    .option("--state <folder>", "where it keeps what it needs to go on; in the state folder unless given")
    .option("--resume", "go on where an interrupted audit of the same evidence left off", false)
    .option("--report <file>", "write the report as a text that stands for itself")
    .option("--restore", "ask for readable copies of objects in a cold tier, and do no more", false)
    .option("--restore-days <n>", "how long the copies are to stay", parseCount, 7)
    .addHelpText("after", EXAMPLES)
    .action((options: AuditCommandOptions) =>
      run(async (context) => {
        const range = rangeOf(options);
        const electionId = context.election(options.election);
        const place = evidencePlace(options, context.profile);
        if (!place) throw new UsageError("name the evidence store with --evidence");
        if (options.workers > MAX_WORKERS) throw new UsageError(`--workers is at most ${MAX_WORKERS}`);
        if (options.restore) return restore(context, electionId, place, options.restoreDays);
        const { audit, circumstances } = await auditEvidence(context, { options, range, electionId, place });
        const { report: file } = options;
        if (file !== undefined) {
          await writeFile(file, auditText(audit, circumstances));
          terminal.say(`wrote the report to ${file}`);
        }
        context.show(auditJson(audit, circumstances), () => describeAudit(audit, circumstances).join("\n"));
        return exitCodeOfResult(audit.report);
      }),
    );
  addEvidenceOptions(audit, "the evidence store; the profile's unless given");

  async function auditEvidence(context: CliContext, { options, range, electionId, place }: Work) {
    const signal = stopSignal();
    const started = performance.now();
    const publicUrl = options.public === false ? undefined : (options.public ?? context.profile?.public);
    const retentionMode = place.s3 ? (options.retentionMode ?? place.s3.retention.mode) : undefined;
    const { logKey, eventKey, workers, resume } = options;
    const stateFolder = options.state ?? join(homeFolder(), "audits", electionId);
    let progress: Progress | undefined;
    let left: TimeLeft | undefined;
    let audit: Audit;
    {
      await using store = await openEvidence(place);
      const now = Date.now();
      const lock = retentionMode && { mode: retentionMode, now };
      await using checker = new SegmentPool({ workers, evidence: place, lock, eventKey });
      audit = await runAudit({
        electionId,
        place: describePlace(place),
        store,
        listVersions: store instanceof S3Store ? (prefix) => store.listVersions(prefix) : undefined,
        lock: lock && { ...lock, stat: (key, versionId) => store.stat(key, versionId) },
        checker,
        range,
        source: publicUrl === undefined ? undefined : httpSource(publicUrl, electionId),
        logKey,
        eventKey,
        stateFolder,
        resume,
        onProgress: (done, total) => {
          signal.throwIfAborted();
          progress ??= terminal.progress("auditing", total);
          left ??= new TimeLeft(done);
          progress.update(done, left.note(done, total));
        },
      }).finally(() => progress?.end());
    }
    const circumstances: AuditCircumstances = {
      electionId,
      place: describePlace(place),
      range,
      publicUrl,
      logKey,
      eventKey,
      retentionMode,
      workers,
      version: programVersion(),
      finishedAt: new Date().toISOString(),
      seconds: Math.round(performance.now() - started) / 1000,
    };
    return { audit, circumstances };
  }

  async function restore(
    context: CliContext,
    electionId: ElectionId,
    place: EvidenceConfig,
    days: number,
  ): Promise<ExitCode> {
    await using store = await openEvidence(place);
    if (!(store instanceof S3Store))
      throw new UsageError("a folder has no cold tier: there is nothing to restore");
    const signal = stopSignal();
    const counts = await restoreArchived({
      store,
      electionId,
      days,
      onProgress: () => signal.throwIfAborted(),
    });
    const waiting = counts.requested + counts.restoring;
    context.show(counts, () =>
      waiting === 0
        ? "nothing is archived: every object can be read"
        : `asked for ${formatCount(counts.requested)} copies, ${formatCount(counts.restoring)} were asked for before: they ` +
          "can be read some hours from now (Deep Archive: up to two days); then audit again",
    );
    return waiting === 0 ? ExitCode.ok : ExitCode.unavailable;
  }
}

interface Work {
  readonly options: AuditCommandOptions;
  readonly range: AuditRange;
  readonly electionId: ElectionId;
  readonly place: EvidenceConfig;
}

const MAX_WORKERS = 256;

function rangeOf({ full, since, checkpoint }: AuditCommandOptions): AuditRange {
  const named = [full, since, checkpoint].filter((option) => option !== undefined);
  if (named.length !== 1) throw new UsageError("say what to audit: one of --full, --since and --checkpoint");
  if (checkpoint !== undefined) return { first: checkpoint, last: checkpoint };
  return since === undefined ? WHOLE_LOG : { first: since, last: undefined };
}

import type { Command } from "commander";
import { decodeRecordMessage, decodeRun } from "../../audit/record-message.ts";
import { FormatError } from "../../ballot/format-error.ts";
import type { VoteRecord } from "../../ballot/record.ts";
import { grpcTls } from "../../config/fields.ts";
import type { ElectionId } from "../../core/ids.ts";
import { Differences, describeDifference } from "../../reconcile/difference.ts";
import { Reconciliation } from "../../reconcile/reconciliation.ts";
import type { ReadChain } from "../../reconcile/shard-rows.ts";
import { RecordStream } from "../../stream/record-stream.ts";
import { createLogger } from "../../telemetry/logger.ts";
import { EvidenceReader } from "../../verify/evidence-reader.ts";
import { httpSource } from "../../verify/http-source.ts";
import { VerificationReport } from "../../verify/report.ts";
import { openManifest, verifyEvidence } from "../../verify/verify-evidence.ts";
import { openPublicLog } from "../../verify/verify-public.ts";
import type { ObjectStore } from "../../worm/object-store.ts";
import { parseLogKey, parseUrl } from "../arguments.ts";
import type { Cli } from "../cli.ts";
import type { CliContext } from "../context.ts";
import { addEvidenceOptions, type EvidenceOptions, evidencePlace, openEvidence } from "../evidence.ts";
import { ExitCode, UnreachableError, UsageError } from "../exit-code.ts";
import { formatCount } from "../terminal.ts";
import { describeFindings, findingsJson } from "../verification.ts";
import { bar } from "./verify.ts";

interface ReconcileCommandOptions extends EvidenceOptions {
  readonly election?: string;
  /** false: --no-public. */
  readonly public?: string | false;
  readonly nats?: string;
  readonly logKey?: string;
}

const EXAMPLES = `
Examples:
  psephos reconcile                                       evidence = databases
  psephos reconcile --nats tls://localhost:4222           evidence = databases = what the stream still has
  psephos reconcile --json | jq '.differences[]'

The evidence is verified first, and is what is right: a difference is one of the database or of the stream. It is named by
shard, sequence, log index and vote checkpoint, never by voter or choice. Rows are read through ShardRouter, with the
auditor's identity; the stream, with the operator's.`;

export function reconcileCommand(program: Command, { run, terminal, stopSignal }: Cli): void {
  const reconcile = program
    .command("reconcile")
    .description(
      "compare the databases, and what the stream still has, with the evidence: every row changed, deleted, inserted or " +
        "moved (auditors)",
    )
    .option("--election <id>", "the profile's unless given")
    .option("--public <url>", "the public endpoint to compare with; the profile's unless given", parseUrl)
    .option("--no-public", "compare with nothing that is public")
    .option("--nats <url>", "also compare the stream, on tls://host:port; the profile's unless given")
    .option("--log-key <key>", "demand this verifier key instead of the one the manifest names", parseLogKey)
    .addHelpText("after", EXAMPLES)
    .action((options: ReconcileCommandOptions) =>
      run(async (context) => {
        const electionId = context.election(options.election);
        const found = await reconcileElection(context, electionId, options);
        context.show(reconciliationJson(electionId, found), () => describeReconciliation(found).join("\n"));
        return found.report.ok && found.differences.none ? ExitCode.ok : ExitCode.failed;
      }),
    );
  addEvidenceOptions(reconcile, "the evidence store; the profile's unless given");

  async function reconcileElection(
    context: CliContext,
    electionId: ElectionId,
    options: ReconcileCommandOptions,
  ): Promise<Reconciled> {
    const place = evidencePlace(options, context.profile);
    if (!place) throw new UsageError("name the evidence store with --evidence");
    const { logKey } = options;
    const signal = stopSignal();
    const report = new VerificationReport();
    const publicUrl = options.public === false ? undefined : (options.public ?? context.profile?.public);
    const source = publicUrl === undefined ? undefined : httpSource(publicUrl, electionId);
    const readChain = chainReader(context, electionId);
    await using resources = new AsyncDisposableStack();
    const nats = options.nats ?? context.profile?.nats;
    const stream = nats === undefined ? undefined : resources.use(await openStream(context, nats));
    const store = resources.use(await openEvidence(place));

    const signed = source && (await openPublicLog({ source, electionId, report, logKey }));
    if (!source) report.unchecked("that the public log is of this evidence");
    if (!stream) report.unchecked("the stream, which --nats names");
    const reconciliation = await reconciliationOf({ electionId, store, logKey, readChain, stream });
    const { update, end } = bar(terminal, "comparing", signal);
    // It says what is wrong with the evidence, whose word is good for nothing then.
    await verifyEvidence({
      store,
      electionId,
      report,
      logKey,
      known: signed && { size: signed.checkpoint.size, root: signed.checkpoint.root, fetch: source },
      onProgress: update,
      sink: {
        segment: async (_key, segment) => reconciliation?.take(segment),
        checkpoint: async () => {},
      },
    }).finally(end);
    await reconciliation?.finish();
    const late = reconciliation?.lateStreamRecords ?? 0;
    if (late > 0) report.unchecked(`${late} records that came again on the stream, out of their order`);
    return { report, differences: reconciliation?.differences ?? new Differences() };
  }
}

interface Reconciled {
  /** Of the evidence itself. */
  readonly report: VerificationReport;
  readonly differences: Differences;
}

interface ReconciliationParts {
  readonly electionId: ElectionId;
  readonly store: Pick<ObjectStore, "get">;
  readonly logKey: string | undefined;
  readonly readChain: ReadChain;
  readonly stream: RecordStream | undefined;
}

/** Undefined where there is no manifest: verifying the evidence says so. */
async function reconciliationOf(parts: ReconciliationParts): Promise<Reconciliation | undefined> {
  const { electionId, store, logKey, readChain, stream } = parts;
  const reader = new EvidenceReader({ store });
  const opened = await openManifest({ reader, electionId, report: new VerificationReport(), logKey });
  return opened && new Reconciliation({ ...opened, readChain, stream: stream && runsOf(stream, electionId) });
}

/** Reads rows through ShardRouter, with the auditor's identity of the profile. */
function chainReader(context: CliContext, electionId: ElectionId): ReadChain {
  const router = context.shards("auditor");
  return async function* (shard, first, limit) {
    const request = { electionId, shard, firstSequence: BigInt(first), limit: BigInt(limit) };
    for await (const { run } of router.readChain(request)) if (run) yield decodeRun(run);
  };
}

async function openStream(context: CliContext, url: string): Promise<RecordStream> {
  const { operator } = context.setting("identities");
  if (!operator)
    throw new UsageError('the profile has no identity of kind "operator", which reads the stream');
  const trustDomain = context.setting("trust_domain");
  const tls = { ...grpcTls(operator), serverId: `spiffe://${trustDomain}/service/nats` };
  const logger = createLogger({ service: "psephos", level: "silent" });
  let stream: RecordStream;
  try {
    stream = await RecordStream.connect({ servers: [url], tls, name: "psephos", replicas: 1, logger });
  } catch (error) {
    throw error instanceof RangeError ? new UsageError(error.message, { cause: error }) : error;
  }
  if (stream.connected) return stream;
  await stream[Symbol.asyncDispose]();
  throw new UnreachableError(
    `the stream at ${url} cannot be reached, or does not know the operator's identity`,
  );
}

async function* runsOf(
  stream: RecordStream,
  electionId: ElectionId,
): AsyncGenerator<readonly (readonly VoteRecord[])[], void, undefined> {
  for await (const message of stream.retained(electionId)) {
    try {
      yield decodeRecordMessage(message).runs;
    } catch (error) {
      // AuditService parks these: nobody takes them for records.
      if (!(error instanceof FormatError)) throw error;
    }
  }
}

function reconciliationJson(election: ElectionId, { report, differences }: Reconciled): object {
  const { list, more, compared } = differences;
  return {
    result: report.ok && differences.none ? "ok" : "failed",
    election,
    compared: {
      sealed_records: compared.sealed,
      rows: compared.rows,
      stream_messages: compared.streamMessages,
      stream_records: compared.streamRecords,
    },
    differences: list.map((found) => ({
      kind: found.kind,
      shard: found.shard,
      sequence: found.sequence,
      last_sequence: found.lastSequence ?? found.sequence,
      index: found.index,
      checkpoint: found.checkpoint,
      problem: found.problem,
    })),
    more_differences: more,
    evidence: findingsJson(report),
  };
}

function describeReconciliation({ report, differences }: Reconciled): string[] {
  const { list, more, compared } = differences;
  const lines = [
    ...describeFindings(report),
    `compared: ${formatCount(compared.sealed)} sealed records with ${formatCount(compared.rows)} rows`,
  ];
  if (compared.streamMessages > 0) {
    const { streamRecords, streamMessages } = compared;
    lines.push(
      `compared: ${formatCount(streamRecords)} records in ${formatCount(streamMessages)} messages on the stream`,
    );
  }
  for (const found of list) lines.push(`DIFFERENCE ${describeDifference(found)}`);
  if (more > 0) lines.push(`and ${formatCount(more)} more differences`);
  if (!report.ok) lines.push("result: FAILED, the evidence itself does not verify: nothing follows from it");
  else if (differences.none) lines.push("result: ok");
  else lines.push(`result: FAILED, ${formatCount(list.length + more)} differences from the evidence`);
  return lines;
}

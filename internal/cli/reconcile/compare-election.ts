// Verifies an election's evidence, and compares the databases and the stream with it on the way.
import { decodeRecordMessage, decodeRun } from "../../audit/record-message.ts";
import { FormatError } from "../../ballot/format-error.ts";
import type { VoteRecord } from "../../ballot/record.ts";
import { grpcTls } from "../../config/fields.ts";
import { loadConfig } from "../../config/load-config.ts";
import type { ElectionId } from "../../core/ids.ts";
import { readBrokenGuards } from "../../postgres/schema-guards.ts";
import { Differences } from "../../reconcile/difference.ts";
import { Reconciliation } from "../../reconcile/reconciliation.ts";
import type { Repair } from "../../reconcile/repair.ts";
import type { ReadChain } from "../../reconcile/shard-rows.ts";
import { type ShardRouterConfig, shardRouterConfig } from "../../shard/config.ts";
import { RecordStream } from "../../stream/record-stream.ts";
import { createLogger } from "../../telemetry/logger.ts";
import { EvidenceReader } from "../../verify/evidence-reader.ts";
import { httpSource } from "../../verify/http-source.ts";
import { VerificationReport } from "../../verify/report.ts";
import { type OpenedManifest, openManifest, verifyEvidence } from "../../verify/verify-evidence.ts";
import { openPublicLog } from "../../verify/verify-public.ts";
import type { CliContext } from "../context.ts";
import { type EvidenceOptions, evidencePlace, openEvidence } from "../evidence.ts";
import { UnreachableError, UsageError } from "../exit-code.ts";
import { bar } from "../progress-bar.ts";
import { configOf } from "../restore-setup.ts";

export interface CompareOptions extends EvidenceOptions {
  /** false: --no-public. */
  readonly public?: string | false;
  readonly nats?: string;
  readonly logKey?: string;
  /** ShardRouter's configuration: it names the databases whose rules are to be compared with the migrations'. */
  readonly shardRouter?: string;
}

/** Begins a repair from the evidence of the first so many entries of the log. */
export type BeginRepair = (opened: OpenedManifest, size: number) => Repair;

export interface BrokenGuard {
  readonly instance: string;
  readonly guard: string;
}

export interface ComparedElection {
  /** Of the evidence itself. */
  readonly report: VerificationReport;
  readonly differences: Differences;
  /** Constraints and triggers of the databases that are not as the migrations made them. */
  readonly guards: readonly BrokenGuard[];
  /** Undefined where there is no manifest: the report says so. */
  readonly reconciliation: Reconciliation | undefined;
  /** Knows what is damaged, if it was begun. */
  readonly repair: Repair | undefined;
}

/** Where the public log is; undefined when nothing public is to be compared with. */
export function publicUrl(context: CliContext, options: CompareOptions): string | undefined {
  return options.public === false ? undefined : (options.public ?? context.profile?.public);
}

export async function compareElection(
  context: CliContext,
  electionId: ElectionId,
  options: CompareOptions,
  { signal, beginRepair }: { readonly signal: AbortSignal; readonly beginRepair?: BeginRepair | undefined },
): Promise<ComparedElection> {
  const place = evidencePlace(options, context.profile);
  if (!place) throw new UsageError("name the evidence store with --evidence");
  const { logKey, shardRouter } = options;
  const report = new VerificationReport();
  const url = publicUrl(context, options);
  const source = url === undefined ? undefined : httpSource(url, electionId);
  const readChain = chainReader(context, electionId);
  await using resources = new AsyncDisposableStack();
  const nats = options.nats ?? context.profile?.nats;
  const stream = nats === undefined ? undefined : resources.use(await openStream(context, nats));
  const store = resources.use(await openEvidence(place));

  const signed = source && (await openPublicLog({ source, electionId, report, logKey }));
  if (!source) report.unchecked("that the public log is of this evidence");
  if (!stream) report.unchecked("the stream, which --nats names");
  const guards = shardRouter === undefined ? undefined : await readGuards(shardRouter);
  if (!guards) report.unchecked("the databases' constraints and triggers, which --shard-router names");
  // Where there is no manifest, verifying the evidence says so.
  const reader = new EvidenceReader({ store });
  const opened = await openManifest({ reader, electionId, report: new VerificationReport() });
  // A public log that cannot be read is a problem in the report. Then nothing is repaired.
  const size = source ? (signed?.checkpoint.size ?? 0) : Number.POSITIVE_INFINITY;
  const repair = opened && beginRepair?.(opened, size);
  const runs = stream && runsOf(stream, electionId);
  const onDamaged = repair && ((damaged: Parameters<Repair["damaged"]>[0]) => repair.damaged(damaged));
  const reconciliation = opened && new Reconciliation({ ...opened, readChain, stream: runs, onDamaged });
  const { update, end } = bar(context.terminal, "comparing", signal);
  // It says what is wrong with the evidence, whose word is good for nothing then.
  await verifyEvidence({
    store,
    electionId,
    report,
    logKey,
    known: signed && { size: signed.checkpoint.size, root: signed.checkpoint.root, fetch: source },
    onProgress: update,
    sink: {
      segment: async (_key, segment) => {
        repair?.take(segment);
        await reconciliation?.take(segment);
      },
      checkpoint: async () => {},
    },
  }).finally(end);
  await reconciliation?.finish();
  const late = reconciliation?.lateStreamRecords ?? 0;
  if (late > 0) report.unchecked(`${late} records that came again on the stream, out of their order`);
  const differences = reconciliation?.differences ?? new Differences();
  return { report, differences, guards: guards ?? [], reconciliation, repair };
}

/** What nobody misses until it would have refused something. */
async function readGuards(file: string): Promise<BrokenGuard[]> {
  const { placement } = configOf<ShardRouterConfig>(() => loadConfig(shardRouterConfig, file));
  const found = placement.instances.map(async ({ migrate_tls: _, ...connection }) => {
    const guards = await readBrokenGuards(connection);
    return guards.map((guard) => ({ instance: connection.name, guard }));
  });
  return (await Promise.all(found)).flat();
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

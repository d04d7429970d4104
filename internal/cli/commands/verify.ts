import type { Command } from "commander";
import { decodeRun } from "../../audit/record-message.ts";
import { encodeManifest } from "../../ballot/manifest.ts";
import type { VoteRecord } from "../../ballot/record.ts";
import type { EvidenceConfig } from "../../config/evidence.ts";
import type { ElectionId, ShardId } from "../../core/ids.ts";
import { sha256 } from "../../core/sha256.ts";
import { httpSource } from "../../verify/http-source.ts";
import { VerificationReport } from "../../verify/report.ts";
import { type EvidenceSink, type VerifiedEvidence, verifyEvidence } from "../../verify/verify-evidence.ts";
import { type VerifiedLog, verifyPublicLog } from "../../verify/verify-public.ts";
import { verifyShards } from "../../verify/verify-shards.ts";
import { parseLogKey, parseUrl } from "../arguments.ts";
import type { Cli } from "../cli.ts";
import type { CliContext } from "../context.ts";
import {
  addEvidenceOptions,
  type EvidenceOptions,
  evidencePlace,
  namesPlace,
  openEvidence,
} from "../evidence.ts";
import { bar } from "../progress-bar.ts";
import { readPublished } from "../published.ts";
import type { Terminal } from "../terminal.ts";
import {
  describeVerification,
  exitCodeOfResult,
  type Verification,
  verificationJson,
} from "../verification.ts";
import { verifyPromiseCommand } from "./verify-promise.ts";
import { verifyReceiptCommand } from "./verify-receipt.ts";

interface VerifyCommandOptions extends EvidenceOptions {
  readonly election?: string;
  readonly public?: string;
  readonly databases: boolean;
  readonly logKey?: string;
  readonly eventKey?: string;
}

export function verifyCommand(program: Command, cli: Cli): void {
  const { run, terminal } = cli;
  const verify = program
    .command("verify")
    .description(
      "check an election from outside: every note, tile, entry, record and chain. Of what is public, the evidence " +
        "store and the databases, it checks those that are named, and that they agree; unless any is named, the " +
        "public log and the evidence of the profile",
    )
    .option("--election <id>", "the profile's unless given")
    .option("--public <url>", "the public endpoint, such as https://host:port", parseUrl)
    .option("--databases", "also read every chain from the shards' databases (auditors)", false)
    .option("--log-key <key>", "demand this verifier key instead of the one the manifest names", parseLogKey)
    .option("--event-key <key>", "demand that this verifier key signed the log's events", parseLogKey)
    .action((options: VerifyCommandOptions) =>
      run(async (context) => {
        const electionId = context.election(options.election);
        const named = options.public !== undefined || namesPlace(options);
        const verification = await verifyElection(terminal, {
          electionId,
          publicUrl: named ? options.public : context.setting("public"),
          evidence: named && !namesPlace(options) ? undefined : evidencePlace(options, context.profile),
          readChain: options.databases ? chainReader(context, electionId) : undefined,
          logKey: options.logKey,
          eventKey: options.eventKey,
        });
        context.show(verificationJson(verification), () => describeVerification(verification).join("\n"));
        return exitCodeOfResult(verification.report);
      }),
    );
  addEvidenceOptions(verify);
  verifyReceiptCommand(verify, cli);
  verifyPromiseCommand(verify, cli);
}

export interface VerifyOptions {
  readonly electionId: ElectionId;
  /** The public endpoint's address. */
  readonly publicUrl?: string | undefined;
  readonly evidence?: EvidenceConfig | undefined;
  /** Reads the shards' databases through ShardRouter; needs an auditor's identity. */
  readonly readChain?: ((shard: ShardId) => AsyncIterable<readonly VoteRecord[]>) | undefined;
  readonly logKey?: string | undefined;
  readonly eventKey?: string | undefined;
  /** Of the public log, read what is signed, and leave the verification of its tiles to others. */
  readonly checkpointOnly?: boolean;
  /** Count the votes as they stood at this moment. */
  readonly asOf?: number | undefined;
  /** Takes the evidence, of which the public log has `publicSize` entries, where that was read. */
  readonly sink?: ((publicSize: number | undefined) => EvidenceSink) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Verifies whichever of the public log, the evidence and the databases are named, and that they agree. */
export async function verifyElection(terminal: Terminal, options: VerifyOptions): Promise<Verification> {
  const { electionId, publicUrl, evidence: place, readChain, logKey, eventKey, asOf, signal } = options;
  const report = new VerificationReport();

  const source = publicUrl === undefined ? undefined : httpSource(publicUrl, electionId);
  let log: Pick<VerifiedLog, "manifest" | "checkpoint" | "closing"> | undefined;
  if (source && options.checkpointOnly) {
    const published = await readPublished(source, electionId, logKey);
    log = published && { ...published, closing: undefined };
    report.unchecked(
      published ? "the public log's tiles" : "the public log, of which nothing is published yet",
    );
  } else if (source) {
    const { update, end } = bar(terminal, "verifying the public log", signal);
    log = await verifyPublicLog({ source, electionId, report, logKey, onProgress: update });
    end();
  } else {
    report.unchecked("the public log");
  }

  let evidence: VerifiedEvidence | undefined;
  if (place) {
    await using store = await openEvidence(place);
    const { update, end } = bar(terminal, "verifying the evidence", signal);
    const known = log && { size: log.checkpoint.size, root: log.checkpoint.root, fetch: source };
    evidence = await verifyEvidence({
      store,
      electionId,
      report,
      logKey,
      eventKey,
      known,
      asOf,
      sink: options.sink?.(log?.checkpoint.size),
      onProgress: update,
    });
    end();
  } else {
    report.unchecked("the evidence store: records, chains, and that each voter counts once");
  }

  const manifest = evidence?.manifest ?? log?.manifest;
  if (readChain && manifest) {
    const closing = evidence?.closing ?? log?.closing;
    await verifyShards({
      readChain,
      shards: manifest.shards,
      manifestHash: sha256(encodeManifest(manifest)),
      sealedHeads: evidence?.shardHeads ?? closing?.shardHeads,
      closed: closing !== undefined,
      report,
    });
  } else {
    report.unchecked("the shards' databases, which --databases reads");
  }
  return { report, log, evidence };
}

/** Reads chains through ShardRouter, with the auditor's identity of the profile. */
function chainReader(context: CliContext, electionId: ElectionId) {
  const router = context.shards("auditor");
  return async function* (shard: ShardId): AsyncGenerator<readonly VoteRecord[], void, undefined> {
    for await (const { run } of router.readChain({ electionId, shard, firstSequence: 1n, limit: 0n })) {
      if (run) yield decodeRun(run);
    }
  };
}

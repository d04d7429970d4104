import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Command, Option } from "commander";
import { messageOf } from "../../core/errors.ts";
import type { ElectionId } from "../../core/ids.ts";
import { firstIndexOf } from "../../evidence/layout.ts";
import type { Cut, EvidenceDatabase } from "../../query/evidence-database.ts";
import { parseCount, parseLogKey, parseTime, parseUrl } from "../arguments.ts";
import type { Cli } from "../cli.ts";
import type { CliContext } from "../context.ts";
import { addEvidenceOptions, type EvidenceOptions, evidencePlace, namesPlace } from "../evidence.ts";
import { ExitCode, UnreachableError, UsageError } from "../exit-code.ts";
import { printRows } from "../print-rows.ts";
import { formatCount, type Terminal } from "../terminal.ts";
import { describeVerification, type Verification, verificationJson } from "../verification.ts";
import { verifyElection } from "./verify.ts";

interface QueryOptions extends EvidenceOptions {
  readonly election?: string;
  readonly asOf?: number;
  readonly checkpoint?: number;
  readonly public?: string;
  readonly logKey?: string;
  readonly eventKey?: string;
  readonly csv: boolean;
}

const HELP = `
Views (times are UTC; bytes are hex but for choice, which is sealed):
  votes        log_index, vote_id, shard, sequence, voter, revision, choice, cast_at, hash, segment
  checkpoints  number, first_index, tree_size, tree_root, segments, bytes, retained_until, last_vote_id,
               last_record_hash, note
  events       log_index, kind, happened_at, details, note, segment

All evidence is verified before anything is shown: with the public checkpoint, that it leads to the signed root, and
then only what is signed is in the views. It takes as long as psephos verify. --json writes an object a line.

Examples:
  Turnout a minute:
    psephos query "SELECT date_trunc('minute', cast_at) AS minute, count(*) AS votes FROM votes GROUP BY 1 ORDER BY 1"
  A shard's history:
    psephos query "SELECT sequence, cast_at, voter, hash FROM votes WHERE shard = 3 ORDER BY sequence"
  The revisions of one pseudonym:
    psephos query "SELECT revision, cast_at, log_index FROM votes WHERE voter = '58d0e7f5…' ORDER BY revision"
  The state at a moment (of each voter the last vote that was cast by then):
    psephos query --as-of 2026-11-03T20:00:00Z \\
      "SELECT shard, count(*) AS votes, count(DISTINCT voter) AS voters FROM votes GROUP BY shard ORDER BY shard"
  The log as it was at a vote checkpoint:
    psephos query --checkpoint 12 "SELECT max(cast_at) FROM votes"`;

export function queryCommand(program: Command, cli: Cli): void {
  const command = program
    .command("query")
    .description("ask the verified evidence of an election in SQL (auditors)")
    .argument("<sql>", "one statement of DuckDB's SQL that only reads")
    .option("--election <id>", "the profile's unless given")
    .addOption(
      new Option("--as-of <time>", "what was there at that moment, ISO 8601")
        .argParser(parseTime)
        .conflicts("checkpoint"),
    )
    .option("--checkpoint <number>", "the log as it was at that vote checkpoint", parseCount)
    .option("--public <url>", "the public endpoint, such as https://host:port", parseUrl)
    .option("--log-key <key>", "demand this verifier key instead of the one the manifest names", parseLogKey)
    .option("--event-key <key>", "demand that this verifier key signed the log's events", parseLogKey)
    .option("--csv", "comma-separated values (RFC 4180) with a header", false)
    .addHelpText("after", HELP)
    .action((sql: string, options: QueryOptions) =>
      cli.run((context) => query(context, cli.stopSignal(), sql, options)),
    );
  addEvidenceOptions(command, "the evidence store; with it alone, no public endpoint is asked");
}

async function query(
  context: CliContext,
  signal: AbortSignal,
  sql: string,
  options: QueryOptions,
): Promise<ExitCode> {
  const { terminal } = context;
  if (options.csv && context.json) throw new UsageError("either --csv or --json");
  const electionId = context.election(options.election);
  await using folder = await temporaryFolder();
  await using database = await openDatabase(folder.path);
  await database.check(sql);

  const verification = await verifyInto(database, context, electionId, options, signal);
  const { report, evidence } = verification;
  if (!report.ok || !evidence) return refuse(context, verification);
  requireCheckpoint(options.checkpoint, database.newestCheckpoint);
  describeChecked(terminal, verification);

  await using session = await database.finish();
  const interrupt = () => session.interrupt();
  signal.addEventListener("abort", interrupt);
  try {
    signal.throwIfAborted();
    const format = options.csv ? "csv" : context.json ? "json" : "table";
    const rows = await printRows(terminal, await session.query(sql), format);
    terminal.say(`${formatCount(rows)} row${rows === 1 ? "" : "s"}`);
    return ExitCode.ok;
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  } finally {
    signal.removeEventListener("abort", interrupt);
  }
}

/** The native library, 70 MB, is loaded when it is needed, and is missing where DuckDB has none for the machine. */
async function openDatabase(folder: string): Promise<EvidenceDatabase> {
  const { EvidenceDatabase } = await import("../../query/evidence-database.ts").catch((error) => {
    throw new UnreachableError(`DuckDB cannot be loaded on this machine: ${messageOf(error)}`, {
      cause: error,
    });
  });
  return await EvidenceDatabase.create({ folder });
}

/** Reads all evidence into the database, as far as the query may see it, while it is verified. */
async function verifyInto(
  database: EvidenceDatabase,
  context: CliContext,
  electionId: ElectionId,
  options: QueryOptions,
  signal: AbortSignal,
): Promise<Verification> {
  const named = options.public !== undefined || namesPlace(options);
  const verification = await verifyElection(context.terminal, {
    electionId,
    publicUrl: named ? options.public : context.profile?.public,
    evidence: evidencePlace(options, context.profile) ?? context.setting("evidence"),
    checkpointOnly: true,
    logKey: options.logKey,
    eventKey: options.eventKey,
    sink: (publicSize) => {
      const cut = cutOf(options, publicSize);
      return {
        segment: (key, segment) => database.addSegment(key, segment, cut),
        checkpoint: (checkpoint) => database.addCheckpoint(checkpoint, cut),
      };
    },
    signal,
  });
  const { report, evidence } = verification;
  if (report.ok && evidence) {
    for (const { problem, ...place } of await database.ruleBreakers(evidence.manifest.revoting)) {
      report.problem(place, problem);
    }
  }
  return verification;
}

/** What nobody has signed yet is not shown where it is known what is signed. */
function cutOf({ asOf, checkpoint }: QueryOptions, publicSize = Number.POSITIVE_INFINITY): Cut {
  const end = checkpoint === undefined ? Number.POSITIVE_INFINITY : firstIndexOf(checkpoint + 1);
  return { size: Math.min(publicSize, end), asOf };
}

function requireCheckpoint(number: number | undefined, newest: number): void {
  if (number === undefined || number === newest) return;
  const others = newest === 0 ? "there is none yet" : `the newest is ${newest}`;
  throw new UsageError(`there is no vote checkpoint ${number}: ${others}`);
}

function refuse(context: CliContext, verification: Verification): ExitCode {
  for (const line of describeVerification(verification)) context.terminal.say(line);
  context.terminal.say("nothing is shown: the evidence does not verify");
  if (context.json) context.show(verificationJson(verification), () => "");
  return ExitCode.failed;
}

/** What the rows rest on, and what they do not. */
function describeChecked(terminal: Terminal, { report, log, evidence }: Verification): void {
  const signed = log ? `, of which ${formatCount(log.checkpoint.size)} are signed and public` : "";
  terminal.say(`verified ${formatCount(evidence?.treeSize ?? 0)} log entries${signed}`);
  for (const what of report.notChecked) terminal.say(`not checked: ${what}`);
}

/** Closed to all others: pseudonyms and sealed votes are in it. */
async function temporaryFolder(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), "psephos-query-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

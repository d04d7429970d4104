import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline/promises";
import type { Command } from "commander";
import { type AuditServiceConfig, auditServiceConfig } from "../../audit/config.ts";
import { ConfigError, loadConfig } from "../../config/load-config.ts";
import { systemClock } from "../../core/clock.ts";
import { messageOf } from "../../core/errors.ts";
import { type ElectionId, isElectionId } from "../../core/ids.ts";
import { PostgresRestoreInstance } from "../../postgres/restore-instance.ts";
import { type PublisherConfig, publisherConfig } from "../../publisher/config.ts";
import { DirectoryLockedError } from "../../publisher/directory-lock.ts";
import { DurableFiles } from "../../publisher/durable-files.ts";
import { electionsIn } from "../../restore/election-evidence.ts";
import { RestoreRefusedError } from "../../restore/errors.ts";
import type { PublisherDirectories } from "../../restore/publisher-files.ts";
import {
  type ElectionPlan,
  type ElectionToRestore,
  type RestoredElection,
  type RestoreResult,
  restore,
} from "../../restore/restore.ts";
import { type ShardRouterConfig, shardRouterConfig } from "../../shard/config.ts";
import { placeShards } from "../../shard/placement.ts";
import { createLogger } from "../../telemetry/logger.ts";
import { NoteVerifier } from "../../tlog/note-verifier.ts";
import { httpSource } from "../../verify/http-source.ts";
import { DirectoryStore } from "../../worm/directory-store.ts";
import { parseLogKey } from "../arguments.ts";
import type { Cli } from "../cli.ts";
import type { CliContext } from "../context.ts";
import { CheckFailedError, UnreachableError, UsageError } from "../exit-code.ts";
import { formatCount, formatTable, type Progress, type Terminal } from "../terminal.ts";
import { TimeLeft } from "../time-left.ts";
import { describeProblem } from "../verification.ts";

interface RestoreCommandOptions {
  readonly shardRouter: string;
  readonly auditService: string;
  readonly publisher?: string;
  readonly election?: readonly string[];
  readonly public?: string;
  readonly checkpoint?: readonly string[];
  readonly withoutCheckpoint: boolean;
  readonly logKey?: readonly string[];
  readonly yes: boolean;
}

const EXAMPLES = `
Examples:
  # Every database is lost. The Publisher's folders are there, so its public folder has the last checkpoint.
  psephos restore --shard-router shard-router.json --audit-service audit-service.json --publisher publisher.json

  # The same, with the checkpoint from where somebody mirrors it.
  psephos restore --shard-router shard-router.json --audit-service audit-service.json --public https://mirror.example

  # One election, with a checkpoint that was kept, by a program.
  psephos restore --shard-router shard-router.json --audit-service audit-service.json \\
    --election vermont-2020 --checkpoint vermont-2020.checkpoint --yes --json

The shard-router.json says in "migrate_tls" of each instance how to connect as psephos_owner. Stop the services first: while
this runs, and until it was run to its end, they cannot connect to the databases. It can be run again after a crash at any
point. docs/operations.md, "Recovery", says what it brings back and what it cannot.`;

export function restoreCommand(program: Command, { run, terminal, stopSignal }: Cli): void {
  program
    .command("restore")
    .description(
      "rebuild every database and the tile store from the evidence store, when they are lost; the election goes on where " +
        "the evidence ends (operators)",
    )
    .requiredOption(
      "--shard-router <file>",
      "ShardRouter's configuration: the instances and the placement of shards",
    )
    .requiredOption(
      "--audit-service <file>",
      "AuditService's configuration: the evidence store and the tile store",
    )
    .option("--publisher <file>", "the Publisher's configuration: make again what is gone of its files")
    .option("--election <id...>", "only these; every one in the evidence store unless given")
    .option(
      "--public <url or folder>",
      "where the last public checkpoints are; the Publisher's or the profile's unless given",
    )
    .option("--checkpoint <file...>", "the last public checkpoint of an election, as a file")
    .option("--without-checkpoint", "go on although nothing shows that the evidence is complete", false)
    .option("--log-key <key...>", "demand this verifier key of the election that it names", collectLogKey)
    .option("--yes", "do not ask before writing", false)
    .addHelpText("after", EXAMPLES)
    .action((options: RestoreCommandOptions) =>
      run(async (context) => {
        if (!options.yes && !process.stdin.isTTY) {
          throw new UsageError("there is no terminal to ask on: say --yes to write into the databases");
        }
        const signal = stopSignal();
        await using resources = new AsyncDisposableStack();
        const setup = await prepare(context, options, resources);
        const bars = progressBars(terminal);
        try {
          const result = await restore({
            ...setup,
            clock: systemClock,
            signal,
            progress: bars,
            confirm: async (plans) => {
              bars.end();
              for (const line of plans.flatMap(describePlan)) terminal.say(line);
              return options.yes || ask(signal);
            },
          });
          bars.end();
          if (!result) throw new UsageError("nothing was written");
          return context.show(resultJson(result), () => describeResult(result));
        } catch (error) {
          bars.end();
          throw explained(error, terminal);
        }
      }),
    );
}

async function prepare(context: CliContext, options: RestoreCommandOptions, resources: AsyncDisposableStack) {
  const router = configOf<ShardRouterConfig>(() => loadConfig(shardRouterConfig, options.shardRouter));
  const audit = configOf<AuditServiceConfig>(() => loadConfig(auditServiceConfig, options.auditService));
  const { publisher: publisherFile } = options;
  const publisher =
    publisherFile === undefined
      ? undefined
      : configOf<PublisherConfig>(() => loadConfig(publisherConfig, publisherFile));

  const logger = createLogger({ service: "psephos", level: "silent" });
  const { instances: servers, shards: map } = router.placement;
  const instances = new Map(
    servers.map(({ migrate_tls: tls, ...server }) => {
      if (!tls) {
        throw new UsageError(
          `${options.shardRouter} has no "migrate_tls" for the instance ${server.name}: the certificate of psephos_owner`,
        );
      }
      const instance = new PostgresRestoreInstance({ connection: { ...server, tls }, logger });
      return [server.name, resources.use(instance)] as const;
    }),
  );
  const place = (shards: number) =>
    placeShards(shards, [...instances.keys()], map).map((name, shard) => {
      if (name !== undefined) return name;
      throw new UsageError(`${options.shardRouter} has no instance for shard ${shard}`);
    });

  await requireFolder(audit.evidence.directory);
  const evidence = new DirectoryStore({
    directory: audit.evidence.directory,
    retention: { days: audit.evidence.retention_days },
  });
  const tiles = new DirectoryStore({ directory: audit.tiles.directory });
  const ids = options.election?.map((id) => context.election(id)) ?? (await electionsIn(evidence));
  if (ids.length === 0) throw new UsageError(`there is no election in ${audit.evidence.directory}`);
  const elections = await withCheckpoints(context, options, ids, publisher?.public_directory);
  const directories = publisher && (await openDirectories(publisher, resources));
  return { elections, evidence, tiles, instances, place, publisher: directories };
}

function configOf<T>(load: () => T): T {
  try {
    return load();
  } catch (error) {
    throw error instanceof ConfigError ? new UsageError(error.message, { cause: error }) : error;
  }
}

async function requireFolder(path: string): Promise<void> {
  const found = await stat(path).catch(() => undefined);
  if (!found?.isDirectory()) throw new UnreachableError(`there is no evidence store in ${path}`);
}

async function openDirectories(
  config: PublisherConfig,
  resources: AsyncDisposableStack,
): Promise<PublisherDirectories> {
  try {
    const state = resources.use(await DurableFiles.open({ root: config.state_directory }));
    const publicFiles = resources.use(await DurableFiles.open({ root: config.public_directory }));
    return { state, publicFiles };
  } catch (error) {
    if (!(error instanceof DirectoryLockedError)) throw error;
    throw new UsageError(`the Publisher is running: stop it first (${error.message})`, { cause: error });
  }
}

/** Finds the last public checkpoint of each election. Throws a UsageError when there is none and nobody said to do without. */
async function withCheckpoints(
  context: CliContext,
  options: RestoreCommandOptions,
  ids: readonly ElectionId[],
  publicDirectory: string | undefined,
): Promise<ElectionToRestore[]> {
  const files = new Map(await Promise.all((options.checkpoint ?? []).map(readCheckpoint)));
  for (const id of files.keys()) {
    if (!ids.includes(id))
      throw new UsageError(`there is a --checkpoint of ${id}, which is not to be restored`);
  }
  const logKeys = new Map(options.logKey?.map((key) => [electionOf(NoteVerifier.parse(key).name), key]));
  const place = options.public ?? publicDirectory ?? context.profile?.public;
  const elections = await Promise.all(
    ids.map(async (electionId) => ({
      electionId,
      checkpoint:
        files.get(electionId) ??
        // Neither was named: what is usual is not asked where somebody said to do without.
        (place === undefined ||
        (options.withoutCheckpoint && options.public === undefined && !publicDirectory)
          ? undefined
          : await publicCheckpoint(place, electionId)),
      logKey: logKeys.get(electionId),
    })),
  );
  const without = elections.filter(({ checkpoint }) => !checkpoint).map(({ electionId }) => electionId);
  if (without.length > 0 && !options.withoutCheckpoint) {
    throw new UsageError(
      `there is no public checkpoint of ${without.join(", ")}, so nothing shows that the evidence is complete: name one ` +
        "with --checkpoint or --public, or say --without-checkpoint",
    );
  }
  return elections;
}

/** A checkpoint names its log in its first line, and the log its election: `<log prefix>/<election>`. */
async function readCheckpoint(file: string): Promise<[ElectionId, Uint8Array]> {
  const note = await readFile(file).catch((error) => {
    throw new UsageError(`${file}: ${messageOf(error)}`, { cause: error });
  });
  const [origin = ""] = note.toString("utf8").split("\n", 1);
  const id = electionOf(origin);
  if (!id) throw new UsageError(`${file} is not a checkpoint of an election`);
  return [id, note];
}

function electionOf(origin: string): ElectionId | undefined {
  const id = origin.slice(origin.lastIndexOf("/") + 1);
  return isElectionId(id) ? id : undefined;
}

async function publicCheckpoint(place: string, id: ElectionId): Promise<Uint8Array | undefined> {
  if (URL.canParse(place)) return httpSource(place, id)("checkpoint");
  try {
    return await readFile(join(place, id, "checkpoint"));
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}

function collectLogKey(text: string, keys: readonly string[] = []): string[] {
  return [...keys, parseLogKey(text)];
}

function progressBars(terminal: Terminal) {
  let bar: { readonly label: string; readonly progress: Progress; readonly left: TimeLeft } | undefined;
  const end = () => {
    bar?.progress.end();
    bar = undefined;
  };
  const update = (label: string, done: number, total: number) => {
    if (bar?.label !== label) {
      end();
      bar = { label, progress: terminal.progress(label, total), left: new TimeLeft() };
    }
    bar.progress.update(done, bar.left.note(done, total));
  };
  return {
    verified: (done: number, total: number) => update("verifying the evidence", done, total),
    loaded: (done: number, total: number) => update("writing the databases", done, total),
    indexing: () => {
      end();
      terminal.say("indexing what was written …");
    },
    end,
  };
}

function describePlan({ evidence, log, target, checkpoint, publisher }: ElectionPlan): string[] {
  const { electionId } = evidence;
  const votes = log.heads.reduce((sum, { sequence }) => sum + sequence, 0);
  const there = log.heads.reduce((sum, { shard }) => sum + target.recordsOf(shard), 0);
  const lines = [
    `${electionId}: ${formatCount(votes)} votes in ${formatCount(log.size)} log entries verify; the election is ` +
      `${log.closed ? "closed" : "not closed"}`,
    checkpoint
      ? `${electionId}: the evidence has all ${formatCount(checkpoint.size)} entries of the public checkpoint`
      : `${electionId}: NOT CHECKED against any public checkpoint: nothing shows that the evidence is complete`,
  ];
  if (there > 0)
    lines.push(`${electionId}: the databases have ${formatCount(there)} of these votes, the same ones`);
  if (target.unsealed > 0) {
    lines.push(`${electionId}: they have ${formatCount(target.unsealed)} more, not sealed yet, which stay`);
  }
  if (publisher) lines.push(`${electionId}: files of the Publisher are made again`);
  return lines;
}

async function ask(signal: AbortSignal): Promise<boolean> {
  const prompt = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return (await prompt.question("Write this into the databases? yes/no ", { signal })).trim() === "yes";
  } finally {
    prompt.close();
  }
}

function resultJson(result: RestoreResult): object {
  const { elections, verifySeconds, loadSeconds } = result;
  const seconds = verifySeconds + loadSeconds;
  return {
    elections: elections.map(electionJson),
    votes: votesOf(elections),
    seconds: round(seconds),
    verify_seconds: round(verifySeconds),
    load_seconds: round(loadSeconds),
    votes_per_second: Math.round(votesOf(elections) / seconds),
  };
}

function electionJson(one: RestoredElection): object {
  return {
    election_id: one.electionId,
    number: one.number,
    state: one.state,
    votes: one.votes,
    votes_written: one.written,
    unsealed_votes_found: one.unsealed,
    log_size: one.logSize,
    checkpoint_size: one.checkpointSize ?? null,
    newest_sealed: one.sealed,
    publisher_files: one.publisherFiles,
  };
}

function describeResult(result: RestoreResult): string {
  const { elections, verifySeconds, loadSeconds } = result;
  const seconds = verifySeconds + loadSeconds;
  const rows = elections.map(({ electionId, state, votes, logSize, sealed }) => [
    electionId,
    state,
    formatCount(votes),
    formatCount(logSize),
    sealed.join(" "),
  ]);
  return [
    formatTable(
      [["election", "state", "votes", "log entries", "newest sealed sequence of each shard"], ...rows],
      [2, 3],
    ),
    `${formatCount(votesOf(elections))} votes in ${seconds.toFixed(1)} s (verified in ${verifySeconds.toFixed(1)} s), ` +
      `${formatCount(Math.round(votesOf(elections) / seconds))} votes/s`,
    "Votes that were acknowledged after these sequences, and not sealed, are not here. An election that was closed after",
    'its last sealed vote is open again: close it. docs/operations.md, "Recovery".',
  ].join("\n");
}

function votesOf(elections: readonly RestoredElection[]): number {
  return elections.reduce((sum, { votes }) => sum + votes, 0);
}

function round(seconds: number): number {
  return Math.round(seconds * 10) / 10;
}

/** Says what is at fault, and gives the error its exit status. */
function explained(error: unknown, terminal: Terminal): unknown {
  if (!(error instanceof RestoreRefusedError)) return error;
  for (const problem of error.problems) terminal.say(`PROBLEM ${describeProblem(problem)}`);
  return new CheckFailedError(`${error.message}. Nothing was written`, { cause: error });
}

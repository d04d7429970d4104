import { readdir, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { type Command, Option } from "commander";
import { writeChosenStore } from "../../../deploy/local/chosen-store.ts";
import { S3_IMPLEMENTATIONS } from "../../../deploy/local/s3-binaries.ts";
import { LocalStack } from "../../../deploy/local/stack.ts";
import { FolderInUseError, StateFolder } from "../../../deploy/local/state-folder.ts";
import { aborted } from "../../core/aborted.ts";
import { EVIDENCE_LAYOUTS, type EvidenceLayout } from "../../evidence/layout.ts";
import { parseCount, parseUrl } from "../arguments.ts";
import type { Cli } from "../cli.ts";
import { CliContext } from "../context.ts";
import { DemoElection } from "../demo-election.ts";
import { type ExitCode, UsageError } from "../exit-code.ts";
import { DEFAULT_HOME, homeFolder, type Profile } from "../profile.ts";
import { runDemo } from "../run-demo.ts";
import { resolveStore, type StoreOptions, type StoreWish, storeWish } from "../start-store.ts";
import type { Terminal } from "../terminal.ts";

interface StartOptions extends StoreOptions {
  readonly home: string;
  readonly exit: boolean;
  readonly reset: boolean;
  readonly ballots?: number;
  readonly layout?: EvidenceLayout;
}

export function startCommand(program: Command, { run, terminal, stopSignal }: Cli): void {
  const start = program
    .command("start")
    .description(
      "run everything on this machine, and a real election through it: Vermont 2020, 370,968 ballots. Stays up until " +
        "Ctrl-C. A second start goes on with what is there",
    )
    .option("--home <folder>", "where the deployment keeps its state (or PSEPHOS_HOME)", homeFolder())
    .option("--exit", "stop when the election is counted, instead of staying up", false)
    .option("--ballots <number>", "cast only so many of them, for a quick look", parseCount)
    .option("--reset", "delete everything in the state folder first", false)
    .action((options: StartOptions) =>
      run(async ({ json }) => {
        const home = resolve(options.home);
        const wish = storeWish(options);
        if (options.reset) {
          await reset(home);
          terminal.say(`deleted everything in ${options.home}`);
        }
        return startHere({ ...options, home, json, terminal, wish, stop: stopSignal() });
      }),
    );
  for (const option of STORE_OPTIONS) start.addOption(option);
}

const STORE_OPTIONS = [
  new Option("--store <kind>", "where the evidence goes: a folder unless given, or S3").choices([
    "directory",
    "s3",
  ]),
  new Option("--s3-server <name>", "which S3 server to start; the first that can be had").choices(
    S3_IMPLEMENTATIONS,
  ),
  new Option(
    "--s3-endpoint <url>",
    "an S3 that runs, instead; credentials come from the AWS environment. What is stored there is locked for a day",
  ).argParser(parseUrl),
  new Option("--s3-bucket <name>", "its bucket, made where it is not there; psephos-evidence unless given"),
  new Option("--s3-ca <file>", "certificates to trust for it, instead of the usual ones"),
  new Option("--s3-region <region>", "its region; us-east-1 unless given"),
  new Option(
    "--layout <layout>",
    "of the evidence: votes in segments unless given, or each an object",
  ).choices(EVIDENCE_LAYOUTS),
];

interface Start extends StartOptions {
  readonly json: boolean;
  readonly terminal: Terminal;
  readonly stop: AbortSignal;
  readonly wish: StoreWish | undefined;
}

/**
 * The main job: a whole deployment on this machine, and a real election through it, cast, closed, verified from
 * outside and counted. Whatever ends it, everything is stopped by then.
 */
async function startHere(options: Start): Promise<ExitCode> {
  const { terminal, home, json, stop } = options;
  const started = performance.now();
  const broken = new AbortController();
  const signal = AbortSignal.any([stop, broken.signal]);
  const election = new DemoElection(options.ballots);
  stop.addEventListener("abort", () => terminal.say("\nstopping everything …"), { once: true });
  const progress = (message: string) => terminal.say(message);
  try {
    const { store, chosen } = await resolveStore(home, options.wish, { progress, signal });
    const s3 = store.kind === "server" ? `, ${store.server.implementation}` : "";
    terminal.say(`starting Postgres, NATS${s3} and the four services …`);
    await using stack = await LocalStack.start({
      folder: home,
      store,
      layout: options.layout,
      progress,
      signal,
      onUnexpectedExit: (error) => broken.abort(error),
    }).catch(refuse);
    signal.throwIfAborted();
    await writeChosenStore(home, chosen); // Before there is an election, and so anything to be found again.
    const profile = await writeProfile(stack, home, election);
    terminal.say(
      `all are healthy after ${((performance.now() - started) / 1000).toFixed(1)} s; what lasts is in ${options.home}`,
    );
    const profilePath = join(home, "profile.json");
    await using context = new CliContext({ terminal, json, profile, profilePath });
    const code = await runDemo(context, { election, home, started, signal });
    if (!options.exit) {
      for (const line of whatNext(profile, election, home)) terminal.say(line);
      await aborted(signal);
      if (broken.signal.aborted) throw broken.signal.reason;
    }
    return code;
  } catch (error) {
    // Whatever the loss of a service led to, that it was lost is what to tell.
    throw broken.signal.aborted ? broken.signal.reason : error;
  }
}

/** Tells the other commands where everything is. */
async function writeProfile(stack: LocalStack, home: string, { id }: DemoElection): Promise<Profile> {
  const { addresses, evidence, trustDomain } = stack;
  const profile: Profile = {
    trust_domain: trustDomain,
    edge: addresses["vote-service"],
    rest: `https://${addresses.voteHttp}`,
    shard_router: addresses["shard-router"],
    audit: addresses["audit-service"],
    publisher: addresses.publisher,
    nats: stack.nats.url,
    public: `http://${addresses.public}`,
    evidence: evidence.config,
    identities: {
      operator: await stack.identity("operator/local"),
      client: await stack.identity("client/local"),
      auditor: await stack.identity("auditor/local"),
    },
    election: id,
  };
  await writeFile(join(home, "profile.json"), `${JSON.stringify(profile, null, 2)}\n`, { mode: 0o600 });
  return profile;
}

function whatNext(profile: Profile, { id, ballots }: DemoElection, home: string): string[] {
  // Another terminal does not know what this one was told.
  const elsewhere = home === resolve(DEFAULT_HOME) ? "" : `PSEPHOS_HOME=${home} `;
  const psephos = `${elsewhere}npm run -s psephos --`;
  return [
    "",
    "Everything is up:",
    `  page             ${profile.public}/`,
    `  public endpoint  ${profile.public}/${id}/checkpoint`,
    `  gRPC edge        ${profile.edge} (mutual TLS; identities are in ${join(home, "tls")})`,
    `  REST edge        ${profile.rest}/api/v1/votes (the same)`,
    "",
    "Try next, in another terminal:",
    `  curl ${profile.public}/${id}/checkpoint`,
    `  ${psephos} verify`,
    `  ${psephos} receipt ${Math.min(12_345, Math.ceil(ballots / 2))}`,
    `  ${psephos} --help`,
    "",
    "Ctrl-C stops everything. What was recorded stays: the next start goes on with it; --reset begins anew.",
  ];
}

async function reset(home: string): Promise<void> {
  const names = await readdir(home).catch((): string[] => []);
  if (names.length > 0 && !names.includes("owner.pid")) {
    throw new UsageError(`${home} has no deployment of Psephos in it: nothing was deleted`);
  }
  await StateFolder.reset(home).catch(refuse);
}

function refuse(error: unknown): never {
  throw error instanceof FolderInUseError ? new UsageError(error.message, { cause: error }) : error;
}

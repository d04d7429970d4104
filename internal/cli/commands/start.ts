import { readdir, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import type { Command } from "commander";
import { LocalStack } from "../../../deploy/local/stack.ts";
import { FolderInUseError, StateFolder } from "../../../deploy/local/state-folder.ts";
import { parseCount } from "../arguments.ts";
import type { Cli } from "../cli.ts";
import { CliContext } from "../context.ts";
import { DemoElection } from "../demo-election.ts";
import { type ExitCode, UsageError } from "../exit-code.ts";
import { DEFAULT_HOME, homeFolder, type Profile } from "../profile.ts";
import { runDemo } from "../run-demo.ts";
import type { Terminal } from "../terminal.ts";

interface StartOptions {
  readonly home: string;
  readonly exit: boolean;
  readonly reset: boolean;
  readonly ballots?: number;
}

export function startCommand(program: Command, { run, terminal, stopSignal }: Cli): void {
  program
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
        if (options.reset) {
          await reset(home);
          terminal.say(`deleted everything in ${options.home}`);
        }
        return start({ ...options, home, json, terminal, stop: stopSignal() });
      }),
    );
}

interface Start extends StartOptions {
  readonly json: boolean;
  readonly terminal: Terminal;
  readonly stop: AbortSignal;
}

/**
 * The main job: a whole deployment on this machine, and a real election through it, cast, closed, verified from
 * outside and counted. Whatever ends it, everything is stopped by then.
 */
async function start(options: Start): Promise<ExitCode> {
  const { terminal, home, json, stop } = options;
  const started = performance.now();
  const broken = new AbortController();
  const signal = AbortSignal.any([stop, broken.signal]);
  const election = new DemoElection(options.ballots);
  stop.addEventListener("abort", () => terminal.say("\nstopping everything …"), { once: true });
  terminal.say("starting Postgres, NATS and the four services …");
  try {
    await using stack = await LocalStack.start({
      folder: home,
      progress: (message) => terminal.say(message),
      signal,
      onUnexpectedExit: (error) => broken.abort(error),
    }).catch(refuse);
    signal.throwIfAborted();
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
  const { addresses, folders, trustDomain } = stack;
  const profile: Profile = {
    trust_domain: trustDomain,
    edge: addresses["vote-service"],
    rest: `https://${addresses.voteHttp}`,
    shard_router: addresses["shard-router"],
    audit: addresses["audit-service"],
    publisher: addresses.publisher,
    public: `http://${addresses.public}`,
    evidence: folders.evidence,
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

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

import { Command } from "commander";
import { ServiceError } from "../core/errors.ts";
import { SourceError } from "../verify/http-source.ts";
import type { Cli } from "./cli.ts";
import { CliContext } from "./context.ts";
import { type ExitCode, UnreachableError, UsageError } from "./exit-code.ts";
import { defaultProfilePath, loadProfile } from "./profile.ts";
import type { Terminal } from "./terminal.ts";

export interface ProgramOptions {
  readonly terminal: Terminal;
  readonly stopSignal: () => AbortSignal;
  readonly exit: (code: ExitCode) => void;
}

interface GlobalOptions {
  readonly profile: string;
  readonly json: boolean;
}

const EXIT_STATUS = `
Exit status:
  0    done; what was checked is right
  1    checked, and it is not right: a problem, or counts that differ
  2    the command line, a file or a request is wrong; nothing was changed
  3    a service or a file could not be reached, or is not ready: trying again may help
  4    anything else
  5    checked, and nothing critical is wrong, but something serious (worm probe)
  130  stopped by Ctrl-C before it was done

Data goes to standard output, everything else to standard error.`;

type DefineCommand = (program: Command, cli: Cli) => void;

/**
 * In the order in which --help lists them. What a command needs is loaded when it is the one that runs: all of it together
 * takes longer to load than most commands take to run.
 */
const COMMANDS: ReadonlyMap<string, () => Promise<DefineCommand>> = new Map([
  ["start", async () => (await import("./commands/start.ts")).startCommand],
  ["election", async () => (await import("./commands/election.ts")).electionCommand],
  ["cast", async () => (await import("./commands/cast.ts")).castCommand],
  ["replay", async () => (await import("./commands/replay.ts")).replayCommand],
  ["status", async () => (await import("./commands/status.ts")).statusCommand],
  ["verify", async () => (await import("./commands/verify.ts")).verifyCommand],
  ["audit", async () => (await import("./commands/audit.ts")).auditCommand],
  ["reconcile", async () => (await import("./commands/reconcile.ts")).reconcileCommand],
  ["tally", async () => (await import("./commands/tally.ts")).tallyCommand],
  ["receipt", async () => (await import("./commands/receipt.ts")).receiptCommand],
  ["restore", async () => (await import("./commands/restore.ts")).restoreCommand],
  ["query", async () => (await import("./commands/query.ts")).queryCommand],
  ["cost", async () => (await import("./commands/cost.ts")).costCommand],
  ["worm", async () => (await import("./commands/worm.ts")).wormCommand],
  ["witness", async () => (await import("./commands/witness.ts")).witnessCommand],
  ["monitor", async () => (await import("./commands/monitor.ts")).monitorCommand],
]);

/** The psephos command line, with the command that `args` name. */
export async function createProgram(
  args: readonly string[],
  { terminal, stopSignal, exit }: ProgramOptions,
): Promise<Command> {
  const program = new Command("psephos")
    .description("Runs elections on a verifiable vote ledger, and checks them.")
    .option("--profile <file>", "where the deployment is and who you are there", defaultProfilePath())
    .option("--json", "machine-readable output on standard output", false)
    .showHelpAfterError("(with --help it says more)")
    .addHelpText("afterAll", EXIT_STATUS)
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({
      writeOut: (text) => terminal.data(text.trimEnd()),
      writeErr: (text) => terminal.say(text.trimEnd()),
    })
    .exitOverride();

  const run: Cli["run"] = async (action) => {
    const { profile: path, json } = program.opts<GlobalOptions>();
    const profile = await loadProfile(path);
    // One that was named must be there; without the usual one, some commands have all they need.
    if (!profile && program.getOptionValueSource("profile") === "cli") {
      throw new UsageError(`there is no profile at ${path}`);
    }
    await using context = new CliContext({ terminal, json, profile, profilePath: path });
    try {
      exit(await action(context));
    } catch (error) {
      throw profile && isUnreachable(error) ? notRunning(error, path) : error;
    }
  };

  const cli: Cli = { terminal, stopSignal, run };
  const [name = ""] = program.parseOptions([...args]).operands;
  const named = COMMANDS.get(name);
  // Without the name of a command it will be help, or a mistake with a hint: these speak of them all.
  const commands = await Promise.all((named ? [named] : [...COMMANDS.values()]).map((load) => load()));
  for (const define of commands) define(program, cli);
  return program;
}

function isUnreachable(error: unknown): error is Error {
  return error instanceof SourceError || (error instanceof ServiceError && error.kind === "unavailable");
}

function notRunning(error: Error, profilePath: string): UnreachableError {
  return new UnreachableError(
    `${error.message} (is the deployment of ${profilePath} running? "npm start" starts a local one)`,
    { cause: error },
  );
}

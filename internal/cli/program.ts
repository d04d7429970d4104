import { Command } from "commander";
import { ServiceError } from "../core/errors.ts";
import { SourceError } from "../verify/http-source.ts";
import type { Cli } from "./cli.ts";
import { auditCommand } from "./commands/audit.ts";
import { castCommand } from "./commands/cast.ts";
import { costCommand } from "./commands/cost.ts";
import { electionCommand } from "./commands/election.ts";
import { monitorCommand } from "./commands/monitor.ts";
import { queryCommand } from "./commands/query.ts";
import { receiptCommand } from "./commands/receipt.ts";
import { reconcileCommand } from "./commands/reconcile.ts";
import { replayCommand } from "./commands/replay.ts";
import { restoreCommand } from "./commands/restore.ts";
import { startCommand } from "./commands/start.ts";
import { statusCommand } from "./commands/status.ts";
import { tallyCommand } from "./commands/tally.ts";
import { verifyCommand } from "./commands/verify.ts";
import { witnessCommand } from "./commands/witness.ts";
import { wormCommand } from "./commands/worm.ts";
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

/** The psephos command line. */
export function createProgram({ terminal, stopSignal, exit }: ProgramOptions): Command {
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
  const commands = [
    startCommand,
    electionCommand,
    castCommand,
    replayCommand,
    statusCommand,
    verifyCommand,
    auditCommand,
    reconcileCommand,
    tallyCommand,
    receiptCommand,
    restoreCommand,
    queryCommand,
    costCommand,
    wormCommand,
    witnessCommand,
    monitorCommand,
  ];
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

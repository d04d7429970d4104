import type { CliContext } from "./context.ts";
import type { ExitCode } from "./exit-code.ts";
import type { Terminal } from "./terminal.ts";

/** What the commands are built with. */
export interface Cli {
  readonly terminal: Terminal;
  /** Aborted by Ctrl-C, for commands that have something to put in order; any other simply ends. */
  readonly stopSignal: () => AbortSignal;
  /** Runs an action with the deployment of the profile. What it answers becomes the exit status. */
  readonly run: (action: (context: CliContext) => Promise<ExitCode>) => Promise<void>;
}

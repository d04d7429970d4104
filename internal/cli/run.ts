import { CommanderError } from "commander";
import { messageOf } from "../core/errors.ts";
import { ExitCode, exitCodeOf } from "./exit-code.ts";
import { createProgram } from "./program.ts";
import type { Terminal } from "./terminal.ts";

export interface RunOptions {
  /** What stands on the command line after the program's name. */
  readonly args: readonly string[];
  readonly terminal: Terminal;
  readonly stopSignal: () => AbortSignal;
}

/** Runs a command to its end. It does not reject: what went wrong is said, and the exit status tells its kind. */
export async function run({ args, terminal, stopSignal }: RunOptions): Promise<ExitCode> {
  let code: ExitCode = ExitCode.ok;
  const exit = (value: ExitCode) => {
    code = value;
  };
  try {
    const program = await createProgram(args, { terminal, stopSignal, exit });
    await program.parseAsync(args, { from: "user" });
    return code;
  } catch (error) {
    // commander has said what is wrong; --help ends here too, with exit code 0.
    if (error instanceof CommanderError) return error.exitCode === 0 ? ExitCode.ok : ExitCode.usage;
    terminal.say(`psephos: ${messageOf(error)}`);
    return exitCodeOf(error);
  }
}

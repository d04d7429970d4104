import { CommanderError } from "commander";
import { ExitCode, exitCodeOf } from "../../internal/cli/exit-code.ts";
import { createProgram } from "../../internal/cli/program.ts";
import { createTerminal } from "../../internal/cli/terminal.ts";
import { messageOf } from "../../internal/core/errors.ts";

const terminal = createTerminal(process.stdout, process.stderr);
const stop = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => {
    terminal.say("\nstopping …");
    stop.abort(new Error(`stopped by ${signal}`));
  });
}

process.exitCode = await run();

async function run(): Promise<ExitCode> {
  let code: ExitCode = ExitCode.ok;
  const program = createProgram({ terminal, signal: stop.signal, exit: (value) => (code = value) });
  try {
    await program.parseAsync(process.argv);
    return code;
  } catch (error) {
    // commander has said what is wrong; --help and --version end here too, with exit code 0.
    if (error instanceof CommanderError) return error.exitCode === 0 ? ExitCode.ok : ExitCode.usage;
    terminal.say(`psephos: ${messageOf(error)}`);
    return exitCodeOf(error);
  }
}

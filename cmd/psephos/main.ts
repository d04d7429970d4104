import { InterruptedError } from "../../internal/cli/exit-code.ts";
import { run } from "../../internal/cli/run.ts";
import { createTerminal } from "../../internal/cli/terminal.ts";

// Whoever reads our output may have had enough of it: `psephos … | head`.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
});

let stop: AbortController | undefined;

/** From the first call on, a signal asks the command to stop in order; the second one of a kind ends it at once. */
function stopSignal(): AbortSignal {
  if (stop) return stop.signal;
  const controller = new AbortController();
  stop = controller;
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.once(signal, () => controller.abort(new InterruptedError(`stopped by ${signal}`)));
  }
  return controller.signal;
}

process.exitCode = await run({
  args: process.argv.slice(2),
  terminal: createTerminal(process.stdout, process.stderr),
  stopSignal,
});

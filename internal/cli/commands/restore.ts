import { createInterface } from "node:readline/promises";
import type { Command } from "commander";
import { systemClock } from "../../core/clock.ts";
import { RestoreRefusedError } from "../../restore/errors.ts";
import { restore } from "../../restore/restore.ts";
import { parseLogKey } from "../arguments.ts";
import type { Cli } from "../cli.ts";
import { CheckFailedError, UsageError } from "../exit-code.ts";
import { describePlan, describeResult, resultJson } from "../restore-report.ts";
import { prepareRestore, type RestoreCommandOptions } from "../restore-setup.ts";
import type { Progress, Terminal } from "../terminal.ts";
import { TimeLeft } from "../time-left.ts";
import { describeProblem } from "../verification.ts";

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
        const setup = await prepareRestore(context, options, resources);
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
    leftShut: (instances: readonly string[]) => {
      end();
      terminal.say(
        `the services cannot connect to ${instances.join(", ")} until a restore was run to its end: records may be there in ` +
          "part, and without their constraints",
      );
    },
    end,
  };
}

async function ask(signal: AbortSignal): Promise<boolean> {
  const prompt = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return (await prompt.question("Write this into the databases? yes/no ", { signal })).trim() === "yes";
  } finally {
    prompt.close();
  }
}

/** Says what is at fault, and gives the error its exit status. */
function explained(error: unknown, terminal: Terminal): unknown {
  if (!(error instanceof RestoreRefusedError)) return error;
  for (const problem of error.problems) terminal.say(`PROBLEM ${describeProblem(problem)}`);
  return new CheckFailedError(`${error.message}. Nothing was written`, { cause: error });
}

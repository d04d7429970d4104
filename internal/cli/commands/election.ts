import { type Command, Option } from "commander";
import { type Election, ElectionState } from "../../../gen/ts/psephos/vote/v1/election_pb.js";
import { type Choice, type Manifest, parseManifest } from "../../ballot/manifest.ts";
import { toHex } from "../../core/bytes.ts";
import type { ElectionId } from "../../core/ids.ts";
import { collectChoice, parseCount, parseTime, parseTrustees } from "../arguments.ts";
import type { Cli } from "../cli.ts";
import type { CliContext } from "../context.ts";
import { createElection, readChoices } from "../create-election.ts";
import { UsageError } from "../exit-code.ts";
import type { Role } from "../profile.ts";
import { formatTable } from "../terminal.ts";

interface CreateOptions {
  readonly title: string;
  readonly choice: readonly Choice[];
  readonly choices?: string;
  readonly revoting: Manifest["revoting"];
  readonly shards: number;
  readonly opensAt?: number;
  readonly closesAt?: number;
  readonly trustees: Manifest["trustees"];
  readonly promiseDelay?: number;
  /** False with --no-promises. */
  readonly promises: boolean;
  readonly trusteesOut: string;
}

export function electionCommand(program: Command, { run, terminal }: Cli): void {
  const election = program.command("election").description("create, close and show elections (operators)");

  election
    .command("create")
    .description("create an election; its tally key is split among trustees and kept nowhere")
    .argument("<id>", "1 to 63 of a-z, 0-9 and inner hyphens")
    .requiredOption("--title <text>", "what is being decided")
    .option("--choice <id=name>", "a choice; repeat it for each", collectChoice, [])
    .option("--choices <file>", 'choices from a JSON file: [{"id": "…", "name": "…"}]')
    .addOption(
      new Option("--revoting <rule>", "what a second vote does")
        .choices(["forbidden", "last-counts"])
        .default("forbidden"),
    )
    .option("--shards <number>", "logical shards", parseCount, 16)
    .option("--opens-at <time>", "ISO 8601; now unless given", parseTime)
    .option("--closes-at <time>", "ISO 8601; when an operator closes it unless given", parseTime)
    .option("--trustees <k/n>", "how many of how many trustees can count; 2/3 unless given", parseTrustees)
    .option(
      "--promise-delay <seconds>",
      "votes are promised to be in the log by then; a day unless given",
      parseCount,
    )
    .option("--no-promises", "promise nothing")
    .requiredOption("--trustees-out <folder>", "a new folder for the trustees' share files")
    .action((id: string, options: CreateOptions) =>
      run(async (context) => {
        const choices = options.choices ? await readChoices(options.choices) : options.choice;
        if (choices.length === 0) throw new UsageError("name the choices with --choice or --choices");
        const created = await createElection(context, {
          electionId: context.election(id),
          title: options.title,
          choices,
          shards: options.shards,
          revoting: options.revoting,
          opensAt: options.opensAt,
          closesAt: options.closesAt,
          trustees: options.trustees,
          promiseDelay: options.promises ? options.promiseDelay : null,
          trusteesFolder: options.trusteesOut,
        });
        terminal.say(`hand the share files in ${options.trusteesOut} to the trustees, and delete them there`);
        return context.show(electionJson(created), () => describeElection(created));
      }),
    );

  election
    .command("close")
    .description("take no more votes, for good; safe to repeat")
    .argument("[id]", "the profile's election unless given")
    .action((id?: string) =>
      run(async (context) => {
        const closed = await closeElection(context, context.election(id));
        return context.show(electionJson(closed), () => describeElection(closed));
      }),
    );

  election
    .command("show")
    .description("an election's definition and state, or all of them with --all")
    .argument("[id]", "the profile's election unless given")
    .option("--all", "list every election", false)
    .action((id: string | undefined, options: { readonly all: boolean }) =>
      run(async (context) => {
        if (!options.all) {
          const shown = await showElection(context, context.election(id));
          return context.show(electionJson(shown), () => describeElection(shown));
        }
        const { elections } = await context.elections("operator").listElections({});
        return context.show({ elections: elections.map(electionJson) }, () => describeElections(elections));
      }),
    );
}

export async function closeElection(context: CliContext, electionId: ElectionId): Promise<Election> {
  const { election } = await context
    .elections("operator")
    .closeElection({ electionId }, { timeoutMs: 60_000 });
  return present(election);
}

export async function showElection(
  context: CliContext,
  electionId: ElectionId,
  role: Role = "operator",
): Promise<Election> {
  const { election } = await context.elections(role).getElection({ electionId });
  return present(election);
}

export function stateName({ state }: Election): string {
  return (ElectionState[state] ?? "unknown").toLowerCase();
}

/** An election as `--json` shows it. */
function electionJson(election: Election): object {
  return {
    election_id: election.electionId,
    state: stateName(election),
    votes: Number(election.votes),
    manifest_hash: toHex(election.manifestHash),
    manifest: JSON.parse(new TextDecoder().decode(election.manifest)),
  };
}

/** An election as people read it. */
function describeElection(election: Election): string {
  const manifest = parseManifest(election.manifest);
  const { closesAt, promises } = manifest;
  return formatTable([
    ["election", election.electionId],
    ["title", manifest.title],
    ["state", stateName(election)],
    ["votes", String(election.votes)],
    ...manifest.choices.map(({ id, name }, i) => [i === 0 ? "choices" : "", `${id}  ${name}`]),
    ["shards", String(manifest.shards)],
    ["re-voting", manifest.revoting],
    ["opens", formatTime(manifest.opensAt)],
    ["closes", closesAt === null ? "when an operator closes it" : formatTime(closesAt)],
    ["trustees", `${manifest.trustees.threshold} of ${manifest.trustees.shares}`],
    ["log key", manifest.logKey],
    ["promise key", promises?.key ?? "none"],
    ["promised delay", promises ? `${promises.delaySeconds} s` : "none"],
    ["manifest hash", toHex(election.manifestHash)],
  ]);
}

function describeElections(elections: readonly Election[]): string {
  const rows = elections.map((election) => [
    election.electionId,
    stateName(election),
    String(election.votes),
    parseManifest(election.manifest).title,
  ]);
  return formatTable([["election", "state", "votes", "title"], ...rows], [2]);
}

function formatTime(micros: number): string {
  return new Date(micros / 1000).toISOString();
}

function present(election: Election | undefined): Election {
  if (!election) throw new Error("the service answered without an election");
  return election;
}

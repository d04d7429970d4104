import { readFile, writeFile } from "node:fs/promises";
import type { Command } from "commander";
import { parseManifest } from "../../ballot/manifest.ts";
import { messageOf } from "../../core/errors.ts";
import type { ElectionId } from "../../core/ids.ts";
import { choiceIdOf } from "../../demo/vermont-2020.ts";
import type { Cli } from "../cli.ts";
import type { CliContext } from "../context.ts";
import { parseCsv } from "../csv.ts";
import { ExitCode, UsageError } from "../exit-code.ts";
import { formatCount } from "../terminal.ts";
import { type CastTotals, VoteCaster, type VoteToCast } from "../vote-caster.ts";
import { showElection } from "./election.ts";

/** A row of a result table: so many ballots for one candidate in one place. */
export interface ResultRow {
  readonly place: string;
  readonly candidate: string;
  readonly votes: number;
}

interface ReplayOptions {
  readonly election?: string;
  readonly choicesOut?: string;
}

export function replayCommand(program: Command, { run, terminal, stopSignal }: Cli): void {
  program
    .command("replay")
    .description("cast a table of results as single ballots, as a rehearsal (clients); safe to repeat")
    .argument("<file.csv>", "columns candidate and votes, and any of county, town, precinct")
    .option("--election <id>", "the profile's unless given")
    .option("--choices-out <file>", "cast nothing; write the file's choices for election create --choices")
    .action((file: string, options: ReplayOptions) =>
      run(async (context) => {
        const rows = await readResults(file);
        if (options.choicesOut !== undefined) {
          const choices = choicesOf(rows);
          await writeFile(options.choicesOut, `${JSON.stringify(choices, null, 2)}\n`);
          terminal.say(`wrote ${choices.length} choices to ${options.choicesOut}`);
          return ExitCode.ok;
        }
        const electionId = context.election(options.election);
        await requireChoices(context, electionId, rows);
        const cast = await castBallots(context, electionId, {
          ballots: ballotsOf(rows),
          total: rows.reduce((sum, { votes }) => sum + votes, 0),
          signal: stopSignal(),
        });
        const { recorded, refused, retried, seconds } = cast;
        const rate = Math.round(recorded / seconds);
        return context.show(
          { recorded, refused, retried, seconds, votes_per_second: rate },
          () =>
            `${formatCount(recorded)} ballots recorded in ${seconds.toFixed(1)} s (${formatCount(rate)}/s), ` +
            `${formatCount(refused)} refused because their voters had voted`,
        );
      }),
    );
}

/**
 * Reads a CSV of results in OpenElections' columns: `candidate` and `votes`, and any of `county`, `town`, `precinct`
 * to tell places apart. Throws a UsageError that names the line.
 */
export async function readResults(file: string): Promise<ResultRow[]> {
  const [header, ...rows] = await readCsv(file);
  if (!header || rows.length === 0) throw new UsageError(`${file} has no rows`);
  const columns = header.cells;
  for (const name of ["candidate", "votes"]) {
    if (!columns.includes(name)) throw new UsageError(`${file}: there is no column "${name}"`);
  }
  return rows.map(({ line, cells }) => {
    const cell = (name: string) => cells[columns.indexOf(name)] ?? "";
    const candidate = cell("candidate");
    const wellFormed = cells.length === columns.length && /^\d{1,9}$/.test(cell("votes"));
    if (!wellFormed || choiceIdOf(candidate) === "") {
      throw new UsageError(`${file}, line ${line}: not a row of ${columns.join(",")}`);
    }
    const place = ["county", "town", "precinct"].map(cell).join("/");
    return { place, candidate, votes: Number(cell("votes")) };
  });
}

async function readCsv(file: string) {
  try {
    return parseCsv(await readFile(file, "utf8"));
  } catch (error) {
    throw new UsageError(`${file}: ${messageOf(error)}`, { cause: error });
  }
}

/** One ballot for each vote in the rows, places mixed: every row's first ballot, then every row's second … */
export function* ballotsOf(rows: readonly ResultRow[]): Generator<VoteToCast, void, undefined> {
  const voters = new Map<string, number>();
  let open = rows.map((row) => ({ ...row, left: row.votes })).filter((row) => row.left > 0);
  while (open.length > 0) {
    for (const row of open) {
      row.left--;
      const voter = (voters.get(row.place) ?? 0) + 1;
      voters.set(row.place, voter);
      const id = `${row.place}#${voter}`;
      yield { voterId: id, choiceId: choiceIdOf(row.candidate), requestId: `ballot ${id}` };
    }
    open = open.filter((row) => row.left > 0);
  }
}

/** The candidates in the rows as choices, in order of first appearance. */
export function choicesOf(rows: readonly ResultRow[]): { id: string; name: string }[] {
  const names = new Set(rows.map(({ candidate }) => candidate));
  return [...names].map((name) => ({ id: choiceIdOf(name), name }));
}

/** All candidates must be on the ballot, before the first vote is cast. */
async function requireChoices(
  context: CliContext,
  electionId: ElectionId,
  rows: readonly ResultRow[],
): Promise<void> {
  const { manifest } = await showElection(context, electionId, "client");
  const known = new Set(parseManifest(manifest).choices.map(({ id }) => id));
  const missing = choicesOf(rows).filter(({ id }) => !known.has(id));
  if (missing.length === 0) return;
  throw new UsageError(
    `the election ${electionId} has no choice ${missing.map(({ id }) => id).join(", ")}: create one with the choices ` +
      "that --choices-out writes",
  );
}

export interface BallotsToCast {
  readonly ballots: Iterable<VoteToCast>;
  readonly total: number;
  readonly signal: AbortSignal;
}

/** Casts ballots over streams with a progress bar. */
export async function castBallots(
  context: CliContext,
  electionId: ElectionId,
  { ballots, total, signal }: BallotsToCast,
): Promise<CastTotals & { readonly seconds: number }> {
  const progress = context.terminal.progress("casting", total);
  const started = performance.now();
  const caster = new VoteCaster({
    client: context.votes(),
    electionId,
    signal,
    onProgress: ({ recorded }) => progress.update(recorded),
  });
  const totals = await caster.cast(ballots).finally(() => progress.end());
  return { ...totals, seconds: (performance.now() - started) / 1000 };
}

import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import type { ElectionId } from "../../core/ids.ts";
import { choiceIdOf } from "../../demo/vermont-2020.ts";
import type { CliContext } from "../context.ts";
import { UsageError } from "../exit-code.ts";
import { type CastTotals, VoteCaster, type VoteToCast } from "../vote-caster.ts";

/** A row of a result table: so many ballots for one candidate in one place. */
export interface ResultRow {
  readonly place: string;
  readonly candidate: string;
  readonly votes: number;
}

/**
 * Reads a CSV of results in OpenElections' columns: `candidate` and `votes`, and any of `county`, `town`, `precinct`
 * to tell places apart. Throws a UsageError that names the line.
 */
export async function readResults(file: string): Promise<ResultRow[]> {
  const lines = createInterface({
    input: createReadStream(file, "utf8"),
    crlfDelay: Number.POSITIVE_INFINITY,
  });
  const rows: ResultRow[] = [];
  let columns: string[] | undefined;
  let number = 0;
  try {
    for await (const line of lines) {
      number++;
      if (line.trim() === "") continue;
      const cells = parseCsvLine(line);
      if (!columns) {
        columns = cells;
        for (const name of ["candidate", "votes"]) {
          if (!columns.includes(name)) throw new UsageError(`${file}: there is no column "${name}"`);
        }
        continue;
      }
      const cell = (name: string) => cells[columns?.indexOf(name) ?? -1] ?? "";
      const votes = Number(cell("votes"));
      if (
        cells.length !== columns.length ||
        !Number.isSafeInteger(votes) ||
        votes < 0 ||
        cell("candidate") === ""
      ) {
        throw new UsageError(`${file}, line ${number}: not a row of ${columns.join(",")}`);
      }
      const place = ["county", "town", "precinct"].map(cell).join("/");
      rows.push({ place, candidate: cell("candidate"), votes });
    }
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(`${file} cannot be read`, { cause: error });
  }
  if (rows.length === 0) throw new UsageError(`${file} has no rows`);
  return rows;
}

/** One ballot for each vote in the rows, places mixed: every place's first ballot, then every place's second … */
export function* ballotsOf(rows: readonly ResultRow[]): Generator<VoteToCast, void, undefined> {
  const voters = new Map<string, number>();
  let open = rows.map((row) => ({ ...row, left: row.votes }));
  while (open.length > 0) {
    for (const row of open) {
      if (row.left === 0) continue;
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

/** Casts ballots over streams with a progress bar. */
export async function castBallots(
  context: CliContext,
  electionId: ElectionId,
  ballots: Iterable<VoteToCast>,
  total: number,
  signal: AbortSignal,
): Promise<CastTotals & { seconds: number }> {
  const progress = context.terminal.progress("casting", total);
  const started = performance.now();
  const caster = new VoteCaster({
    client: context.votes(),
    electionId,
    signal,
    onProgress: ({ recorded }) => progress.update(recorded),
  });
  const totals = await caster.cast(ballots);
  progress.end();
  return { ...totals, seconds: (performance.now() - started) / 1000 };
}

/** RFC 4180: commas separate, quotes surround, a doubled quote is one. */
function parseCsvLine(line: string): string[] {
  const cells: string[] = [];
  for (const [, quoted, plain] of line.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g)) {
    cells.push(quoted === undefined ? (plain ?? "") : quoted.replaceAll('""', '"'));
  }
  return cells;
}

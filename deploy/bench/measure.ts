/** Two ways of doing one thing, measured side by side. */
export interface Comparison {
  readonly what: string;
  /** The way the project takes, and the plain one. */
  readonly ours: string;
  readonly plain: string;
  readonly unit: string;
  /** Does `units` of work. */
  readonly runOurs: () => void | Promise<void>;
  readonly runPlain: () => void | Promise<void>;
  readonly units: number;
}

export interface Result {
  readonly comparison: Comparison;
  /** Units a second, the median of the rounds. */
  readonly ours: number;
  readonly plain: number;
  /** How many times as fast ours is: the median of the rounds, and the lowest and highest. */
  readonly ratio: number;
  readonly lowest: number;
  readonly highest: number;
}

const ROUNDS = 7;

/**
 * Alternates between the two, so that whatever else the machine does slows both, and takes the ratio within each round.
 */
export async function measure(comparison: Comparison): Promise<Result> {
  const { runOurs, runPlain, units } = comparison;
  // Once before: compiled, and caches filled.
  await runOurs();
  await runPlain();
  const rounds: { ours: number; plain: number }[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    rounds.push({ ours: units / (await seconds(runOurs)), plain: units / (await seconds(runPlain)) });
  }
  const ratios = rounds.map(({ ours, plain }) => ours / plain);
  return {
    comparison,
    ours: median(rounds.map(({ ours }) => ours)),
    plain: median(rounds.map(({ plain }) => plain)),
    ratio: median(ratios),
    lowest: Math.min(...ratios),
    highest: Math.max(...ratios),
  };
}

export async function seconds(run: () => void | Promise<void>): Promise<number> {
  const started = performance.now();
  await run();
  return (performance.now() - started) / 1000;
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}

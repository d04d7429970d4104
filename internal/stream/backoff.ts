const FIRST_MS = 50;
const LONGEST_MS = 2_000;

/** How long to wait after so many failures in a row. Jittered: clients cut off together must not come back together. */
export function backoffMs(failures: number, longest = LONGEST_MS): number {
  const ceiling = Math.min(longest, FIRST_MS * 2 ** Math.min(failures, 20));
  return ceiling * (0.5 + 0.5 * Math.random());
}

/** Whether a failure is worth a line in the log: the first in a row and then, at the longest wait, one a minute or so. */
export function isWorthALine(failures: number): boolean {
  return failures % 30 === 0;
}

// npm run bench: measures what the code's comments claim and writes docs/benchmarks.md.
import { writeFile } from "node:fs/promises";
import { arch, cpus, platform } from "node:os";
import { withComparisons } from "./comparisons.ts";
import { measure, type Result } from "./measure.ts";
import { measureRecovery, type RecoveryResult } from "./recovery.ts";

const RECOVERED_VOTES = 1_000_000;

const results = await withComparisons(async (comparisons) => {
  const measured: Result[] = [];
  for (const comparison of comparisons) {
    process.stderr.write(`${comparison.what} …\n`);
    measured.push(await measure(comparison));
  }
  return measured;
});
const recovery = await measureRecovery(RECOVERED_VOTES);
if (process.argv.includes("--json")) {
  console.log(JSON.stringify([...results.map(asJson), { what: "recovery", ...recovery }]));
} else {
  const file = new URL("../../docs/benchmarks.md", import.meta.url);
  await writeFile(file, `${report(results)}\n${recoveryReport(recovery)}`);
}

function report(rows: readonly Result[]): string {
  const machine = `${cpus().length} × ${cpus()[0]?.model ?? "unknown CPU"}, ${platform()}-${arch()}, Node ${process.version}`;
  return `# Benchmarks

Written by \`npm run bench\`; do not edit. The two ways in a row take turns within one run, so that whatever else the machine
does slows both: the ratio is what counts, the rates only say which order they are of. Median of seven rounds, with the
lowest and highest ratio.

Machine: ${machine}. Date: ${new Date().toISOString().slice(0, 10)}.

| what | this project | instead of | ratio | lowest – highest | rates |
|---|---|---|---|---|---|
${rows.map(row).join("\n")}
`;
}

function recoveryReport({
  votes,
  verifySeconds,
  loadSeconds,
  rowSeconds,
  cpuSeconds,
  evidenceBytes,
}: RecoveryResult): string {
  const seconds = verifySeconds + loadSeconds;
  const each = (count: number) => Number(count.toPrecision(2)).toLocaleString("en-US");
  return `## Recovery

\`psephos restore\` of an election of ${votes.toLocaleString("en-US")} votes (16 shards, ${(evidenceBytes / votes).toFixed(0)} bytes a vote of
evidence in a directory) into two empty Postgres instances on the same machine. Beside it, in the same run, what the
instances take for as many rows alone, with nothing read or verified and with their indexes in place.

| what | seconds | votes/s |
|---|---|---|
| the whole recovery | ${seconds.toFixed(0)} | ${each(votes / seconds)} |
| of it: reading and verifying all of the evidence | ${verifySeconds.toFixed(0)} | ${each(votes / verifySeconds)} |
| of it: reading it again; records, indexes, tiles, heads | ${loadSeconds.toFixed(0)} | ${each(votes / loadSeconds)} |
| the rows alone | ${rowSeconds.toFixed(0)} | ${each(votes / rowSeconds)} |

The whole recovery takes **${(seconds / rowSeconds).toFixed(1)}** times as long as its rows alone; the command itself uses ${cpuSeconds.toFixed(0)} s of one core.
`;
}

function row({ comparison, ours, plain, ratio, lowest, highest }: Result): string {
  const rates = `${rate(ours)} and ${rate(plain)} ${comparison.unit}/s`;
  const spread = `${lowest.toFixed(2)} – ${highest.toFixed(2)}`;
  return `| ${comparison.what} | ${comparison.ours} | ${comparison.plain} | **${ratio.toFixed(2)}** | ${spread} | ${rates} |`;
}

function rate(value: number): string {
  return Number(value.toPrecision(2)).toLocaleString("en-US");
}

function asJson({ comparison, ours, plain, ratio, lowest, highest }: Result): object {
  const { what, unit } = comparison;
  return { what, unit, ours_per_second: ours, plain_per_second: plain, ratio, lowest, highest };
}

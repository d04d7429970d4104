// npm run bench: measures what the code's comments claim and writes docs/benchmarks.md.
import { writeFile } from "node:fs/promises";
import { arch, cpus, platform } from "node:os";
import { withComparisons } from "./comparisons.ts";
import { measure, type Result } from "./measure.ts";

const results = await withComparisons(async (comparisons) => {
  const measured: Result[] = [];
  for (const comparison of comparisons) {
    process.stderr.write(`${comparison.what} …\n`);
    measured.push(await measure(comparison));
  }
  return measured;
});
if (process.argv.includes("--json")) console.log(JSON.stringify(results.map(asJson)));
else await writeFile(new URL("../../docs/benchmarks.md", import.meta.url), report(results));

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

import { readFile } from "node:fs/promises";
import { type Command, InvalidArgumentError, Option } from "commander";
import { messageOf } from "../../core/errors.ts";
import { ASSUMED, type Cost, costOf, type Layout, LIFECYCLE, type Measures } from "../../cost/cost.ts";
import { type Measured, measure } from "../../cost/measure.ts";
import standardPrices from "../../cost/prices.json" with { type: "json" };
import { type PriceTable, priceTable } from "../../cost/prices.ts";
import { parseCount } from "../arguments.ts";
import type { Cli } from "../cli.ts";
import type { CliContext } from "../context.ts";
import {
  addEvidenceOptions,
  describePlace,
  type EvidenceOptions,
  evidencePlace,
  namesPlace,
  openEvidence,
} from "../evidence.ts";
import { UsageError } from "../exit-code.ts";
import { formatCount, formatTable } from "../terminal.ts";

interface CostCommandOptions extends EvidenceOptions {
  readonly voters: number;
  readonly layout?: Layout;
  readonly years: number;
  readonly election?: string;
  readonly smallest: number;
  readonly prices?: string;
}

const HELP = `
It counts what AuditService asks of S3 for each vote, the moves to Glacier after 90 days and to Deep Archive after a
year, and storage, retention included. Not in it: reading evidence back, and what a replica in another region costs.

Examples:
  psephos cost --voters 300000000
  psephos cost --voters 300000000 --layout object-per-vote --smallest 131072
  psephos cost --voters 8000000 --election vermont-2020`;

export function costCommand(program: Command, { run }: Cli): void {
  const command = program
    .command("cost")
    .description("what it costs to keep an election's evidence in S3, by tier and year")
    .requiredOption("--voters <number>", "votes in all", parseCount)
    .addOption(
      new Option("--layout <layout>", "how votes become objects").choices(["segments", "object-per-vote"]),
    )
    .option("--years <number>", "how long it is kept", parseYears, 10)
    .option(
      "--election <id>",
      "measure the bytes a vote in this election's evidence instead of assuming them",
    )
    .option(
      "--smallest <bytes>",
      "objects below this size stay in Standard; AWS's default is 131072",
      parseCount,
      1,
    )
    .option("--prices <file>", "another price table, in the form of internal/cost/prices.json")
    .addHelpText("after", HELP)
    .action((options: CostCommandOptions) =>
      run(async (context) => {
        const prices = await readPrices(options.prices);
        const measured = await measureIn(context, options);
        const layout = options.layout ?? measured?.layout ?? "segments";
        if (measured && measured.layout !== layout) {
          throw new UsageError(
            `the evidence is in the layout ${measured.layout}, whose objects say nothing of ${layout}: leave --layout out, or do not measure`,
          );
        }
        const measures = { ...ASSUMED[layout], ...measured?.measures };
        const cost = costOf({
          votes: options.voters,
          layout,
          years: options.years,
          measures,
          prices,
          lifecycle: { ...LIFECYCLE, smallestBytes: options.smallest },
        });
        const calculation = { options, layout, measures, measured, prices, cost };
        return context.show(costJson(calculation), () => describeCost(calculation));
      }),
    );
  addEvidenceOptions(command, "the evidence store to measure; the profile's unless given");
}

interface Calculation {
  readonly options: CostCommandOptions;
  readonly layout: Layout;
  readonly measures: Measures;
  readonly measured: Measured | undefined;
  readonly prices: PriceTable;
  readonly cost: Cost;
}

async function readPrices(file: string | undefined): Promise<PriceTable> {
  if (file === undefined) return priceTable.parse(standardPrices);
  try {
    return priceTable.parse(JSON.parse(await readFile(file, "utf8")));
  } catch (error) {
    throw new UsageError(`the price table ${file} cannot be used: ${messageOf(error)}`, { cause: error });
  }
}

async function measureIn(context: CliContext, options: CostCommandOptions): Promise<Measured | undefined> {
  if (options.election === undefined && !namesPlace(options)) return undefined;
  const place = evidencePlace(options, context.profile) ?? context.setting("evidence");
  await using store = await openEvidence(place);
  const measured = await measure(store, context.election(options.election));
  if (measured.objects === 0)
    throw new UsageError(`${describePlace(place)} has no evidence of this election to measure`);
  return measured;
}

function costJson({ options, layout, measures, measured, prices, cost }: Calculation): object {
  return {
    voters: options.voters,
    layout,
    currency: prices.currency,
    prices: { source: prices.source, region: prices.region, date: prices.date },
    measured_objects: measured?.objects ?? 0,
    bytes_a_vote: cost.bytesPerVote,
    bytes: cost.bytes,
    votes_a_segment: measures.segmentVotes,
    objects: cost.objects,
    requests: { puts: cost.puts, gets: cost.gets, usd: cost.requestsUsd },
    archive_overhead_bytes: cost.archiveOverheadBytes,
    years: cost.years.map(({ year, standardGb, glacierGb, deepArchiveGb, storageUsd, transitions }) => ({
      year,
      standard_gb: standardGb,
      glacier_gb: glacierGb,
      deep_archive_gb: deepArchiveGb,
      storage_usd: storageUsd,
      transitions,
    })),
    total_usd: cost.totalUsd,
  };
}

function describeCost({ options, layout, measured, prices, cost }: Calculation): string {
  const { bytesPerVote, bytes, objects, puts, gets, requestsUsd, archiveOverheadBytes, years, totalUsd } =
    cost;
  const basis = measured ? `measured in ${formatCount(measured.objects)} objects` : "assumed";
  const facts = [
    ["votes", formatCount(options.voters)],
    ["layout", layout],
    ["bytes a vote", `${formatCount(bytesPerVote)} (${basis})`],
    [
      "stored",
      `${formatCount(bytes / 1e9)} GB in ${formatCount(objects.reduce((sum, { count }) => sum + count, 0))} objects`,
    ],
    ["beside it, archived", `${formatCount(archiveOverheadBytes / 1e9)} GB of the cloud's metadata`],
    ["PUT requests", `${formatCount(puts.count)}  ${dollars(puts.usd)}`],
    ["GET requests", `${formatCount(gets.count)}  ${dollars(gets.usd)}`],
    ["all requests", dollars(requestsUsd)],
    ["prices", `${prices.region}, ${prices.date}, ${prices.source}`],
  ];
  const rows = years.map(({ year, standardGb, glacierGb, deepArchiveGb, storageUsd, transitions }) => [
    String(year),
    ...[standardGb, glacierGb, deepArchiveGb].map(formatCount),
    dollars(storageUsd),
    formatCount(transitions.count),
    dollars(transitions.usd),
  ]);
  const head = [
    "year",
    "Standard GB",
    "Glacier GB",
    "Deep Archive GB",
    "storage",
    "transitions",
    "their cost",
  ];
  const table = formatTable([head, ...rows], [0, 1, 2, 3, 4, 5, 6]);
  const total = `all of it, ${options.years} years: ${dollars(totalUsd)}`;
  return `${formatTable(facts)}\n\n${table}\n\n${total}`;
}

function dollars(usd: number): string {
  return `$${usd.toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 })}`;
}

/** A calculation over centuries is a mistake. */
function parseYears(text: string): number {
  const years = parseCount(text);
  if (years > 100) throw new InvalidArgumentError("it is a number of years up to 100.");
  return years;
}

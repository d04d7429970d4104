// What it costs to keep an election's evidence in S3: requests when it is written, moves to colder tiers, and storage, by
// tier and year. A calculation, and no more: it says what it assumes.
import type { PriceTable } from "./prices.ts";

export type Layout = "segments" | "object-per-vote";

/** What a store holds of an election, measured or assumed. */
export interface Measures {
  /** Bytes of segments a vote. */
  readonly segmentBytes: number;
  /** Votes in a segment: 1,000 at most, less where a head is due before there are as many. */
  readonly segmentVotes: number;
  /** Bytes of a vote's own object, where the layout has one. */
  readonly voteBytes: number;
  /** Bytes of a checkpoint.json. */
  readonly checkpointBytes: number;
}

/** As a run of real encodings gives them: internal/cost/cost.test.ts. */
export const ASSUMED: Readonly<Record<Layout, Measures>> = {
  segments: { segmentBytes: 170, segmentVotes: 800, voteBytes: 0, checkpointBytes: 6_000 },
  // There a segment has a reference to each vote: its number, version and hash.
  "object-per-vote": { segmentBytes: 80, segmentVotes: 800, voteBytes: 310, checkpointBytes: 6_000 },
};

export interface CostOptions {
  readonly votes: number;
  readonly layout: Layout;
  readonly years: number;
  readonly measures: Measures;
  readonly prices: PriceTable;
  /** When objects move to a colder tier, in months, and how many bytes those have at least that do. */
  readonly lifecycle: Lifecycle;
}

export interface Lifecycle {
  readonly glacierAfterMonths: number;
  readonly deepArchiveAfterMonths: number;
  readonly smallestBytes: number;
}

/** `psephos worm init` sets these: 90 days, a year. */
export const LIFECYCLE: Lifecycle = { glacierAfterMonths: 3, deepArchiveAfterMonths: 12, smallestBytes: 0 };

/** Objects of a kind. */
export interface Objects {
  readonly kind: "segments" | "votes" | "checkpoints";
  readonly count: number;
  /** Of each. */
  readonly bytes: number;
  /** Requests for each until its block is finished. */
  readonly puts: number;
  readonly gets: number;
}

export interface Charge {
  readonly count: number;
  readonly usd: number;
}

/** Of one year; sizes as they are at its end, in GB of 2^30 bytes, with what an archived object takes beside its bytes. */
export interface YearCost {
  readonly year: number;
  readonly standardGb: number;
  readonly glacierGb: number;
  readonly deepArchiveGb: number;
  readonly storageUsd: number;
  readonly transitions: Charge;
}

export interface Cost {
  readonly objects: readonly Objects[];
  /** All objects' own bytes, and as many a vote. */
  readonly bytes: number;
  readonly bytesPerVote: number;
  readonly puts: Charge;
  readonly gets: Charge;
  readonly requestsUsd: number;
  /** Bytes beside the objects' own once they are archived. */
  readonly archiveOverheadBytes: number;
  readonly years: readonly YearCost[];
  readonly totalUsd: number;
}

const CHECKPOINT_VOTES = 10_000;
const GB = 2 ** 30;

export function costOf(options: CostOptions): Cost {
  const { votes, prices, years: duration } = options;
  const objects = objectsOf(options);
  const bytes = sum(objects, ({ count, bytes }) => count * bytes);
  const puts = chargeOf(
    sum(objects, ({ count, puts }) => count * puts),
    prices.put_per_1000,
  );
  const gets = chargeOf(
    sum(objects, ({ count, gets }) => count * gets),
    prices.get_per_1000,
  );
  const requestsUsd = puts.usd + gets.usd;
  const years = Array.from({ length: duration }, (_, index) => yearCost(options, objects, index + 1));
  const { standard_bytes, archive_bytes } = prices.archived_object;
  const archived = sum(objects.filter(moves(options)), ({ count }) => count);
  return {
    objects,
    bytes,
    bytesPerVote: bytes / votes,
    puts,
    gets,
    requestsUsd,
    archiveOverheadBytes: archived * (standard_bytes + archive_bytes),
    years,
    totalUsd: requestsUsd + sum(years, ({ storageUsd, transitions }) => storageUsd + transitions.usd),
  };
}

/**
 * A segment is put, read back, and when its block is finished read and put again, which is how the store says under
 * which version it has it. Every other object is put and read back.
 */
function objectsOf({ votes, layout, measures }: CostOptions): Objects[] {
  const { segmentBytes, segmentVotes, voteBytes, checkpointBytes } = measures;
  const segments: Objects = {
    kind: "segments",
    count: Math.ceil(votes / segmentVotes),
    bytes: segmentBytes * segmentVotes,
    puts: 2,
    gets: 2,
  };
  const checkpoints: Objects = {
    kind: "checkpoints",
    count: Math.ceil(votes / CHECKPOINT_VOTES),
    bytes: checkpointBytes,
    puts: 1,
    gets: 1,
  };
  const each: Objects = { kind: "votes", count: votes, bytes: voteBytes, puts: 1, gets: 1 };
  return layout === "segments" ? [segments, checkpoints] : [each, segments, checkpoints];
}

/** Storage of a year's twelve months, and the moves that fall into it. */
function yearCost(options: CostOptions, objects: readonly Objects[], year: number): YearCost {
  const { prices, lifecycle } = options;
  let storageUsd = 0;
  let last = { standard: 0, glacier: 0, deepArchive: 0 };
  let moved = 0;
  let movedUsd = 0;
  for (let month = (year - 1) * 12; month < year * 12; month++) {
    last = tiersAt(options, objects, month);
    storageUsd +=
      standardUsd(last.standard, prices.standard_gb_month) +
      last.glacier * prices.glacier.gb_month +
      last.deepArchive * prices.deep_archive.gb_month;
    const moving = sum(objects.filter(moves(options)), ({ count }) => count);
    if (month === lifecycle.glacierAfterMonths) {
      moved += moving;
      movedUsd += chargeOf(moving, prices.glacier.transition_per_1000).usd;
    }
    if (month === lifecycle.deepArchiveAfterMonths) {
      moved += moving;
      movedUsd += chargeOf(moving, prices.deep_archive.transition_per_1000).usd;
    }
  }
  return {
    year,
    standardGb: last.standard,
    glacierGb: last.glacier,
    deepArchiveGb: last.deepArchive,
    storageUsd,
    transitions: { count: moved, usd: movedUsd },
  };
}

/** GB in each tier during a month, counted from 0. */
function tiersAt(options: CostOptions, objects: readonly Objects[], month: number) {
  const { prices, lifecycle } = options;
  const { standard_bytes, archive_bytes } = prices.archived_object;
  const tiers = { standard: 0, glacier: 0, deepArchive: 0 };
  for (const each of objects) {
    const { count, bytes } = each;
    if (month < lifecycle.glacierAfterMonths || !moves(options)(each)) {
      tiers.standard += (count * bytes) / GB;
      continue;
    }
    const tier = month < lifecycle.deepArchiveAfterMonths ? "glacier" : "deepArchive";
    tiers[tier] += (count * (bytes + archive_bytes)) / GB;
    tiers.standard += (count * standard_bytes) / GB;
  }
  return tiers;
}

function moves({ lifecycle }: CostOptions): (objects: Objects) => boolean {
  return ({ bytes }) => bytes >= lifecycle.smallestBytes;
}

function standardUsd(gb: number, steps: PriceTable["standard_gb_month"]): number {
  let usd = 0;
  let from = 0;
  for (const { up_to_gb, price } of steps) {
    const to = up_to_gb ?? Number.POSITIVE_INFINITY;
    usd += Math.max(0, Math.min(gb, to) - from) * price;
    from = to;
  }
  return usd;
}

function chargeOf(count: number, per1000: number): Charge {
  return { count, usd: (count / 1000) * per1000 };
}

function sum<T>(items: readonly T[], of: (item: T) => number): number {
  return items.reduce((total, item) => total + of(item), 0);
}

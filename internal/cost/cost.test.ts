import { randomBytes } from "node:crypto";
import { describe, expect, test } from "vitest";
import { appendVotes, genesisHeads } from "../ballot/chain.ts";
import { testManifest } from "../ballot/test-manifest.ts";
import { shardOf } from "../ballot/voter-key.ts";
import { sha256 } from "../core/sha256.ts";
import { encodeSegment, encodeSegmentText } from "../evidence/segment.ts";
import { writeLine } from "../evidence/segment-line.ts";
import { ASSUMED, type Cost, costOf, type Layout, LIFECYCLE } from "./cost.ts";
import file from "./prices.json" with { type: "json" };
import { priceTable } from "./prices.ts";

const prices = priceTable.parse(file);
const VOTERS = 300_000_000;

function cost(
  layout: Layout,
  options: { readonly smallestBytes?: number; readonly years?: number } = {},
): Cost {
  const { smallestBytes = 0, years = 10 } = options;
  const lifecycle = { ...LIFECYCLE, smallestBytes };
  return costOf({ votes: VOTERS, layout, years, measures: ASSUMED[layout], prices, lifecycle });
}

describe("300 million votes", () => {
  test("as one object each: $1,500 of PUTs, and 12 TB of cold storage for their metadata alone", () => {
    const { objects, archiveOverheadBytes } = cost("object-per-vote");
    const [votes] = objects;
    expect(votes).toMatchObject({ kind: "votes", count: VOTERS, puts: 1 });
    expect(((votes?.count ?? 0) / 1000) * prices.put_per_1000).toBe(1_500);
    expect(archiveOverheadBytes / 1e12).toBeGreaterThan(12);
    expect(archiveOverheadBytes / 1e12).toBeLessThan(12.4);
  });

  test("in segments: at most 250 bytes a vote, and under $5 of requests", () => {
    const { bytesPerVote, requestsUsd, totalUsd } = cost("segments");
    expect(bytesPerVote).toBeLessThanOrEqual(250);
    expect(requestsUsd).toBeLessThan(5);
    expect(requestsUsd).toBeGreaterThan(1.5);
    expect(totalUsd).toBeLessThan(cost("object-per-vote").totalUsd / 50);
  });

  test("move once to each colder tier, in the first year and at the beginning of the second", () => {
    const { years, objects } = cost("segments");
    const count = objects.reduce((sum, kind) => sum + kind.count, 0);
    expect(years.map(({ transitions }) => transitions.count)).toEqual([count, count, ...Array(8).fill(0)]);
    expect(years[0]?.transitions.usd).toBeCloseTo((count / 1000) * 0.03);
    expect(years[1]?.transitions.usd).toBeCloseTo((count / 1000) * 0.05);
    expect(years[0]).toMatchObject({ deepArchiveGb: 0 });
    expect(years[9]).toMatchObject({ glacierGb: 0 });
  });

  test("of small objects that stay in Standard, no move is paid", () => {
    const { years, archiveOverheadBytes } = cost("object-per-vote", { smallestBytes: 131_072 });
    expect(years.every(({ transitions }) => transitions.count === 0)).toBe(true);
    expect(archiveOverheadBytes).toBe(0);
    expect(years[9]?.standardGb).toBeCloseTo(years[0]?.standardGb ?? 0);
  });

  test("by hand: a year of segments", () => {
    const measures = { segmentBytes: 2 ** 20, segmentVotes: 1_000, voteBytes: 0, checkpointBytes: 0 };
    const options = { layout: "segments" as const, years: 1, measures, prices, lifecycle: LIFECYCLE };
    const { years, puts, gets } = costOf({ ...options, votes: 1_000_000 });
    // 1,000 segments of 1,000 MiB, 100 checkpoints of nothing.
    expect(puts).toEqual({ count: 2_100, usd: 0.0105 });
    expect(gets.count).toBe(2_100);
    const gb = 1_000_000 / 1024;
    const [archived, names] = [gb + (1_100 * 32) / 2 ** 20, (1_100 * 8) / 2 ** 20];
    expect(years[0]?.storageUsd).toBeCloseTo(3 * gb * 0.023 + 9 * (archived * 0.0036 + names * 0.023), 6);
  });
});

test("storage in Standard is cheaper beyond each step", () => {
  const one = {
    layout: "segments" as const,
    years: 1,
    prices,
    lifecycle: { ...LIFECYCLE, glacierAfterMonths: 99 },
  };
  const measures = { segmentBytes: 2 ** 30, segmentVotes: 1, voteBytes: 0, checkpointBytes: 0 };
  const monthly = (gb: number) => (costOf({ ...one, measures, votes: gb }).years[0]?.storageUsd ?? 0) / 12;
  expect(monthly(51_200)).toBeCloseTo(51_200 * 0.023, 3);
  expect(monthly(51_300)).toBeCloseTo(51_200 * 0.023 + 100 * 0.022, 3);
  expect(monthly(600_000)).toBeCloseTo(51_200 * 0.023 + 460_800 * 0.022 + 88_000 * 0.021, 3);
});

test("a price table with an unknown price, or none for the last GB, is refused", () => {
  expect(() => priceTable.parse({ ...file, post_per_1000: 1 })).toThrow();
  expect(() => priceTable.parse({ ...file, standard_gb_month: [{ up_to_gb: 1, price: 1 }] })).toThrow();
  expect(() => priceTable.parse({ ...file, date: "last week" })).toThrow();
});

test("what is assumed of a vote is what real records take", () => {
  const manifest = testManifest();
  const heads = genesisHeads(sha256(new Uint8Array()), manifest.shards);
  const voters = Array.from({ length: 2_000 }, () => new Uint8Array(randomBytes(32)));
  const records = heads.flatMap((head) => {
    const mine = voters.filter((voter) => shardOf(voter, manifest.shards) === head.shard);
    const votes = mine.map((voterPseudonym) => ({
      voterPseudonym,
      revision: 1,
      sealedChoice: new Uint8Array(randomBytes(63)),
    }));
    return appendVotes(head, votes, { shards: manifest.shards, nowMicros: 1_930_000_000_000_000 }).records;
  });
  const entries = records.slice(0, 800).map((record) => ({ type: "vote" as const, record }));
  const root = sha256(new Uint8Array());
  const segment = {
    electionId: manifest.electionId,
    manifestHash: root,
    firstIndex: 1,
    shardHeads: heads,
    rootBefore: root,
    rootAfter: root,
    entries,
  };
  const bytes = encodeSegment(segment).length / entries.length;
  expect(bytes).toBeLessThanOrEqual(ASSUMED.segments.segmentBytes);
  expect(bytes).toBeGreaterThan(ASSUMED.segments.segmentBytes * 0.8);
  expect(encodeSegmentText(segment).length / entries.length).toBeGreaterThan(bytes);
  const lines = entries.map((entry) => writeLine(entry).length + 1);
  const line = lines.reduce((sum, length) => sum + length, 0) / lines.length;
  expect(line).toBeLessThanOrEqual(ASSUMED["object-per-vote"].voteBytes);
  expect(line).toBeGreaterThan(ASSUMED["object-per-vote"].voteBytes * 0.8);
});

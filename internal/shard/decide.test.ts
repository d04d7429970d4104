import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { verifyRun } from "../ballot/chain.ts";
import type { Manifest } from "../ballot/manifest.ts";
import { testManifest } from "../ballot/test-manifest.ts";
import { equalBytes } from "../core/bytes.ts";
import { electionId, sequence } from "../core/ids.ts";
import { sha256 } from "../core/sha256.ts";
import { type Answer, type Decision, decide, type PendingVote, type Recorded } from "./decide.ts";
import type { KnownVote, StoredHead } from "./ports.ts";
import { testHeads, testVote } from "./test-votes.ts";

const manifest = testManifest({ shards: 4 });
const lastCounts = testManifest({ shards: 4, revoting: "last-counts" });
const NOW = 1_000_000;

/** The database, as far as a decision depends on it. */
class Shards {
  readonly #heads: StoredHead[];
  readonly #votes: { vote: PendingVote; answer: Recorded }[] = [];

  constructor(manifest: Manifest) {
    this.#heads = testHeads(manifest);
  }

  append(votes: readonly PendingVote[], now = NOW): Decision {
    const known = votes.flatMap((vote, index): KnownVote[] => {
      const mine = this.#votes.filter((stored) =>
        equalBytes(stored.vote.voterPseudonym, vote.voterPseudonym),
      );
      const same = mine.find((stored) => equalBytes(stored.vote.requestToken, vote.requestToken));
      const found = same ?? mine.sort((a, b) => a.answer.revision - b.answer.revision).at(-1);
      return found ? [{ ...found.answer, index, sameRequest: found === same }] : [];
    });
    const decision = decide(votes, { heads: this.#heads, votes: known }, now);
    for (const head of decision.writes.heads) {
      const before = this.#heads[head.shard];
      if (before !== undefined) this.#heads[head.shard] = { ...before, ...head };
    }
    const sequences = new Set(decision.writes.records.map(({ shard, sequence }) => `${shard}/${sequence}`));
    votes.forEach((vote, index) => {
      const answer = decision.answers[index];
      if (answer?.outcome === "recorded" && sequences.delete(`${vote.shard}/${answer.sequence}`)) {
        this.#votes.push({ vote, answer });
      }
    });
    return decision;
  }
}

const outcomes = ({ answers }: Decision) => answers.map(({ outcome }) => outcome);
const recorded = (answer: Answer | undefined): Recorded => {
  if (answer?.outcome !== "recorded") throw new Error("not recorded");
  return answer;
};

describe("one vote", () => {
  const vote = (voter: string, request?: string) => testVote(manifest, voter, request);

  test("a second request of a voter is refused, and a repeated one answered again", () => {
    const shards = new Shards(manifest);
    const first = shards.append([vote("a"), vote("b")]);
    expect(outcomes(first)).toEqual(["recorded", "recorded"]);
    const again = shards.append([vote("a", "other"), vote("b"), vote("a")], NOW + 5);
    expect(again.answers).toEqual([{ outcome: "already-voted" }, first.answers[1], first.answers[0]]);
    expect(again.writes).toEqual({ records: [], heads: [] });
  });

  test("so it is within one group", () => {
    const { answers, writes } = new Shards(manifest).append([
      vote("a"),
      vote("a", "other"),
      vote("a"),
      vote("b"),
    ]);
    expect(answers.map(({ outcome }) => outcome)).toEqual([
      "recorded",
      "already-voted",
      "recorded",
      "recorded",
    ]);
    expect(answers[2]).toEqual(answers[0]);
    expect(writes.records).toHaveLength(2);
  });
});

describe("last counts", () => {
  const vote = (voter: string, request?: string) => testVote(lastCounts, voter, request);

  test("each new request is the next revision, and a repeated one has its own again", () => {
    const shards = new Shards(lastCounts);
    const first = shards.append([vote("a"), vote("a", "2")]);
    expect(first.answers.map((answer) => recorded(answer).revision)).toEqual([1, 2]);
    const next = shards.append([vote("a"), vote("a", "3"), vote("a", "2"), vote("a", "4")]);
    expect(next.answers.map((answer) => recorded(answer).revision)).toEqual([1, 3, 2, 4]);
    expect(next.answers[0]).toEqual(first.answers[0]);
  });
});

const recordedAt = (place: number) => ({
  sequence: sequence(place),
  revision: 1,
  castAt: 9,
  hash: sha256(new Uint8Array()),
});

test("a closed shard takes nothing new and answers what it has", () => {
  const [a, b] = [testVote(manifest, "a"), testVote(manifest, "b")];
  const known = { ...recordedAt(3), index: 0, sameRequest: true };
  const { answers, writes } = decide(
    [a, b],
    { heads: testHeads(manifest, { closed: true }), votes: [known] },
    NOW,
  );
  expect(answers).toMatchObject([{ outcome: "recorded", sequence: 3, castAt: 9 }, { outcome: "closed" }]);
  expect(writes.records).toEqual([]);
});

test("no record bears a time at which the election takes no votes", () => {
  const closing = testManifest({ shards: 4, closesAt: NOW });
  const at = (now: number, castAt = 0) => {
    const heads = testHeads(closing).map((head) => ({ ...head, castAt }));
    return outcomes(decide([testVote(closing, "a")], { heads, votes: [] }, now));
  };
  expect(at(NOW - 1)).toEqual(["recorded"]);
  expect(at(NOW)).toEqual(["closed"]);
  // Another replica's clock was ahead: the record would bear the time of the one before it.
  expect(at(NOW - 1, NOW)).toEqual(["closed"]);
});

test("a shard whose head is lost gets no new chain", () => {
  const vote = testVote(manifest, "a");
  const heads = testHeads(manifest).filter((head) => head.shard !== vote.shard);
  const { answers, writes } = decide([vote], { heads, votes: [] }, NOW);
  expect(answers).toEqual([{ outcome: "unavailable" }]);
  expect(writes.records).toEqual([]);
});

test("a head of another election gets no record, and nothing is known there of the vote", () => {
  const other = testManifest({ shards: 4, electionId: electionId("other") });
  const [stray, mine] = [testVote(other, "a"), testVote(manifest, "b")];
  const known = { ...recordedAt(3), index: 0, sameRequest: true };
  const heads = testHeads(manifest);
  const { answers, writes, strays } = decide([stray], { heads, votes: [known] }, NOW);
  expect(answers).toEqual([{ outcome: "unavailable" }]);
  expect(writes).toEqual({ records: [], heads: [] });
  expect(strays).toEqual([{ election: 1, electionId: "other" }]);
  expect(decide([mine], { heads, votes: [] }, NOW).strays).toEqual([]);
});

test("whatever comes in whatever groups: dense verified chains, one answer a request, one vote a voter", () => {
  const request = fc.record({
    voter: fc.integer({ min: 0, max: 9 }),
    request: fc.integer({ min: 0, max: 2 }),
  });
  const groups = fc.array(fc.record({ votes: fc.array(request, { maxLength: 12 }), now: fc.nat(1_000) }), {
    maxLength: 12,
  });
  fc.assert(
    fc.property(groups, fc.boolean(), (groups, revoting) => {
      const rules = revoting ? lastCounts : manifest;
      const shards = new Shards(rules);
      let heads = testHeads(rules).map(({ shard, sequence, hash, castAt }) => ({
        shard,
        sequence,
        hash,
        castAt,
      }));
      const answered = new Map<string, Answer>();
      for (const group of groups) {
        const { answers, runs, writes } = shards.append(
          group.votes.map(({ voter, request }) => testVote(rules, `${voter}`, `${request}`)),
          group.now,
        );
        for (const run of runs) {
          const head = heads[run.shard];
          if (head === undefined) throw new Error("no such shard");
          heads = heads.with(run.shard, verifyRun(head, run.records, rules.shards));
        }
        expect(runs.flatMap(({ records }) => records)).toHaveLength(writes.records.length);
        group.votes.forEach(({ voter, request }, index) => {
          const answer = answers[index];
          if (answer?.outcome !== "recorded") return;
          const key = `${voter}/${request}`;
          expect(answered.get(key) ?? answer).toEqual(answer);
          answered.set(key, answer);
        });
      }
      const revisions = Map.groupBy(answered, ([key]) => key.split("/")[0]);
      for (const [, votes] of revisions) {
        const numbers = votes.map(([, answer]) => recorded(answer).revision).sort((a, b) => a - b);
        expect(numbers).toEqual(numbers.map((_, index) => index + 1));
        if (!revoting) expect(numbers).toHaveLength(1);
      }
      const total = heads.reduce((sum, { sequence }) => sum + sequence, 0);
      expect(total).toBe(answered.size);
    }),
  );
});

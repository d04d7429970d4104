import { randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { appendVotes, type ChainHead } from "../ballot/chain.ts";
import type { VoteRecord } from "../ballot/record.ts";
import { sequence, shardId } from "../core/ids.ts";
import { sha256 } from "../core/sha256.ts";
import { type PlanShardOptions, planShard } from "./repair-plan.ts";
import type { DatabaseHead, ShardFacts } from "./repair-ports.ts";

const SHARD = shardId(0);
const genesis = sha256(Uint8Array.of(1));
const BEGINNING: ChainHead = { shard: SHARD, sequence: sequence(0), hash: genesis, castAt: 0 };
const noRows = { missing: 0, changed: 0, moved: 0, duplicate: 0 };

/** So many votes, by anybody, after a head. */
function votesAfter(head: ChainHead, count: number): VoteRecord[] {
  const votes = Array.from({ length: count }, () => ({
    voterPseudonym: randomBytes(32),
    revision: 1,
    sealedChoice: randomBytes(63),
  }));
  return appendVotes(head, votes, { shards: 1, nowMicros: 1_000 + head.sequence }).records;
}

const sealed = votesAfter(BEGINNING, 10);
const later = votesAfter(at(10), 3);

/** The head after so many of the sealed records. */
function at(count: number): ChainHead {
  return sealed[count - 1] ?? BEGINNING;
}

const headAt = ({ shard, sequence: number, hash, castAt }: ChainHead): DatabaseHead => ({
  ...{ shard, sequence: number, hash, castAt },
  ...{ genesis, closed: false, sealedSequence: sequence(0) },
});

function plan(facts: Partial<ShardFacts>, options: Partial<PlanShardOptions> = {}) {
  const { head } = facts;
  return planShard({
    facts: {
      shard: SHARD,
      rows: noRows,
      head,
      afterHead: head && sealed[head.sequence],
      next: [],
      tail: undefined,
      appended: undefined,
      secondVote: undefined,
      ...facts,
    },
    end: { ...at(10), genesis },
    shards: 1,
    closed: false,
    acknowledged: sequence(10),
    ...options,
  });
}

test("rows are put back, and a head that is right stays", () => {
  expect(plan({ head: headAt(at(10)) })).toEqual({ kind: "nothing", shard: SHARD });
  const rows = { ...noRows, missing: 2 };
  expect(plan({ head: headAt(at(10)), rows })).toEqual({
    kind: "repair",
    shard: SHARD,
    rows,
    head: undefined,
  });
});

test("a head that is ahead of the evidence stays, whatever follows there", () => {
  const rows = { ...noRows, changed: 1 };
  const head = headAt(later[2] ?? at(0));
  for (const next of [later.slice(0, 2), [undefined], []]) {
    expect(plan({ head, rows, next })).toMatchObject({ kind: "repair", head: undefined });
  }
});

test("a row with a hash of its own is replaced while the head is on the sealed chain, since services append to it", () => {
  const rows = { ...noRows, changed: 1 };
  expect(plan({ head: headAt(at(10)), rows, appended: sequence(4) })).toMatchObject({ kind: "repair" });
  const head = headAt(later[2] ?? at(0));
  expect(plan({ head, rows, appended: sequence(4), next: later.slice(0, 2) })).toMatchObject({
    kind: "repair",
  });
});

test("where two rows continue what was sealed nobody can say which chain the head is on", () => {
  const rows = { ...noRows, changed: 1 };
  const [head, next] = [headAt(later[2] ?? at(0)), [...later.slice(0, 1), ...votesAfter(at(10), 1)]];
  expect(plan({ head, rows, next, appended: sequence(4) })).toMatchObject({ kind: "refused" });
  expect(plan({ head, rows, next })).toMatchObject({ kind: "repair", head: undefined });
});

test.each([8, 10, 12])("votes taken since an older backup stay, with their head at %i", (last) => {
  const taken = votesAfter(at(5), last - 5);
  const head = headAt(taken.at(-1) ?? at(0));
  const rows = { ...noRows, changed: Math.min(last, 10) - 5 };
  const next = taken.slice(5, 7);
  expect(plan({ head, rows, next, appended: sequence(6) })).toMatchObject({
    kind: "refused",
    reason: expect.stringContaining("from sequence 6 on"),
  });
});

test("neither of two votes of one voter is dropped", () => {
  const rows = { ...noRows, missing: 1 };
  const next = later.slice(0, 2);
  const head = headAt(later[2] ?? at(0));
  expect(plan({ head, rows, next, secondVote: sequence(12) })).toMatchObject({
    kind: "refused",
    reason: expect.stringContaining("sequence 12"),
  });
});

test("a head that is lost or was moved back is put to the last row that continues what was sealed", () => {
  const last = later[2] ?? at(0);
  for (const head of [undefined, headAt(at(4))]) {
    expect(plan({ head, tail: at(10) })).toMatchObject({ kind: "repair", head: { sequence: 10 } });
    expect(plan({ head, next: later.slice(0, 2), tail: last })).toMatchObject({
      kind: "repair",
      head: { sequence: 13, hash: last.hash, genesis, sealedSequence: 10 },
    });
  }
  expect(plan({ head: undefined, tail: at(10) }, { closed: true })).toMatchObject({ head: { closed: true } });
});

test("its time does not go back", () => {
  const head = { ...headAt(at(4)), castAt: 9_000 };
  expect(plan({ head, tail: at(10) })).toMatchObject({ kind: "repair", head: { castAt: 9_000 } });
});

test("a head is not put where new votes would take the place of acknowledged ones", () => {
  const acknowledged = sequence(12);
  expect(plan({ head: undefined, tail: at(10) }, { acknowledged })).toMatchObject({
    kind: "refused",
    reason: expect.stringContaining("up to sequence 12 are acknowledged"),
  });
  expect(plan({ head: undefined, next: later.slice(0, 2), tail: later[2] }, { acknowledged })).toMatchObject({
    kind: "repair",
  });
});

test("a head is not put after rows that do not continue what was sealed", () => {
  expect(plan({ head: undefined, next: [undefined], tail: undefined })).toMatchObject({
    kind: "refused",
    reason: expect.stringContaining("nobody can say"),
  });
});

test("a shard of another election is left alone", () => {
  const head = { ...headAt(at(10)), genesis: sha256(Uint8Array.of(2)) };
  expect(plan({ head, rows: { ...noRows, changed: 10 } })).toMatchObject({
    kind: "refused",
    reason: expect.stringContaining("another election"),
  });
});

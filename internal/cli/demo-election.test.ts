import { expect, test } from "vitest";
import { VERMONT_TOTALS } from "../demo/vermont-2020.ts";
import { DemoElection } from "./demo-election.ts";

const spoilt = { malformed: 0, undecryptable: 0, "no-such-choice": 0 };

test("the whole election is as it was certified, with second attempts that are for somebody else", () => {
  const demo = new DemoElection();
  expect(demo).toMatchObject({ id: "vermont-2020", ballots: 370_968, secondAttempts: 742, isWhole: true });
  expect(demo.certified()).toEqual(VERMONT_TOTALS);
  let attempts = 0;
  for (const { voterId, choiceId, requestId, secondAttempt } of demo.votes()) {
    if (!secondAttempt) continue;
    attempts++;
    expect(secondAttempt.voterId).toBe(voterId);
    expect(secondAttempt.choiceId).not.toBe(choiceId);
    expect(secondAttempt.requestId).not.toBe(requestId);
  }
  expect(attempts).toBe(742);
  expect(new DemoElection(1_000_000).id).toBe("vermont-2020");
});

test("a part of it is an election of its own", () => {
  const demo = new DemoElection(1_001);
  expect(demo).toMatchObject({ id: "vermont-2020-first-1001", ballots: 1_001, secondAttempts: 3 });
  expect(demo.title).toContain("the first 1,001 ballots");
  expect([...demo.votes()]).toHaveLength(1_001);
  expect(demo.certified().reduce((sum, votes) => sum + votes, 0)).toBe(1_001);
  expect([...new DemoElection(1).votes()]).toHaveLength(1);
});

test("a count is held against it, choice by choice and in all", () => {
  const demo = new DemoElection(1_000);
  const counts = demo.certified();
  const result = { counts, spoilt, records: 1_000, voters: 1_000 };
  const { matches, table } = demo.compare({ choices: demo.choices, result });
  expect(matches).toBe(true);
  expect(table.split("\n")).toHaveLength(1 + 24 + 1);
  const moved = counts.map((votes, i) => votes + (i === 0 ? 1 : i === 1 ? -1 : 0));
  const wrong = demo.compare({ choices: demo.choices, result: { ...result, counts: moved } });
  expect(wrong.matches).toBe(false);
  expect(wrong.table.match(/NO/g)).toHaveLength(2);
  expect(demo.compare({ choices: demo.choices, result: { ...result, voters: 999 } }).matches).toBe(false);
});

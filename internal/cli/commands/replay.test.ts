import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { TemporaryFolder } from "../../../deploy/local/temporary-folder.ts";
import { VERMONT_CHOICES, VERMONT_TOTALS } from "../../demo/vermont-2020.ts";
import { UsageError } from "../exit-code.ts";
import { ballotsOf, choicesOf, type ResultRow, readResults } from "./replay.ts";

async function read(text: string): Promise<ResultRow[]> {
  await using folder = await TemporaryFolder.create();
  const file = join(folder.path, "results.csv");
  await writeFile(file, text);
  return await readResults(file);
}

describe("a table of results", () => {
  test("is read by its columns, in any order and with others", async () => {
    const rows = await read(
      'party,votes,candidate,county,town\nX,2,Ada,Essex,Granby\n,1,"Bob, Jr.",Essex,Granby\n,0,Ada,Essex,"Guild\nhall"\n',
    );
    expect(rows).toEqual([
      { place: "Essex/Granby/", candidate: "Ada", votes: 2 },
      { place: "Essex/Granby/", candidate: "Bob, Jr.", votes: 1 },
      { place: "Essex/Guild\nhall/", candidate: "Ada", votes: 0 },
    ]);
    expect(choicesOf(rows)).toEqual([
      { id: "ada", name: "Ada" },
      { id: "bob-jr", name: "Bob, Jr." },
    ]);
  });

  test.each([
    ["", "has no rows"],
    ["candidate,votes\n", "has no rows"],
    ["name,votes\nAda,1\n", 'there is no column "candidate"'],
    ["candidate,count\nAda,1\n", 'there is no column "votes"'],
    ["candidate,votes\nAda,1\nBob\n", "line 3: not a row of candidate,votes"],
    ["candidate,votes\nAda,-1\n", "line 2: not a row"],
    ["candidate,votes\nAda,1.5\n", "line 2: not a row"],
    ["candidate,votes\nAda,\n", "line 2: not a row"],
    ["candidate,votes\n,1\n", "line 2: not a row"],
    ['candidate,votes\n"Ada,1\n', "line 2: a quote is out of place"],
  ])("%j is refused with its line", async (text, problem) => {
    await expect(read(text)).rejects.toThrow(UsageError);
    await expect(read(text)).rejects.toThrow(problem);
  });

  test("that is not there", async () => {
    await expect(readResults("/nonexistent.csv")).rejects.toThrow(UsageError);
  });

  test("becomes one ballot a vote, places mixed, every voter once and the same each time", async () => {
    const rows = [
      { place: "a", candidate: "Ada", votes: 3 },
      { place: "a", candidate: "Bob", votes: 1 },
      { place: "b", candidate: "Ada", votes: 2 },
      { place: "b", candidate: "Eve", votes: 0 },
    ];
    const ballots = [...ballotsOf(rows)];
    expect(ballots.map(({ voterId, choiceId }) => `${voterId} ${choiceId}`)).toEqual([
      "a#1 ada",
      "a#2 bob",
      "b#1 ada",
      "a#3 ada",
      "b#2 ada",
      "a#4 ada",
    ]);
    expect(new Set(ballots.map(({ requestId }) => requestId)).size).toBe(6);
    expect([...ballotsOf(rows)]).toEqual(ballots);
  });
});

// Beside the checkout on machines that have it; it is not part of the project.
const precincts = fileURLToPath(
  new URL("../../../../shared/data/vermont-2020-president.csv", import.meta.url),
);

test.runIf(existsSync(precincts))("the precincts of Vermont add up to the county table", async () => {
  const rows = await readResults(precincts);
  const counts = new Map<string, number>();
  const voters = new Set<string>();
  for (const { voterId, choiceId } of ballotsOf(rows)) {
    voters.add(voterId);
    counts.set(choiceId, (counts.get(choiceId) ?? 0) + 1);
  }
  expect(voters.size).toBe(370_968);
  expect(VERMONT_CHOICES.map(({ id }) => counts.get(id))).toEqual(VERMONT_TOTALS);
  expect(
    choicesOf(rows)
      .map(({ id }) => id)
      .sort(),
  ).toEqual(VERMONT_CHOICES.map(({ id }) => id).sort());
});

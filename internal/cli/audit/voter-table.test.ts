import fc from "fast-check";
import { expect, test } from "vitest";
import { ROW_SIZE, VOTER_SIZE } from "./voter-rows.ts";
import { VoterTable } from "./voter-table.ts";

/** Rows of these voters: what follows a voter in its row differs from row to row. */
function rowsOf(voters: readonly Uint8Array[]): Uint8Array {
  const rows = new Uint8Array(voters.length * ROW_SIZE).map((_, at) => at >> 5);
  for (const [row, voter] of voters.entries()) rows.set(voter, row * ROW_SIZE);
  return rows;
}

test("knows each voter's newest row, as a map would", () => {
  // Few different bytes, so that voters come again and others differ in one byte alone.
  const voter = fc.uint8Array({ minLength: VOTER_SIZE, maxLength: VOTER_SIZE, max: 1 });
  const voters = fc.array(
    fc.oneof(
      voter,
      fc.nat({ max: 3 }).map((of) => new Uint8Array(VOTER_SIZE).fill(of)),
    ),
  );
  fc.assert(
    fc.property(voters, (all) => {
      const table = new VoterTable(rowsOf(all));
      const expected = new Map<string, number>();
      for (const [row, bytes] of all.entries()) {
        expect(table.newest(row)).toBe(expected.get(bytes.join()));
        table.set(row);
        expected.set(bytes.join(), row);
      }
    }),
  );
});

test("holds as many voters as there are rows", () => {
  const voters = Array.from({ length: 4096 }, (_, i) =>
    new Uint8Array(VOTER_SIZE).fill(i & 0xff).fill(i >> 8, 8),
  );
  const table = new VoterTable(rowsOf(voters));
  for (const row of voters.keys()) table.set(row);
  expect([...voters.keys()].every((row) => table.newest(row) === row)).toBe(true);
});

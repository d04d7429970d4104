import { expect, test } from "vitest";
import { electionId, sequence, shardId } from "../../core/ids.ts";
import { Differences } from "../../reconcile/difference.ts";
import { VerificationReport } from "../../verify/report.ts";
import { describeReconciliation, isWell, reconciliationJson } from "./report.ts";

const ID = electionId("town");
const well = () => ({ report: new VerificationReport(), differences: new Differences(), guards: [] });

test("nothing found is ok", () => {
  expect(isWell(well())).toBe(true);
  expect(reconciliationJson(ID, well())).toMatchObject({ result: "ok", differences: [], broken_guards: [] });
  expect(describeReconciliation(well()).at(-1)).toBe("result: ok");
});

test("a row, a rule, and a shard that a repair left alone each fail it, in every form", () => {
  const differences = new Differences();
  differences.add({ shard: shardId(1), sequence: sequence(4), kind: "missing", problem: "gone" });
  const guards = [{ instance: "pg0", guard: "records_voter of records" }];
  for (const [found, leftAlone, said] of [
    [{ ...well(), differences }, false, "1 differences from the evidence"],
    [{ ...well(), guards }, false, "1 constraints or triggers are not as they were made"],
    [well(), true, "shards were left alone"],
  ] as const) {
    expect(isWell(found) && !leftAlone).toBe(false);
    expect(reconciliationJson(ID, found, leftAlone)).toMatchObject({
      result: "failed",
      broken_guards: found.guards,
    });
    expect(describeReconciliation(found, leftAlone).at(-1)).toBe(`result: FAILED, ${said}`);
  }
});

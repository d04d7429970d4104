import { expect, test } from "vitest";
import { CHECKS, type CheckName, criticalChecks, severityOf } from "./checks.ts";
import type { Verdict } from "./judge.ts";
import { formatReport, outcomeOf, type ProbeReport, type ProbeResult } from "./report.ts";

const result = (check: CheckName, verdict: Verdict, more: Partial<ProbeResult> = {}): ProbeResult => ({
  check,
  as: "writer",
  severity: CHECKS[check].severity,
  verdict,
  observed: "as it was",
  ...more,
});

const report = (...results: ProbeResult[]): ProbeReport => ({
  store: "s3://evidence/2026",
  startedAt: new Date("2026-11-03T08:00:00Z"),
  retentionSeconds: 60,
  results,
});

test.each([
  ["held", [result("overwrite", "held"), result("conditional-put", "not-supported")]],
  ["held", [result("overwrite", "held"), result("put-without-checksum", "broken")]],
  ["held", [result("overwrite", "held"), result("put-without-checksum", "error")]],
  ["serious", [result("overwrite", "held"), result("conditional-put", "broken")]],
  ["unknown", [result("overwrite", "held"), result("conditional-put", "error")]],
  ["unknown", [result("overwrite", "error"), result("conditional-put", "broken")]],
  ["critical", [result("overwrite", "broken"), result("delete-version", "error")]],
] as const)("a report comes to %s", (outcome, results) => {
  expect(outcomeOf(report(...results))).toBe(outcome);
});

test("more depends on GOVERNANCE where it is all there is, and less on what an administrator may do", () => {
  expect(severityOf("governance-delete", "writer", "COMPLIANCE")).toBe("serious");
  expect(severityOf("governance-delete", "writer", "GOVERNANCE")).toBe("critical");
  expect(severityOf("governance-bypass", "admin", "GOVERNANCE")).toBe("note");
  expect(severityOf("delete-version", "admin", "COMPLIANCE")).toBe("critical");
  expect(severityOf("legal-hold-removal", "admin", "COMPLIANCE")).toBe("note");
  expect(criticalChecks("COMPLIANCE")).not.toContain("governance-delete");
  expect(criticalChecks("GOVERNANCE")).toContain("governance-delete");
});

test("a report has one text, in which a server's words are short", () => {
  const text = formatReport(report(result("overwrite", "error", { observed: "x".repeat(1_000) })));
  expect(text).toBe(
    `{"format":"psephos/worm-probe/v1","results":[{"as":"writer","check":"overwrite","observed":"${"x".repeat(200)}",` +
      `"severity":"critical","verdict":"error"}],"retention_seconds":60,"started_at":1793692800000000,` +
      `"store":"s3://evidence/2026"}`,
  );
});

test("the longest report there can be leaves room in an event", () => {
  const names = Object.keys(CHECKS) as CheckName[]; // The keys of a literal.
  const longest = names.map((name) => result(name, "not-supported", { observed: "x".repeat(300) }));
  expect(formatReport(report(...longest)).length).toBeLessThan(12 * 1024);
});

import { expect, test } from "vitest";
import { electionId } from "../../core/ids.ts";
import { parseEvent, signEvent } from "../../evidence/event.ts";
import { NoteSigner } from "../../tlog/note.ts";
import { CHECKS, type CheckName, criticalChecks, severityOf } from "./checks.ts";
import type { Verdict } from "./judge.ts";
import { formatReport, outcomeOf, type ProbeReport, type ProbeResult, reportJson } from "./report.ts";

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

const NAMES = Object.keys(CHECKS) as CheckName[]; // The keys of a literal.

test.each(["x", "€", "\u0001", "\u{1f5f3}", '"'])(
  "the longest report of %j there can be fits an event",
  (each) => {
    const longest = NAMES.map((name) => result(name, "not-supported", { observed: each.repeat(300) }));
    const store = `s3://${"b".repeat(63)}/${"\u0001".repeat(1_024)}`;
    const details = { minimum: NAMES, passed: false, report: reportJson({ ...report(...longest), store }) };
    const signer = NoteSigner.fromSeed(`${"o".repeat(200)}/audit-service`, new Uint8Array(32));
    const event = { electionId: electionId("e".repeat(63)), kind: "worm-probe", at: 1, details } as const;
    expect(parseEvent(signEvent(event, signer)).details).toEqual(details);
  },
);

test("no character is cut in two, and half of one is none", () => {
  const cut = (observed: string) => reportJson(report(result("overwrite", "error", { observed }))).results[0];
  expect(cut(`x${"\u{1f5f3}".repeat(60)}`)?.observed).toBe(`x${"\u{1f5f3}".repeat(49)}`);
  expect(cut("\ud83d")?.observed).toBe("\ufffd");
});

import { expect, test } from "vitest";
import { evidenceStatements, hasStatements, policyWith, statementsOf } from "./bucket-policy.ts";

const ours = evidenceStatements("evidence");
const theirs = {
  Sid: "Theirs",
  Effect: "Allow",
  Principal: { AWS: "arn:aws:iam::1:user/a" },
  Action: "s3:GetObject",
};
const written = JSON.stringify({ Version: "2012-10-17", Statement: ours });

test("what was written is found again", () => {
  expect(hasStatements(statementsOf(written), ours)).toBe(true);
  expect(hasStatements(statementsOf(policyWith([], ours)), ours)).toBe(true);
});

test("however a server has rewritten it", () => {
  const rewritten = [...ours].reverse().map(({ Sid: _, Action, Resource, ...rest }) => ({
    ...rest,
    Principal: { AWS: ["*"] },
    Action: Array.isArray(Action) && Action.length === 1 ? String(Action[0]) : [...(Action ?? [])].reverse(),
    Resource: Array.isArray(Resource) && Resource.length === 1 ? String(Resource[0]) : Resource,
    ...("Condition" in rest ? { Condition: { Bool: { "aws:SecureTransport": ["false"] } } } : {}),
  }));
  expect(hasStatements(rewritten, ours)).toBe(true);
});

test.each([
  ["nothing", []],
  ["one of them less", ours.slice(1)],
  ["another bucket's", evidenceStatements("other")],
  ["one that allows", ours.map((statement, i) => (i === 0 ? { ...statement, Effect: "Allow" } : statement))],
  [
    "one for somebody",
    ours.map((statement) => ({ ...statement, Principal: { AWS: "arn:aws:iam::1:root" } })),
  ],
  [
    "another condition",
    ours.map((statement) => ({ ...statement, Condition: { Bool: { "aws:SecureTransport": "true" } } })),
  ],
  ["fewer actions", ours.map((statement) => ({ ...statement, Action: statement.Action?.slice(1) ?? [] }))],
])("%s is not it", (_, statements) => {
  expect(hasStatements(statements, ours)).toBe(false);
});

test("others' statements stay, and an older one of ours is replaced", () => {
  const older = { ...ours[0], Effect: "Deny", Action: ["s3:DeleteObject"] };
  const policy = JSON.parse(policyWith([theirs, older], ours));
  expect(policy.Statement).toEqual([theirs, ...JSON.parse(JSON.stringify(ours))]);
  expect(policyWith(policy.Statement, ours)).toBe(JSON.stringify(policy));
});

test("a policy may have a single statement, or none", () => {
  expect(statementsOf(JSON.stringify({ Statement: theirs }))).toEqual([theirs]);
  expect(statementsOf("")).toEqual([]);
  expect(statementsOf(undefined)).toEqual([]);
});

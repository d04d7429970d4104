import { describe, expect, test } from "vitest";
import {
  type Answer,
  judgePresence,
  judgeSetting,
  judgeStored,
  judgeVersion,
  judgeVersions,
  type Lock,
  type Sight,
  type Verdict,
  withDoubt,
  worst,
} from "./judge.ts";

const at = (second: number) => new Date(Date.UTC(2026, 10, 3, 8, 0, second));
const lock: Lock = { mode: "COMPLIANCE", until: at(30) };
const intact: Sight = { content: "same", lock, at: at(1) };
const done: Answer = { kind: "done" };
const denied: Answer = { kind: "refused", code: "AccessDenied", reason: "permission" };
const worm: Answer = { kind: "refused", code: "InvalidRequest", reason: "request" };
const lost: Answer = { kind: "unknown", detail: "unreachable: ECONNRESET" };

describe("an attempt on a version", () => {
  test.each<[string, Partial<Sight>, Answer, Verdict]>([
    ["that was refused", {}, denied, "held"],
    ["that was refused in other words", {}, worm, "held"],
    ["that was accepted and not done", {}, done, "held"],
    ["that was accepted and done", { content: "gone", lock: null }, done, "broken"],
    ["that was said to be refused, and done", { content: "gone", lock: null }, denied, "broken"],
    ["that got no answer, and was done", { content: "gone", lock: null }, lost, "broken"],
    ["that got no answer, and was not done", {}, lost, "error"],
    ["that changed its bytes", { content: "other" }, denied, "broken"],
    ["that took its lock", { lock: null }, denied, "broken"],
    ["that shortened its lock", { lock: { ...lock, until: at(29) } }, done, "broken"],
    ["that weakened its lock", { lock: { mode: "GOVERNANCE", until: at(59) } }, done, "broken"],
    ["that lengthened its lock", { lock: { ...lock, until: at(31) } }, done, "held"],
    ["whose lock had ended by then", { content: "gone", lock: null, at: at(30) }, done, "error"],
  ])("%s", (_, seen, answer, verdict) => {
    expect(judgeVersion(lock, { ...intact, ...seen }, answer).verdict).toBe(verdict);
  });

  test("in a bucket that takes no locks does not hold, even where the version stays", () => {
    expect(judgeVersion(null, { ...intact, lock: null }, denied).verdict).toBe("broken");
  });

  test("that GOVERNANCE locks may become COMPLIANCE", () => {
    const governed: Lock = { ...lock, mode: "GOVERNANCE" };
    expect(judgeVersion(governed, intact, done).verdict).toBe("held");
  });

  test("is told in words: what was said, and what is there", () => {
    const gone: Sight = { content: "gone", lock: null, at: at(1) };
    expect(judgeVersion(lock, gone, denied).observed).toBe("refused (AccessDenied); the version is gone");
    expect(judgeVersion(lock, intact, done).observed).toBe("accepted; the version is as it was");
  });
});

test.each<[string, Partial<Sight>, Verdict]>([
  ["the lock asked for", {}, "held"],
  ["a longer one", { lock: { ...lock, until: at(31) } }, "held"],
  ["a shorter one", { lock: { ...lock, until: at(29) } }, "broken"],
  ["a weaker one", { lock: { ...lock, mode: "GOVERNANCE" } }, "broken"],
  ["none", { lock: null }, "broken"],
  ["other bytes", { content: "other" }, "broken"],
])("a stored version that shows %s", (_, seen, verdict) => {
  expect(judgeStored(lock, { ...intact, ...seen }).verdict).toBe(verdict);
});

test.each<[Sight["content"], Answer, Verdict]>([
  ["same", denied, "held"],
  ["same", done, "held"],
  ["same", lost, "error"],
  ["gone", denied, "broken"],
  ["other", done, "broken"],
])("a version that is %s when a deletion was %o", (content, answer, verdict) => {
  expect(judgePresence({ content }, answer).verdict).toBe(verdict);
});

test.each<[number, number, Answer, Verdict]>([
  [1, 1, worm, "held"],
  [1, 1, done, "held"], // As S3 may answer a repeated PUT of the same bytes.
  [2, 1, done, "broken"],
  [2, 1, worm, "broken"],
  [1, 0, worm, "broken"], // Refused, and stored all the same.
  [0, 0, worm, "held"],
  [0, 1, done, "error"],
  [1, 1, lost, "error"],
])("%i versions where %i were expected", (versions, expected, answer, verdict) => {
  expect(judgeVersions(versions, expected, answer).verdict).toBe(verdict);
});

test.each<[boolean, Answer, Verdict]>([
  [false, denied, "held"],
  [false, done, "held"],
  [true, denied, "broken"],
  [true, lost, "broken"],
  [false, lost, "error"],
])("a setting that changed: %s", (changed, answer, verdict) => {
  expect(judgeSetting(changed, answer).verdict).toBe(verdict);
});

test("of several judgements the worst counts, and the first among equals", () => {
  const of = (verdict: Verdict, observed = "") => ({ verdict, observed });
  expect(worst(of("held"), of("broken"), of("error")).verdict).toBe("broken");
  expect(worst(of("held"), of("not-supported"), of("error")).verdict).toBe("error");
  expect(worst(of("held", "first"), of("held", "second")).observed).toBe("first");
});

test("a refusal proves a lock only where one of its answers is not about permission", () => {
  const held = { verdict: "held", observed: "it is there" } as const;
  expect(withDoubt(held, denied, denied).observed).toContain("not proved");
  expect(withDoubt(held, denied, worm)).toBe(held);
  expect(withDoubt(held, done)).toBe(held);
  const broken = { verdict: "broken", observed: "it is gone" } as const;
  expect(withDoubt(broken, denied)).toBe(broken);
});

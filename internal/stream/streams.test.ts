import fc from "fast-check";
import { expect, test } from "vitest";
import { type ElectionId, electionId, isElectionId } from "../core/ids.ts";
import { backoffMs } from "./backoff.ts";
import { electionOfSubject, streamConfigs, subjectOf } from "./streams.ts";

test("a subject names its election, and only it", () => {
  fc.assert(
    fc.property(fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/), (text) => {
      const subject = subjectOf(electionId(text));
      expect(subject).toBe(`psephos.records.${text}`);
      expect(electionOfSubject(subject)).toBe(text);
    }),
  );
});

test.each(["", "a.b", "*", ">", "a b", "a\r\nPUB psephos.records.b 0\r\n", "A", "-a", "a".repeat(64)])(
  "no subject is made of %j, whatever its type claims",
  (text) => {
    // As from JavaScript, or from a cast that was a mistake.
    expect(() => subjectOf(text as ElectionId)).toThrow(RangeError);
  },
);

test("a subject that is not of an election's records names none", () => {
  for (const subject of [
    "",
    "psephos.records",
    "psephos.records.",
    "psephos.records.a.b",
    "psephos.parked",
    "x.a",
  ]) {
    expect(electionOfSubject(subject)).toBeUndefined();
  }
  fc.assert(
    fc.property(fc.string(), (text) => {
      const election = electionOfSubject(text);
      expect(election === undefined || isElectionId(election)).toBe(true);
    }),
  );
});

test("a stream remembers message ids no longer than messages", () => {
  const [records] = streamConfigs({ replicas: 3, maxBytes: 1_000, maxAgeMs: 5_000 });
  expect(records).toMatchObject({ num_replicas: 3, max_age: 5_000_000_000, duplicate_window: 5_000_000_000 });
});

test("waiting grows with failures, within its bound, and is not the same for all", () => {
  for (const failures of [0, 1, 5, 100, Number.MAX_SAFE_INTEGER]) {
    const waits = Array.from({ length: 50 }, () => backoffMs(failures));
    const ceiling = Math.min(2_000, 50 * 2 ** failures);
    expect(Math.min(...waits)).toBeGreaterThanOrEqual(ceiling / 2);
    expect(Math.max(...waits)).toBeLessThanOrEqual(ceiling);
    expect(new Set(waits).size).toBeGreaterThan(10);
  }
});

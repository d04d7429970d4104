import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { formatDuration, TimeLeft } from "./time-left.ts";

beforeEach(() => void vi.useFakeTimers({ toFake: ["performance"] }));
afterEach(() => void vi.useRealTimers());

test("the rate is that of what was done since the start, and says nothing too soon", () => {
  const left = new TimeLeft(1_000); // Done before an interruption.
  vi.advanceTimersByTime(400);
  expect(left.note(1_400, 63_000)).toBe("");
  vi.advanceTimersByTime(1_600);
  expect(left.note(1_000, 63_000)).toBe("");
  expect(left.note(3_000, 63_000)).toBe("1,000/s  1 min 0 s left");
});

test.each([
  [0, "0 s"],
  [11.2, "12 s"],
  [200, "3 min 20 s"],
  [3_900, "1 h 5 min"],
])("%d seconds are %s", (seconds, text) => expect(formatDuration(seconds)).toBe(text));

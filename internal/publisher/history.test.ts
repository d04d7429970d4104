import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { utf8 } from "../core/bytes.ts";
import { History } from "./history.ts";

const more = { last: false };

test("samples once a second, and the last size at any time", () => {
  const history = History.empty();
  expect([history.add(100, 1, more), history.add(100, 2, more), history.add(101, 3, more)]).toEqual([
    true,
    false,
    true,
  ]);
  expect(history.add(101, 3, { last: true })).toBe(false);
  expect(history.add(101, 4, { last: true })).toBe(true);
  expect(history.samples).toEqual([
    [100, 1],
    [101, 3],
    [101, 4],
  ]);
});

test("time does not go back, whatever the clock does", () => {
  const history = History.empty();
  history.add(100, 1, more);
  expect(history.add(50, 2, more)).toBe(false);
  history.add(50, 3, { last: true });
  expect(history.samples.at(-1)).toEqual([100, 3]);
});

test("stays bounded and evenly spread for as long as an election goes on, through restarts", () => {
  let history = History.empty();
  const day = 86_400;
  for (let second = 1; second <= 3 * day; second++) {
    history.add(second, second * 2, more);
    if (second % 10_000 === 0) history = History.parse(history.encode());
  }
  expect(history.samples.length).toBeLessThanOrEqual(1_440);
  expect(history.samples.length).toBeGreaterThan(700);
  expect(history.samples[0]).toEqual([1, 2]);
  expect(history.samples.at(-1)?.[0]).toBeGreaterThan(3 * day - 600);
  expect(history.encode().length).toBeLessThan(40_000);
});

test("what is written is read again", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(3), fc.nat(5)), { maxLength: 50 }), (steps) => {
      const history = History.empty();
      let [at, size] = [1_600_000_000, 1];
      for (const [seconds, entries] of steps) {
        at += seconds;
        size += entries;
        history.add(at, size, more);
      }
      expect(History.parse(history.encode()).samples).toEqual(history.samples);
    }),
  );
});

describe("what is no history", () => {
  test.each([
    "",
    "{",
    "null",
    "[]",
    '{"format":"psephos/history/v2","interval":1,"samples":[]}',
    '{"format":"psephos/history/v1","interval":0,"samples":[]}',
    '{"format":"psephos/history/v1","interval":1,"samples":[[1,2],[0,3]]}',
    '{"format":"psephos/history/v1","interval":1,"samples":[[1,2],[2,2]]}',
    '{"format":"psephos/history/v1","interval":1,"samples":[[1,2,3]]}',
    '{"format":"psephos/history/v1","interval":1,"samples":[["1",2]]}',
    '{"format":"psephos/history/v1","interval":1,"samples":{}}',
    "x".repeat(70_000),
  ])("%j is refused", (text) => {
    expect(() => History.parse(utf8(text))).toThrow();
  });
});

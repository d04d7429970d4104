import { InvalidArgumentError } from "commander";
import { expect, test } from "vitest";
import {
  collectChoice,
  parseCount,
  parseLockSeconds,
  parseLogKey,
  parseTime,
  parseTrustees,
  parseUrl,
} from "./arguments.ts";

const KEY = "psephos.local/vermont-2020-first-3000+d05562f6+ASkqlHRwPJBNWE0farQ8Y1IAlsXy5X4JGCFgZhFC8ccY";

test("arguments as they should be", () => {
  expect(parseCount("12345")).toBe(12_345);
  expect(["10", "3600"].map(parseLockSeconds)).toEqual([10, 3_600]);
  expect(parseTime("2026-11-03T08:00:00Z")).toBe(1_793_692_800_000_000);
  expect(parseTime("2026-11-03T08:00:00.5+01:00")).toBe(1_793_689_200_500_000);
  expect(parseTime("2026-11-03T08:00:00.123456Z")).toBe(1_793_692_800_123_456);
  expect(parseTime("2026-11-03T08:00:00.1234567Z")).toBe(1_793_692_800_123_456);
  expect(parseTime("2026-11-03T08:00:00.12345Z")).toBe(1_793_692_800_123_450);
  expect(parseTrustees("3/5")).toEqual({ threshold: 3, shares: 5 });
  expect(collectChoice("b=Bob=2", [{ id: "a", name: "Ada" }])).toEqual([
    { id: "a", name: "Ada" },
    { id: "b", name: "Bob=2" },
  ]);
  expect(parseUrl("http://127.0.0.1:80/log")).toBe("http://127.0.0.1:80/log");
  expect(parseLogKey(KEY)).toBe(KEY);
});

test.each<[(text: string) => unknown, string[]]>([
  [parseCount, ["", "0", "-1", "1.5", "1e3", "0x10", "01", "99999999999999999999", "many"]],
  [parseLockSeconds, ["", "0", "9", "3601", "60s"]],
  [parseTime, ["", "tomorrow", "2026-11-03", "2026-11-03T08:00:00", "2026-13-03T08:00:00Z", "1"]],
  [parseTrustees, ["", "2", "2/", "two/three", "2/3/4"]],
  [(text) => collectChoice(text, []), ["", "ada", "=Ada"]],
  [
    parseUrl,
    ["", "localhost:8080", "127.0.0.1", "ftp://x", "//x", "https://user:secret@host", "https://user@host"],
  ],
  [parseLogKey, ["", "key", KEY.slice(0, -1), KEY.replace("d05562f6", "d05562f7")]],
])("%o refuses %j", (parse, texts) => {
  for (const text of texts) expect(() => parse(text), text).toThrow(InvalidArgumentError);
});

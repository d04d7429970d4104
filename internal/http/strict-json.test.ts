import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ServiceError } from "../core/errors.ts";
import { parseStrictJson } from "./strict-json.ts";

const parse = (text: string) => parseStrictJson(new TextEncoder().encode(text));

function refusalOf(bytes: Uint8Array): ServiceError {
  try {
    parseStrictJson(bytes);
  } catch (error) {
    if (error instanceof ServiceError) return error;
    throw error;
  }
  throw new Error("it was not refused");
}

test("any JSON value comes back as it went in", () => {
  fc.assert(
    fc.property(fc.json(), fc.constantFrom(0, 2, "\t"), (json, indent) => {
      const value: unknown = JSON.parse(json);
      expect(parse(JSON.stringify(value, null, indent))).toEqual(value);
    }),
  );
});

test("strings may hold whatever looks like structure", () => {
  const tricky = { 'a":"b': '":', "\\": '\\":', ":": [{ ":": ":" }, "{:}"], 'x"': "\\\\" };
  expect(parse(JSON.stringify(tricky))).toEqual(tricky);
});

describe("a key named twice is refused", () => {
  test.each([
    ['{"a":1,"a":1}'],
    ['{"a":1,"b":2,"a":3}'],
    ['{"a":1,"\\u0061":2}'],
    ['{"o":{"a":1,"a":2}}'],
    ['[{"a":1},{"a":1,"a":2}]'],
    ['{"__proto__":1,"__proto__":2}'],
    ['{ "a" : 1 , "a"\n:\t2 }'],
  ])("%s", (text) => {
    expect(refusalOf(new TextEncoder().encode(text)).message).toBe("the body names a key twice");
  });
});

test.each([
  ["nothing", ""],
  ["a comment", "// x\n{}"],
  ["single quotes", "{'a':1}"],
  ["a trailing comma", '{"a":1,}'],
  ["two values", "{}{}"],
  ["NaN", "NaN"],
  ["a byte-order mark", "\ufeff{}"],
])("%s is not JSON", (_name, text) => {
  expect(refusalOf(new TextEncoder().encode(text)).kind).toBe("invalid-argument");
});

test.each([
  ["a lone continuation byte", [0x22, 0x80, 0x22]],
  ["an overlong slash", [0x22, 0xc0, 0xaf, 0x22]],
  ["a surrogate", [0x22, 0xed, 0xa0, 0x80, 0x22]],
  ["UTF-16", [0xff, 0xfe, 0x7b, 0x00, 0x7d, 0x00]],
])("%s is not UTF-8", (_name, bytes) => {
  expect(refusalOf(Uint8Array.from(bytes)).kind).toBe("invalid-argument");
});

test("bytes of any kind are parsed or refused, and never repeated", () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.uint8Array(),
        fc.json().map((json) => new TextEncoder().encode(`${json}PLANTED`)),
      ),
      (bytes) => {
        try {
          parseStrictJson(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(ServiceError);
          expect(String(error)).not.toContain("PLANTED");
        }
      },
    ),
  );
});

test("depth is no way to exhaust the stack", () => {
  const depth = 4_000;
  expect(() => parse("[".repeat(depth) + "]".repeat(depth))).not.toThrow();
  expect(() => parse(`${'{"a":'.repeat(depth)}1${"}".repeat(depth)}`)).not.toThrow();
});

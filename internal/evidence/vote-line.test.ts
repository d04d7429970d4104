import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FormatError } from "../ballot/format-error.ts";
import type { VoteRecord } from "../ballot/record.ts";
import { concat, utf8 } from "../core/bytes.ts";
import { MAX_SHARDS, sequence, shardId } from "../core/ids.ts";
import { asHash } from "../core/sha256.ts";
import { readAnyLine, writeLine } from "./segment-line.ts";
import { readVoteLine } from "./vote-line.ts";

const records: fc.Arbitrary<VoteRecord> = fc.record({
  shard: fc.integer({ min: 0, max: MAX_SHARDS - 1 }).map(shardId),
  sequence: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }).map(sequence),
  // Any length, though a pseudonym has one: what is too short or too long for a record, the chain says.
  voterPseudonym: fc.uint8Array({ maxLength: 40 }),
  revision: fc.integer({ min: 1, max: 0xffff_ffff }),
  sealedChoice: fc.uint8Array({ maxLength: 80 }),
  castAt: fc.maxSafeNat(),
  hash: fc.uint8Array({ minLength: 32, maxLength: 32 }).map(asHash),
});

const lineOf = (record: VoteRecord) => writeLine({ type: "vote", record });

function read(line: Uint8Array): VoteRecord | undefined {
  return readVoteLine(line, 0, line.length);
}

/** What the reader by schema makes of it. */
function readBySchema(line: Uint8Array): VoteRecord | undefined {
  try {
    const read = readAnyLine(line);
    return read.type === "vote" ? read.record : undefined;
  } catch (error) {
    if (error instanceof FormatError) return undefined;
    throw error;
  }
}

test("every vote is read as it was written, wherever in a text its line is", () => {
  fc.assert(
    fc.property(records, fc.uint8Array({ maxLength: 9 }), fc.uint8Array({ maxLength: 9 }), (record, a, b) => {
      const line = utf8(lineOf(record));
      const text = concat(a, line, b);
      expect(readVoteLine(text, a.length, a.length + line.length)).toEqual(record);
      expect(readBySchema(line)).toEqual(record);
    }),
  );
});

test("nothing is read beyond the end of the line, though what is missing follows", () => {
  const line = utf8(lineOf(someRecord()));
  for (let end = 0; end < line.length; end++) expect(readVoteLine(line, 0, end)).toBeUndefined();
});

describe("it takes exactly what the reader by schema takes, and reads the same", () => {
  const agree = (line: Uint8Array) => isDeepStrictEqual(read(line), readBySchema(line));

  test("with any byte another one", () => {
    // Bytes that mean something in these lines, and a few that do not.
    const bytes = utf8(' "=+/-.0189aAfFgGzZ_eE,:{}\\\n\u00ff\u0000');
    const line = utf8(lineOf(someRecord()));
    for (let at = 0; at < line.length; at++) {
      for (const byte of bytes) {
        const changed = line.slice();
        changed[at] = byte;
        if (!agree(changed)) expect.fail(`byte ${at} as ${byte}`);
      }
    }
  });

  test("with bytes left out, doubled or put in, at one place or two", () => {
    const edits = fc.array(
      fc.record({
        at: fc.nat(),
        without: fc.nat({ max: 4 }),
        bytes: fc.oneof(
          fc.uint8Array({ maxLength: 4 }),
          fc.constantFrom(...['"', "0", "A==", "=", "1e2"].map(utf8)),
        ),
      }),
      { minLength: 1, maxLength: 2 },
    );
    fc.assert(
      fc.property(records, edits, (record, changes) => {
        let line = utf8(lineOf(record));
        for (const { at, without, bytes } of changes) {
          const from = at % (line.length + 1);
          line = concat(line.subarray(0, from), bytes, line.subarray(from + without));
        }
        return agree(line);
      }),
      { numRuns: 2_000 },
    );
  });

  test("with any text in the place of a value", () => {
    const values = fc.oneof(
      fc.json(),
      fc.constantFrom("-0", "-1", "00", "01", "1.0", "1e3", "256", "65536", "4294967295", "4294967296"),
      fc.constantFrom("9007199254740991", "9007199254740992", "09007199254740991", "10000000000000000000000"),
      // One digit more than there are bytes for, bits beyond the last byte, and padding where none belongs.
      fc
        .constantFrom(
          "A",
          "AA==",
          "AB==",
          "AAA=",
          "AAB=",
          "AAAA",
          "AAA",
          "A===",
          "====",
          "AA=A",
          "=AAA",
          "AA==AAAA",
        )
        .map((text) => `"${text}"`),
    );
    const key = fc.constantFrom(
      "shard",
      "sequence",
      "voter",
      "revision",
      "choice",
      "cast_at",
      "hash",
      "type",
    );
    fc.assert(
      fc.property(records, key, values, (record, name, value) => {
        const line = lineOf(record).replace(
          new RegExp(`"${name}":("[^"]*"|[0-9]+)`),
          () => `"${name}":${value}`,
        );
        return agree(utf8(line));
      }),
      { numRuns: 2_000 },
    );
  });
});

function someRecord(): VoteRecord {
  return {
    shard: shardId(10),
    sequence: sequence(907),
    voterPseudonym: new Uint8Array(32).fill(0xfb),
    revision: 2,
    sealedChoice: new Uint8Array(64).map((_, i) => 251 * i),
    castAt: 1_780_000_000_000_000,
    hash: asHash(new Uint8Array(32).map((_, i) => 7 * i)),
  };
}

import fc from "fast-check";
import { expect, test } from "vitest";
import { utf8 } from "../core/bytes.ts";
import { treeSize } from "../core/ids.ts";
import { type Hash, sha256 } from "../core/sha256.ts";
import { formatAddCheckpoint, MAX_ADD_CHECKPOINT_BYTES, parseAddCheckpoint } from "./add-checkpoint.ts";
import { TlogError } from "./errors.ts";
import { anyText, attempt } from "./test-fuzz.ts";

const NOTE = "psephos.local/a\n7\nAAAA\n\n— psephos.local/a AAAAAAAA\n";
const HASH = new Uint8Array(sha256(utf8("a hash"))) as Hash;
const LINE = Buffer.from(HASH).toString("base64");

test("a request has the bytes of the specification, and reads as it was written", () => {
  const body = `old 5\n${LINE}\n${LINE}\n\n${NOTE}`;
  expect(formatAddCheckpoint({ oldSize: treeSize(5), proof: [HASH, HASH], note: NOTE })).toBe(body);
  expect(parseAddCheckpoint(utf8(body))).toEqual({ oldSize: 5, proof: [HASH, HASH], note: NOTE });
  expect(parseAddCheckpoint(utf8(`old 0\n\n${NOTE}`))).toEqual({ oldSize: 0, proof: [], note: NOTE });
});

test.each([
  ["nothing", ""],
  ["no blank line", `old 5\n${LINE}\n`],
  ["no old size", `\n\n${NOTE}`],
  ["another word", `new 5\n\n${NOTE}`],
  ["no space", `old5\n\n${NOTE}`],
  ["a leading zero", `old 05\n\n${NOTE}`],
  ["a sign", `old -1\n\n${NOTE}`],
  ["two spaces", `old  1\n\n${NOTE}`],
  ["above 2^53", `old 9007199254740993\n\n${NOTE}`],
  ["a carriage return", `old 5\r\n\n${NOTE}`],
  ["a short hash", `old 5\n${LINE.slice(4)}\n\n${NOTE}`],
  ["base64 without padding", `old 5\n${LINE.slice(0, -1)}\n\n${NOTE}`],
  ["64 hashes", `old 5\n${`${LINE}\n`.repeat(64)}\n${NOTE}`],
  ["a body over the limit", `old 5\n\n${"a".repeat(MAX_ADD_CHECKPOINT_BYTES)}`],
])("refused: %s", (_, body) => {
  expect(() => parseAddCheckpoint(utf8(body))).toThrow(TlogError);
});

test("bytes that are not UTF-8 are refused", () => {
  expect(() => parseAddCheckpoint(Uint8Array.of(0x6f, 0xff))).toThrow("not UTF-8");
});

test("whatever comes, what is read is what was sent", () => {
  const token = fc.constantFrom("old 5", "old ", "\n", "\n\n", LINE, NOTE, "0");
  const input = fc.oneof(
    anyText(),
    fc.array(token, { maxLength: 8 }).map((tokens) => tokens.join("")),
  );
  fc.assert(
    fc.property(input, (text) => {
      const body = utf8(text);
      const read = attempt(() => parseAddCheckpoint(body));
      return read === undefined || Buffer.from(formatAddCheckpoint(read)).equals(body);
    }),
    { numRuns: 500 },
  );
});

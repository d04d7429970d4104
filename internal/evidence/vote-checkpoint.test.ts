import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FormatError } from "../ballot/format-error.ts";
import { decodeUtf8, toHex, utf8 } from "../core/bytes.ts";
import { electionId, sequence, treeSize, voteId } from "../core/ids.ts";
import { asHash } from "../core/sha256.ts";
import { firstIndexOf, segmentKey } from "./layout.ts";
import vectors from "./vectors.json" with { type: "json" };
import { encodeVoteCheckpoint, parseVoteCheckpoint, type VoteCheckpoint } from "./vote-checkpoint.ts";

const golden = parseVoteCheckpoint(utf8(vectors.checkpoint));

test("the golden vector parses, and encodes to the same text", () => {
  expect(golden).toMatchObject({ electionId: "council-2031", number: 1, treeSize: 6 });
  expect(golden.segments).toEqual([
    {
      key: vectors.segment.key,
      versionId: "v1",
      sha256: "ab".repeat(32),
      bytes: 1234,
      retainUntil: new Date("2041-03-01T00:00:00Z"),
    },
  ]);
  expect(golden.lastVote?.id).toBe(54);
  expect(golden.shardHeads[5]?.hash).toEqual(golden.lastVote?.hash);
  expect(golden.note).toContain("\n\n— psephos.test/council-2031 ");
  expect(decodeUtf8(encodeVoteCheckpoint(golden))).toBe(vectors.checkpoint);
});

const election = electionId("vermont-2020");
const hashes = fc.uint8Array({ minLength: 32, maxLength: 32 }).map(asHash);
const checkpoints: fc.Arbitrary<VoteCheckpoint> = fc
  .record({
    number: fc.integer({ min: 1, max: 999_999 }),
    sizes: fc.array(fc.integer({ min: 1, max: 1_000 }), { minLength: 1, maxLength: 10 }),
    treeRoot: hashes,
    lastVote: fc.option(
      fc.record({ id: fc.integer({ min: 1, max: 2 ** 50 }).map((id) => voteId(id)), hash: hashes }),
    ),
    shardHeads: fc.array(fc.record({ sequence: fc.maxSafeNat().map(sequence), hash: hashes }), {
      minLength: 1,
      maxLength: 16,
    }),
    note: fc.string({ unit: "grapheme", minLength: 1 }),
    versionId: fc.string({ minLength: 1 }),
    retainUntil: fc.option(fc.date({ noInvalidDate: true })),
  })
  .map(({ sizes, versionId, retainUntil, ...fields }) => {
    let next = firstIndexOf(fields.number);
    const segments = sizes.map((bytes) => {
      const first = next;
      next += bytes;
      const key = segmentKey(election, first, next - 1);
      return { key, versionId, sha256: "0c".repeat(32), bytes, retainUntil };
    });
    return { ...fields, electionId: election, treeSize: treeSize(next), segments };
  });

test("every checkpoint parses to itself", () => {
  fc.assert(
    fc.property(checkpoints, (checkpoint) => {
      expect(parseVoteCheckpoint(encodeVoteCheckpoint(checkpoint))).toEqual(checkpoint);
    }),
  );
});

test("a changed byte is refused, or is a checkpoint with exactly that text", () => {
  const bytes = utf8(vectors.checkpoint);
  for (let at = 0; at < bytes.length; at += 2) {
    const changed = bytes.slice();
    changed[at] = (changed[at] ?? 0) ^ 0x01;
    try {
      expect(toHex(encodeVoteCheckpoint(parseVoteCheckpoint(changed)))).toBe(toHex(changed));
    } catch (error) {
      expect(error, `byte ${at}`).toBeInstanceOf(FormatError);
    }
  }
});

describe("refused", () => {
  const text = vectors.checkpoint;
  test.each<[string, string, RegExp]>([
    ["a text without its line end", text.slice(0, -1), /not in its one written form/],
    ["two line ends", `${text}\n`, /not in its one written form/],
    ["another format", text.replace("checkpoint/v1", "checkpoint/v2"), /format/],
    ["an unknown key", text.replace("{", '{"extra":1,'), /extra/],
    [
      "another first index",
      text.replace('"first_index":0', '"first_index":1'),
      /not in its one written form/,
    ],
    [
      "a number that is not the block's",
      text.replace('"number":1,"first_index":0', '"number":2,"first_index":10000'),
      /vote checkpoint 2 of a log of 6 entries/,
    ],
    [
      "a log longer than the block",
      text.replace('"tree_size":6', '"tree_size":10001'),
      /of a log of 10001 entries/,
    ],
    ["segments that end too early", text.replace('"tree_size":6', '"tree_size":7'), /end at entry 5, not 6/],
    ["no segments", text.replace(/"segments":\[.*?\]/, '"segments":[]'), /end at entry -1, not 5/],
    ["another election's segment", text.replace('"key":"council', '"key":"counsel'), /begins with entry 0/],
    [
      "a vote without a hash",
      text.replace(/"last_record_hash":"\w+"/, '"last_record_hash":null'),
      /not in its one/,
    ],
    ["a time of no form", text.replace("2041-03-01T00:00:00.000Z", "in a while"), /retain_until/],
    ["a time in another form", text.replace("00:00.000Z", "00:00Z"), /not in its one written form/],
    ["no JSON", text.slice(0, 50), /not JSON/],
  ])("%s", (_, changed, message) => {
    expect(changed).not.toBe(text);
    expect(() => parseVoteCheckpoint(utf8(changed))).toThrow(FormatError);
    expect(() => parseVoteCheckpoint(utf8(changed))).toThrow(message);
  });

  test("bytes that are not UTF-8", () => {
    expect(() => parseVoteCheckpoint(Uint8Array.of(0xff))).toThrow(FormatError);
  });

  test("encoding segments with a gap, or with one twice", () => {
    const [segment] = golden.segments;
    const two = (first: number, last: number) =>
      segment ? [segment, { ...segment, key: segmentKey(golden.electionId, first, last) }] : [];
    const size = { treeSize: treeSize(10) };
    expect(() => encodeVoteCheckpoint({ ...golden, ...size, segments: two(6, 9) })).not.toThrow();
    expect(() => encodeVoteCheckpoint({ ...golden, ...size, segments: two(7, 9) })).toThrow(FormatError);
    expect(() => encodeVoteCheckpoint({ ...golden, ...size, segments: two(0, 9) })).toThrow(FormatError);
  });
});

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { electionId, voteId } from "../core/ids.ts";
import {
  BLOCK_ENTRIES,
  checkpointKey,
  checkpointNumberOf,
  firstIndexOf,
  manifestKey,
  parseSegmentKey,
  parseVoteKey,
  SEGMENT_ENTRIES,
  segmentKey,
  voteKey,
} from "./layout.ts";

const election = electionId("vermont-2020");

test("keys are those of the specification", () => {
  expect(manifestKey(election)).toBe("vermont-2020/manifest.json");
  expect(segmentKey(election, 0, 730)).toBe(
    "vermont-2020/votes/checkpoint_0000000001/entries_0000000000-0000000730.ndjson.zst",
  );
  expect(segmentKey(election, 370_000, 370_969)).toBe(
    "vermont-2020/votes/checkpoint_0000000038/entries_0000370000-0000370969.ndjson.zst",
  );
  expect(checkpointKey(election, 38)).toBe("vermont-2020/votes/checkpoint_0000000038/checkpoint.json");
});

test("a block is 10,000 entries", () => {
  expect([0, 9_999, 10_000, 370_969].map(checkpointNumberOf)).toEqual([1, 1, 2, 38]);
  expect([1, 2, 38].map(firstIndexOf)).toEqual([0, 10_000, 370_000]);
});

describe("segment keys", () => {
  const ranges = fc
    .tuple(fc.nat({ max: 300_000 }), fc.nat({ max: BLOCK_ENTRIES - 1 }), fc.nat({ max: SEGMENT_ENTRIES - 1 }))
    .map(([block, offset, more]) => ({
      first: block * BLOCK_ENTRIES + offset,
      last: block * BLOCK_ENTRIES + Math.min(offset + more, BLOCK_ENTRIES - 1),
    }));

  test("parse to what they were made of", () => {
    fc.assert(
      fc.property(ranges, ({ first, last }) => {
        expect(parseSegmentKey(segmentKey(election, first, last))).toEqual({ election, first, last });
      }),
    );
  });

  test("sort as the log does", () => {
    fc.assert(
      fc.property(ranges, ranges, (a, b) => {
        fc.pre(a.first !== b.first);
        const inOrder = segmentKey(election, a.first, a.last) < segmentKey(election, b.first, b.last);
        expect(inOrder).toBe(a.first < b.first);
      }),
    );
  });

  test.each([
    ["1,001 entries", 0, 1_000],
    ["none", 5, 4],
    ["two blocks", 9_999, 10_000],
    ["eleven digits", 1e10, 1e10],
    ["a fraction", 0.5, 1],
    ["a negative index", -1, 0],
  ])("of %s are refused", (_, first, last) => {
    expect(() => segmentKey(election, first, last)).toThrow(RangeError);
  });

  test.each([
    ["a checkpoint's", checkpointKey(election, 1)],
    ["one in another block", "a/votes/checkpoint_0000000002/entries_0000000000-0000000001.ndjson.zst"],
    ["one over two blocks", "a/votes/checkpoint_0000000001/entries_0000009999-0000010000.ndjson.zst"],
    ["nine digits", "a/votes/checkpoint_0000000001/entries_000000000-000000001.ndjson.zst"],
    ["no election", "A/votes/checkpoint_0000000001/entries_0000000000-0000000001.ndjson.zst"],
    ["a prefix before it", "x/a/votes/checkpoint_0000000001/entries_0000000000-0000000001.ndjson.zst"],
    ["a line end after it", "a/votes/checkpoint_0000000001/entries_0000000000-0000000001.ndjson.zst\n"],
  ])("are not %s", (_, key) => {
    expect(parseSegmentKey(key)).toBeUndefined();
  });
});

describe("vote object keys", () => {
  test("are the architecture's", () => {
    expect(voteKey(election, 38, voteId(12_345))).toBe(
      "vermont-2020/votes/checkpoint_0000000038/vote_12345.json",
    );
  });

  test("parse to what they were made of", () => {
    const ids = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }).map((id) => voteId(id));
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1_000_000 }), ids, (number, id) => {
        expect(parseVoteKey(voteKey(election, number, id))).toEqual({ election, number, id });
      }),
    );
  });

  test.each(["vote_0.json", "vote_01.json", "vote_1.JSON", "vote_9007199254740992.json", "vote_1.json\n"])(
    "are not %j",
    (name) => {
      expect(parseVoteKey(`a/votes/checkpoint_0000000001/${name}`)).toBeUndefined();
      expect(parseVoteKey("a/votes/checkpoint_0000000000/vote_1.json")).toBeUndefined();
    },
  );
});

test("checkpoint numbers begin at 1", () => {
  expect(() => checkpointKey(election, 0)).toThrow(RangeError);
});

import { zstdCompressSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { FormatError } from "../ballot/format-error.ts";
import { decodeUtf8, utf8 } from "../core/bytes.ts";
import { voteId } from "../core/ids.ts";
import { EVIDENCE_LAYOUTS, parseVoteKey } from "./layout.ts";
import { type EvidenceSource, readEntry, readSegment } from "./read-segment.ts";
import { decodeSegment, decodeSegmentLines, decodeSegmentText, encodeSegmentText } from "./segment.ts";
import vectors from "./vectors.json" with { type: "json" };
import { decodeVoteObject, encodeVoteObject } from "./vote-object.ts";

const { key, lines } = vectors.segment;
const golden = decodeSegmentText(utf8(`${lines.join("\n")}\n`));

const textOf = (of: readonly string[]) => utf8(`${of.join("\n")}\n`);

/** The golden segment as a store of that layout has it; its versions are those that the references name. */
class Store extends Map<string, Uint8Array> implements Map<string, Uint8Array> {
  readonly asked: (string | undefined)[] = [];

  source: EvidenceSource = {
    get: async (name, versionId) => {
      this.asked.push(name, versionId);
      return this.get(name);
    },
  };

  constructor(layout: (typeof EVIDENCE_LAYOUTS)[number]) {
    super();
    const { votes, lines: referring } = vectors.object_per_vote;
    this.set(key, zstdCompressSync(textOf(layout === "segments" ? lines : referring)));
    if (layout === "object-per-vote") for (const vote of votes) this.set(vote.key, utf8(vote.text));
  }
}

describe.each(EVIDENCE_LAYOUTS)("layout %s", (layout) => {
  test("the golden vector reads as the same segment", async () => {
    const store = new Store(layout);
    const found = await readSegment(store.source, key, "v0");
    expect(found).toEqual({ key, body: store.get(key), segment: golden });
    expect(store.asked.slice(0, 2)).toEqual([key, "v0"]);
  });

  test("one entry at a time, too, with the reading of one object", async () => {
    const store = new Store(layout);
    const segment = decodeSegmentLines(store.get(key) ?? new Uint8Array());
    for (const [position, line] of segment.entries.entries()) {
      store.asked.length = 0;
      expect(await readEntry(store.source, segment, position, line)).toEqual(golden.entries[position]);
      expect(store.asked.length).toBeLessThanOrEqual(2);
    }
  });

  test("nothing is undefined, and another segment under the key is refused", async () => {
    const store = new Store(layout);
    const other = key.replace("0000000005.", "0000000006.");
    expect(await readSegment(store.source, other)).toBeUndefined();
    store.set(other, store.get(key) ?? new Uint8Array());
    await expect(readSegment(store.source, other)).rejects.toThrow(/holds/);
  });
});

describe("layout object-per-vote", () => {
  const [first] = vectors.object_per_vote.votes;
  if (!first) throw new Error("no vector");

  test("the golden text encodes to itself, and asks for the versions that it names", async () => {
    const store = new Store("object-per-vote");
    const segment = decodeSegmentLines(store.get(key) ?? new Uint8Array());
    expect(decodeUtf8(encodeSegmentText(segment))).toBe(decodeUtf8(textOf(vectors.object_per_vote.lines)));
    await readSegment(store.source, key);
    for (const { key: name } of vectors.object_per_vote.votes) {
      expect(store.asked[store.asked.indexOf(name) + 1]).toBe(`v${parseVoteKey(name)?.id}`);
    }
    expect(() => decodeSegment(store.get(key) ?? new Uint8Array())).toThrow(FormatError);
  });

  test("a vote object is its record, byte for byte", () => {
    const vote = { key: first.key, id: voteId(6), shards: 16 };
    const record = decodeVoteObject(utf8(first.text), vote);
    expect(decodeUtf8(encodeVoteObject(record))).toBe(first.text);
    expect(golden.entries[1]).toEqual({ type: "vote", record });
  });

  test.each<[string, string, RegExp]>([
    ["nothing", "", /no end/],
    ["a line without its end", first.text.slice(0, -1), /no end/],
    ["two lines", `${first.text}${first.text}`, /not JSON/],
    ["a line of another type", vectors.segment.lines[1]?.concat("\n") ?? "", /type manifest/],
    ["another vote", vectors.object_per_vote.votes[1]?.text ?? "", /another vote id/],
    ["a shard that the election has not", first.text.replace('"shard":5', '"shard":21'), /another vote id/],
    ["longer than a record can be", " ".repeat(100_000), /100000 bytes/],
    ["a key twice", first.text.replace("{", '{"shard":5,'), /one written form/],
  ])("a vote object that is %s is refused by name", (_, text, problem) => {
    const vote = { key: first.key, id: voteId(6), shards: 16 };
    expect(() => decodeVoteObject(utf8(text), vote)).toThrow(FormatError);
    expect(() => decodeVoteObject(utf8(text), vote)).toThrow(problem);
    expect(() => decodeVoteObject(utf8(text), vote)).toThrow(first.key);
  });

  test("a vote that is missing or changed is named", async () => {
    const store = new Store("object-per-vote");
    store.set(first.key, utf8(first.text.replace('"revision":1', '"revision":2')));
    await expect(readSegment(store.source, key)).rejects.toThrow(
      `${first.key} has other bytes than its segment names`,
    );
    store.delete(first.key);
    await expect(readSegment(store.source, key)).rejects.toThrow(`${first.key} is not there`);
  });

  test.each([
    ["no version", '"version_id":"v6"', '"version_id":""'],
    ["no vote id", '"id":6', '"id":0'],
    ["half a hash", /"sha256":"[0-9a-f]{32}/, '"sha256":"'],
    ["a key more", '{"type":"vote-ref"', '{"index":1,"type":"vote-ref"'],
  ])("a reference of %s is refused", (_, part, by) => {
    const changed = decodeUtf8(textOf(vectors.object_per_vote.lines)).replace(part, by);
    expect(() => decodeSegmentLines(zstdCompressSync(utf8(changed)))).toThrow(/line 3/);
  });
});

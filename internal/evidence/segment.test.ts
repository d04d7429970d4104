import { constants, zstdCompressSync, zstdDecompressSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { closingEntry, decodeEntry, encodeEntry } from "../ballot/entry.ts";
import { FormatError } from "../ballot/format-error.ts";
import ballotVectors from "../ballot/vectors.json" with { type: "json" };
import { concat, decodeUtf8, toHex, utf8 } from "../core/bytes.ts";
import { electionId, sequence, shardId } from "../core/ids.ts";
import { asHash } from "../core/sha256.ts";
import { NoteSigner } from "../tlog/note.ts";
import { signEvent } from "./event.ts";
import {
  decodeSegment,
  decodeSegmentText,
  encodeSegment,
  encodeSegmentText,
  keyOfSegment,
  logEntryOf,
  openSegment,
  type Segment,
} from "./segment.ts";
import type { SegmentEntry } from "./segment-line.ts";
import vectors from "./vectors.json" with { type: "json" };

const goldenText = `${vectors.segment.lines.join("\n")}\n`;
const golden = decodeSegmentText(utf8(goldenText));

describe("golden vector", () => {
  test("decodes, and encodes to the same text", () => {
    expect(decodeUtf8(encodeSegmentText(golden))).toBe(goldenText);
    expect(keyOfSegment(golden)).toBe(vectors.segment.key);
  });

  test("its entries are those of the log", () => {
    const { manifest, votes, closing } = ballotVectors.entries;
    const encoded = golden.entries.map((entry) => encodeEntry(logEntryOf(entry)));
    expect(encoded.map(toHex)).toEqual([manifest, ...votes, closing]);
    expect(encoded.map((entry) => decodeEntry(entry).type)).toEqual(golden.entries.map(({ type }) => type));
  });

  test("of an event decodes, and encodes to the same text and entry", () => {
    const text = `${vectors.event.segment.join("\n")}\n`;
    const segment = decodeSegmentText(utf8(text));
    expect(segment.entries).toEqual([{ type: "event", note: vectors.event.note }]);
    expect(decodeUtf8(encodeSegmentText(segment))).toBe(text);
    expect(segment.entries.map((entry) => toHex(encodeEntry(logEntryOf(entry))))).toEqual([
      vectors.event.entry,
    ]);
  });

  test("its records are those of the chain", () => {
    const records = golden.entries.flatMap((entry) => (entry.type === "vote" ? [entry.record] : []));
    expect(
      records.map(({ shard, sequence, revision, castAt, ...bytes }) => ({
        shard,
        sequence,
        revision,
        cast_at: castAt,
        voter_pseudonym: toHex(bytes.voterPseudonym),
        sealed_choice: toHex(bytes.sealedChoice),
        hash: toHex(bytes.hash),
      })),
    ).toEqual(ballotVectors.records.map(({ vote_id, ...record }) => record));
  });
});

const goldenEvent = vectors.event.note;
const hashes = fc.uint8Array({ minLength: 32, maxLength: 32 }).map(asHash);
const heads = fc.array(fc.record({ sequence: fc.nat().map(sequence), hash: hashes }), {
  minLength: 4,
  maxLength: 4,
});
const votes: fc.Arbitrary<SegmentEntry> = fc
  .record({
    shard: fc.integer({ min: 0, max: 3 }).map(shardId),
    sequence: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }).map(sequence),
    voterPseudonym: fc.uint8Array({ minLength: 32, maxLength: 32 }),
    revision: fc.integer({ min: 1, max: 0xffff_ffff }),
    sealedChoice: fc.uint8Array({ maxLength: 80 }),
    castAt: fc.maxSafeNat(),
    hash: hashes,
  })
  .map((record) => ({ type: "vote", record }));
const segments: fc.Arbitrary<Segment> = fc
  .record({
    electionId: fc.constant(electionId("council-2031")),
    manifestHash: hashes,
    firstIndex: fc.constantFrom(0, 1, 9_980, 10_000, 123_456),
    shardHeads: heads,
    rootBefore: hashes,
    rootAfter: hashes,
    votes: fc.array(votes, { minLength: 1, maxLength: 8 }),
    events: fc.option(fc.constant<SegmentEntry>({ type: "event", note: goldenEvent })),
    closing: fc.option(heads),
  })
  .map(({ votes, events, closing, ...segment }) => {
    const entries: SegmentEntry[] = events ? [events, ...votes] : [...votes];
    if (segment.firstIndex === 0) entries.unshift({ type: "manifest", manifestHash: segment.manifestHash });
    if (closing) entries.push(closingEntry(closing));
    return { ...segment, entries };
  });

test("every segment decodes to itself, packed and as text", () => {
  fc.assert(
    fc.property(segments, (segment) => {
      expect(decodeSegment(encodeSegment(segment))).toEqual(segment);
      expect(decodeSegmentText(encodeSegmentText(segment))).toEqual(segment);
    }),
  );
});

test("every segment opens to its header, and gives each entry that is asked for", async () => {
  await fc.assert(
    fc.asyncProperty(segments, async (segment) => {
      const { entries, ...header } = segment;
      const open = await openSegment(encodeSegment(segment));
      expect(open.header).toEqual({ ...header, count: entries.length });
      // In any order: nothing depends on what was read before.
      for (const position of [...entries.keys()].reverse()) {
        expect(open.line(position)).toEqual(entries[position]);
      }
      expect(() => open.line(entries.length)).toThrow(FormatError);
    }),
    { numRuns: 30 },
  );
});

test("opening finds what decoding finds in the object as a whole", async () => {
  const object = encodeSegment(golden);
  const damaged = new Uint8Array(object);
  damaged[20] = (damaged[20] ?? 0) ^ 0x01;
  const miscounted = zstdCompressSync(utf8(goldenText.replace('"count":6', '"count":7')));
  const bomb = zstdCompressSync(new Uint8Array(64 << 20));
  for (const bad of [damaged, concat(object, object), object.subarray(1), miscounted, bomb]) {
    await expect(openSegment(bad)).rejects.toThrow(FormatError);
  }
});

test("a changed byte of a text is refused, or is a segment with exactly that text", () => {
  const bytes = utf8(goldenText);
  let refused = 0;
  for (let at = 0; at < bytes.length; at += 3) {
    const changed = bytes.slice();
    changed[at] = (changed[at] ?? 0) ^ 0x01;
    try {
      expect(toHex(encodeSegmentText(decodeSegmentText(changed)))).toBe(toHex(changed));
    } catch (error) {
      expect(error).toBeInstanceOf(FormatError);
      refused++;
    }
  }
  expect(refused).toBeGreaterThan(bytes.length / 12);
});

test("any changed byte of an object is found by zstd's checksum or by the format", () => {
  const object = encodeSegment(golden);
  for (let at = 0; at < object.length; at++) {
    const changed = new Uint8Array(object);
    changed[at] = (changed[at] ?? 0) ^ 0x01;
    let decoded: Segment;
    try {
      decoded = decodeSegment(changed);
    } catch (error) {
      expect(error, `byte ${at}`).toBeInstanceOf(FormatError);
      continue;
    }
    // A few bits of a frame's header mean nothing; the object's SHA-256 in checkpoint.json covers them.
    expect(decoded, `byte ${at}`).toEqual(golden);
  }
});

describe("refused", () => {
  const [header = "", manifest = "", vote = ""] = vectors.segment.lines;
  const closing = vectors.segment.lines.at(-1) ?? "";
  const [, event = ""] = vectors.event.segment;
  const foreignEvent = event.replace("\\ncouncil-2031\\n", "\\ncouncil-2032\\n");
  /** The lines as a text, after a header that counts them. */
  const counted = (...lines: string[]) =>
    [header.replace('"count":6', `"count":${lines.length}`), ...lines, ""].join("\n");
  const sized = counted(manifest, vote, closing);

  test("not the text the cases begin with", () => {
    expect(decodeSegmentText(utf8(sized)).entries).toHaveLength(3);
  });

  test.each<[string, string, RegExp]>([
    ["an empty text", "", /the last line has no end/],
    ["a text cut within a line", sized.slice(0, -1), /the last line has no end/],
    [
      "a text without its last line",
      `${goldenText.split("\n").slice(0, -2).join("\n")}\n`,
      /5 entries where the header says 6/,
    ],
    ["a line too many", `${sized}${vote}\n`, /4 entries where the header says 3/],
    ["an empty line", counted(manifest, ""), /line 3: not JSON/],
    ["a header of another format", sized.replace("segment/v1", "segment/v2"), /line 1: format/],
    ["an unknown key", counted(manifest, vote.replace("{", '{"extra":1,')), /line 3: .*"extra"/],
    [
      "a key twice",
      counted(manifest, vote.replace("{", '{"shard":5,')),
      /line 3: not in its one written form/,
    ],
    ["a key missing", counted(manifest, vote.replace('"revision":1,', "")), /line 3: revision/],
    ["keys in another order", counted(manifest, reorder(vote)), /line 3: not in its one written form/],
    ["white space", counted(manifest, vote.replace(":", ": ")), /line 3: not in its one written form/],
    ["a hash in upper case", counted(manifest.toUpperCase().replace("TYPE", "type"), vote), /line 2/],
    [
      "base64 without padding",
      counted(manifest, vote.replace('=","revision', '","revision')),
      /line 3: not in its one/,
    ],
    ["an unknown type", counted(manifest, vote.replace('"vote"', '"note"')), /line 3: type/],
    ["an event that is none", counted(manifest, '{"type":"event","note":"x"}'), /line 3: event: /],
    ["an event of another election", counted(manifest, foreignEvent), /line 3: an event of another election/],
    ["an event with a key more", counted(manifest, event.replace("{", '{"index":1,')), /line 3: .*"index"/],
    ["sequence 0", counted(manifest, vote.replace('"sequence":1', '"sequence":0')), /line 3: sequence/],
    [
      "a shard the header has not",
      counted(manifest, vote.replace('"shard":5', '"shard":16')),
      /line 3: shard 16 of 16/,
    ],
    ["a number as text", counted(manifest, vote.replace('"shard":5', '"shard":"5"')), /line 3: shard/],
    ["no manifest at entry 0", counted(vote), /line 2: the manifest is entry 0/],
    ["a manifest later", counted(manifest, manifest), /line 3: the manifest is entry 0/],
    [
      "another manifest",
      counted(manifest.replace(/[0-9a-f]"}/, 'f"}'), vote),
      /line 2: not the header's manifest/,
    ],
    [
      "entries after the closing one",
      counted(manifest, closing, vote),
      /line 3: entries follow the closing one/,
    ],
    [
      "a closing entry of fewer shards",
      counted(manifest, fewerHeads(closing)),
      /line 3: not one head for each shard/,
    ],
    [
      "a total that is not the sum",
      counted(manifest, closing.replace('"total":4', '"total":5')),
      /line 3: a wrong/,
    ],
    ["no entries", counted(), /line 1: count/],
    ["two blocks", sized.replace('"first_index":0', '"first_index":9998'), /crosses the end of a block/],
  ])("%s", (_, text, message) => {
    expect(text).not.toBe(sized);
    expect(() => decodeSegmentText(utf8(text))).toThrow(FormatError);
    expect(() => decodeSegmentText(utf8(text))).toThrow(message);
  });

  test("no message quotes a vote", () => {
    const voter = /"voter":"([^"]+)"/.exec(vote)?.[1] ?? "";
    for (const line of [vote.slice(1), vote.replace(":", ";"), vote.replace('"cast_at"', '"cast"')]) {
      try {
        decodeSegmentText(utf8(counted(manifest, line)));
      } catch (error) {
        expect(voter).toHaveLength(44);
        expect(String(error)).not.toContain(voter.slice(0, 6));
        continue;
      }
      throw new Error("it was accepted");
    }
  });

  test("more events than a reader would unpack", () => {
    const details = { x: '"'.repeat(7_000) };
    const signer = NoteSigner.fromSeed("psephos.test/audit-service", new Uint8Array(32).fill(7));
    const { electionId } = golden;
    const note = signEvent({ electionId, kind: "worm-probe", at: 1, details }, signer);
    const votes = Array.from({ length: 900 }, () => golden.entries[1]).filter((entry) => entry !== undefined);
    const segment = (events: number): Segment => ({
      ...golden,
      firstIndex: 10_000,
      entries: [...Array.from({ length: events }, () => ({ type: "event", note }) as const), ...votes],
    });
    // As many as a commit has at most, each of which is nearly all escapes.
    expect(decodeSegment(encodeSegment(segment(16))).entries).toHaveLength(916);
    expect(() => encodeSegment(segment(100))).toThrow(/larger than 2097152 bytes/);
  });

  test("encoding is refused as decoding is", () => {
    const { entries } = golden;
    expect(() => encodeSegment({ ...golden, entries: [] })).toThrow(FormatError);
    expect(() => encodeSegment({ ...golden, entries: entries.slice(1) })).toThrow(FormatError);
    expect(() => encodeSegment({ ...golden, shardHeads: golden.shardHeads.slice(0, 5) })).toThrow(
      FormatError,
    );
  });
});

describe("objects", () => {
  const object = encodeSegment(golden);

  test("bytes after the frame are refused", () => {
    expect(() => decodeSegment(concat(object, utf8("x")))).toThrow(/bytes follow/);
    expect(() => decodeSegment(concat(object, object))).toThrow(/bytes follow/);
  });

  test("a cut or empty object is refused", () => {
    expect(() => decodeSegment(object.subarray(0, -1))).toThrow(FormatError);
    expect(() => decodeSegment(new Uint8Array(0))).toThrow(FormatError);
    expect(() => decodeSegment(utf8(goldenText))).toThrow(FormatError);
  });

  test("a bomb is refused before it is unpacked", () => {
    const bomb = zstdCompressSync(new Uint8Array(64 << 20), {
      params: { [constants.ZSTD_c_compressionLevel]: 1 },
    });
    expect(bomb.length).toBeLessThan(10_000);
    expect(() => decodeSegment(bomb)).toThrow(/larger than 2097152 bytes/);
  });

  test("the largest segment there can be unpacks", () => {
    const shardHeads = Array.from({ length: 256 }, () => ({
      sequence: sequence(2 ** 45 - 1),
      hash: asHash(new Uint8Array(32)),
    }));
    const record = {
      shard: shardId(255),
      sequence: sequence(Number.MAX_SAFE_INTEGER),
      voterPseudonym: new Uint8Array(32),
      revision: 0xffff_ffff,
      sealedChoice: new Uint8Array(63),
      castAt: Number.MAX_SAFE_INTEGER,
      hash: asHash(new Uint8Array(32)),
    };
    const entries: SegmentEntry[] = Array.from({ length: 999 }, () => ({ type: "vote", record }));
    entries.push(closingEntry(shardHeads));
    const segment = { ...golden, firstIndex: 9_999_999_000, shardHeads, entries };
    const packed = encodeSegment(segment);
    expect(zstdDecompressSync(packed).length).toBeLessThan(1 << 20);
    expect(decodeSegment(packed)).toEqual(segment);
  });
});

function reorder(line: string): string {
  const { type, ...rest } = JSON.parse(line);
  return JSON.stringify({ ...rest, type });
}

function fewerHeads(line: string): string {
  const closing = JSON.parse(line);
  return JSON.stringify({ ...closing, shard_heads: closing.shard_heads.slice(1) });
}

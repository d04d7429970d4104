import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { concat, fromHex, toHex } from "../core/bytes.ts";
import { sequence, shardId } from "../core/ids.ts";
import { asHash } from "../core/sha256.ts";
import { genesisHeads } from "./chain.ts";
import { closingEntry, decodeEntry, encodeEntry, type LogEntry } from "./entry.ts";
import { FormatError } from "./format-error.ts";
import vectors from "./vectors.json" with { type: "json" };

const manifestHash = asHash(fromHex(vectors.manifest.hash));

describe("golden vectors", () => {
  test("manifest", () => {
    expect(toHex(encodeEntry({ type: "manifest", manifestHash }))).toBe(vectors.entries.manifest);
  });

  test("votes", () => {
    const entries = vectors.records.map((record) => ({
      type: "vote" as const,
      shard: shardId(record.shard),
      sequence: sequence(record.sequence),
      recordHash: asHash(fromHex(record.hash)),
    }));
    expect(entries.map((entry) => toHex(encodeEntry(entry)))).toEqual(vectors.entries.votes);
    expect(vectors.entries.votes[0]).toHaveLength(2 * 43);
  });

  test("event", () => {
    const { document_hash, entry } = vectors.entries.event;
    const eventHash = asHash(fromHex(document_hash));
    expect(toHex(encodeEntry({ type: "event", eventHash }))).toBe(entry);
  });

  test("closing", () => {
    const heads = genesisHeads(manifestHash, 16).map((head) => {
      const last = vectors.records[3];
      if (!last || head.shard !== last.shard) return head;
      return { sequence: sequence(4), hash: asHash(fromHex(last.hash)) };
    });
    expect(toHex(encodeEntry(closingEntry(heads)))).toBe(vectors.entries.closing);
  });
});

const hashes = fc.uint8Array({ minLength: 32, maxLength: 32 }).map(asHash);
const sequences = fc.integer({ min: 0, max: 2 ** 40 }).map(sequence);
const entries: fc.Arbitrary<LogEntry> = fc.oneof(
  fc.record({ type: fc.constant("manifest" as const), manifestHash: hashes }),
  fc.record({
    type: fc.constant("vote" as const),
    shard: fc.integer({ min: 0, max: 255 }).map(shardId),
    sequence: sequences.filter((value) => value > 0),
    recordHash: hashes,
  }),
  fc.record({ type: fc.constant("event" as const), eventHash: hashes }),
  fc
    .array(fc.record({ sequence: sequences, hash: hashes }), { minLength: 1, maxLength: 256 })
    .map((heads) => closingEntry(heads)),
);

test("every entry decodes to itself", () => {
  fc.assert(
    fc.property(entries, (entry) => {
      expect(decodeEntry(encodeEntry(entry))).toEqual(entry);
    }),
  );
});

test("whatever decodes has exactly that encoding", () => {
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 60 }),
    // Near misses: an entry with one byte changed, cut short or drawn out.
    fc.tuple(entries, fc.nat(), fc.nat({ max: 255 })).map(([entry, at, byte]) => {
      const encoded = encodeEntry(entry);
      encoded[at % encoded.length] = byte;
      return encoded;
    }),
    fc.tuple(entries, fc.nat()).map(([entry, at]) => {
      const encoded = encodeEntry(entry);
      return encoded.subarray(0, at % encoded.length);
    }),
    fc
      .tuple(entries, fc.uint8Array({ minLength: 1, maxLength: 50 }))
      .map(([entry, more]) => concat(encodeEntry(entry), more)),
  );
  fc.assert(
    fc.property(bytes, (input) => {
      let entry: LogEntry;
      try {
        entry = decodeEntry(input);
      } catch (error) {
        expect(error).toBeInstanceOf(FormatError);
        return;
      }
      expect(toHex(encodeEntry(entry))).toBe(toHex(input));
    }),
    { numRuns: 1_000 },
  );
});

test.each([
  ["nothing", ""],
  ["type 0x00", `00${"00".repeat(32)}`],
  ["type 0x05", `05${"00".repeat(32)}`],
  ["an event entry without its last byte", vectors.entries.event.entry.slice(0, -2)],
  ["an event entry with a byte more", `${vectors.entries.event.entry}00`],
  ["a manifest entry without its last byte", vectors.entries.manifest.slice(0, -2)],
  ["a vote with sequence 0", `020000${"00".repeat(8)}${"11".repeat(32)}`],
  ["a vote of shard 256", `020100${"00".repeat(7)}01${"11".repeat(32)}`],
  ["a sequence above 2^53", `020000${"ff".repeat(8)}${"11".repeat(32)}`],
  ["a closing entry of no shard", `040000${"00".repeat(8)}`],
  ["a closing entry of one byte", "04"],
  ["a total that is not the sum", `${vectors.entries.closing.slice(0, -2)}05`],
])("%s is refused", (_, hex) => {
  expect(() => decodeEntry(fromHex(hex))).toThrow(FormatError);
});

test("a decoded entry outlives the buffer it was in", () => {
  const frame = Buffer.from(vectors.entries.manifest, "hex");
  const entry = decodeEntry(frame);
  frame.fill(0);
  expect(toHex(encodeEntry(entry))).toBe(vectors.entries.manifest);
});

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { fromHex, toHex } from "../core/bytes.ts";
import { treeSize } from "../core/ids.ts";
import { asHash } from "../core/sha256.ts";
import { formatCheckpoint, openCheckpoint, parseCheckpoint } from "./checkpoint.ts";
import { TlogError } from "./errors.ts";
import { NoteSigner, signNote } from "./note.ts";
import { NoteVerifier } from "./note-verifier.ts";
import { anyLine, attempt } from "./test-fuzz.ts";
import { EMPTY_ROOT } from "./tree.ts";
import vectors from "./vectors.json" with { type: "json" };

test.each(vectors.checkpoints.valid)("$text", ({ text, origin, size, root }) => {
  expect(formatCheckpoint({ origin, size: treeSize(size), root: asHash(fromHex(root)) })).toBe(text);
  const parsed = parseCheckpoint(text);
  expect([parsed.origin, parsed.size, toHex(parsed.root)]).toEqual([origin, size, root]);
});

test.each(vectors.checkpoints.refused)("refused: $why", ({ text }) => {
  expect(() => parseCheckpoint(text)).toThrow(TlogError);
});

test("a checkpoint reads as it was written", () => {
  const origin = anyLine().filter((line) => line.length > 0 && line.length < 60);
  const root = fc.uint8Array({ minLength: 32, maxLength: 32 });
  fc.assert(
    fc.property(origin, fc.maxSafeNat(), root, (origin, size, bytes) => {
      const root = size === 0 ? EMPTY_ROOT : asHash(bytes);
      const parsed = parseCheckpoint(formatCheckpoint({ origin, size: treeSize(size), root }));
      expect([parsed.origin, parsed.size, toHex(parsed.root)]).toEqual([origin, size, toHex(root)]);
    }),
  );
});

test("a checkpoint with a character changed is refused, or it is the text of what it then says", () => {
  const [{ text } = { text: "" }] = vectors.checkpoints.valid;
  const character = fc.oneof(
    fc.constantFrom("", ..."0123456789abAB+/=\n\r \t-"),
    fc.nat({ max: 0x10ffff }).map((code) => String.fromCodePoint(code)),
  );
  fc.assert(
    fc.property(fc.nat({ max: text.length - 1 }), fc.nat({ max: 1 }), character, (at, removed, character) => {
      const changed = text.slice(0, at) + character + text.slice(at + removed);
      const parsed = attempt(() => parseCheckpoint(changed));
      return parsed === undefined || formatCheckpoint(parsed) === changed;
    }),
    { numRuns: 800 },
  );
});

test("what cannot be read is not written", () => {
  const checkpoint = { origin: "a", size: treeSize(1), root: EMPTY_ROOT };
  for (const origin of ["", "a\nb", "a\tb", "\ud800", "a".repeat(256), "é".repeat(128)]) {
    expect(() => formatCheckpoint({ ...checkpoint, origin }), origin).toThrow(TlogError);
  }
  const root = asHash(new Uint8Array(32));
  expect(() => formatCheckpoint({ ...checkpoint, size: treeSize(0), root })).toThrow(TlogError);
});

describe("a signed checkpoint", () => {
  const seed = (byte: number) => new Uint8Array(32).fill(byte);
  const signer = NoteSigner.fromSeed("psephos.local/a", seed(1));
  const log = NoteVerifier.parse(signer.verifierKey);
  const other = NoteSigner.fromSeed("psephos.local/b", seed(2));
  const text = formatCheckpoint({ origin: "psephos.local/a", size: treeSize(0), root: EMPTY_ROOT });

  test("opens under its log's key, with the cosignatures of known witnesses", () => {
    const vector = vectors.notes.valid.find(({ about }) =>
      about?.startsWith("a checkpoint with the cosignatures"),
    );
    const [vermont, ...witnesses] = (vector?.verifierKeys ?? []).map(NoteVerifier.parse);
    if (!vector || !vermont) return expect.fail("no such vector");
    const { checkpoint, cosignatures } = openCheckpoint({ note: vector.note, log: vermont, witnesses });
    expect([checkpoint.origin, checkpoint.size]).toEqual(["psephos.local/vermont-2020", 70_000]);
    expect(cosignatures.map(({ verifier, timestamp }) => [verifier.name, timestamp])).toEqual([
      ["witness.example/w1", 1_727_964_367],
      ["witness.example/w2", 0],
    ]);
    expect(openCheckpoint({ note: vector.note, log: vermont }).cosignatures).toEqual([]);
  });

  test("is not opened by a witness's signature alone", () => {
    const note = signNote(text, [other]);
    const witnesses = [NoteVerifier.parse(other.verifierKey)];
    expect(() => openCheckpoint({ note, log, witnesses })).toThrow(/not signed by its log/);
  });

  test("of another log under this log's key is refused", () => {
    const note = signNote(text.replace("/a", "/b"), [signer]);
    expect(() => openCheckpoint({ note, log })).toThrow(
      'the checkpoint is of the log "psephos.local/b", not "psephos.local/a"',
    );
  });

  test("that is no checkpoint is refused, though signed", () => {
    expect(() => openCheckpoint({ note: signNote("hello\n", [signer]), log })).toThrow(/three lines/);
  });
});

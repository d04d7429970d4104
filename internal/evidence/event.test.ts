import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { encodeEntry } from "../ballot/entry.ts";
import { FormatError } from "../ballot/format-error.ts";
import { fromHex, toHex, utf8 } from "../core/bytes.ts";
import { electionId } from "../core/ids.ts";
import { NoteSigner, signNote } from "../tlog/note.ts";
import { NoteVerifier } from "../tlog/note-verifier.ts";
import {
  EVENT_KINDS,
  eventEntry,
  eventKeyName,
  type JsonObject,
  type LogEvent,
  MAX_EVENT_BYTES,
  parseEvent,
  signEvent,
  verifyEvent,
} from "./event.ts";
import vectors from "./vectors.json" with { type: "json" };

const { event: golden } = vectors;
const signer = NoteSigner.fromSeed(eventKeyName("psephos.test/council-2031"), fromHex(golden.seed));
const key = NoteVerifier.parse(golden.verifier_key);
const goldenEvent: LogEvent = {
  electionId: electionId("council-2031"),
  kind: "worm-probe",
  at: 1_930_000_000_500_000,
  details: { server: "storé 1", tried: [{ what: "overwrite", held: true }] },
};

test("the golden vector is what the event gives, and parses to it", () => {
  expect(signer.verifierKey).toBe(golden.verifier_key);
  expect(signEvent(goldenEvent, signer)).toBe(golden.note);
  expect(parseEvent(golden.note)).toEqual(goldenEvent);
  const entry = eventEntry(golden.note);
  expect(toHex(entry.eventHash)).toBe(golden.hash);
  expect(toHex(encodeEntry(entry))).toBe(golden.entry);
  expect(() => verifyEvent(golden.note, key)).not.toThrow();
});

test("another key, and another text under its signature, do not verify", () => {
  const other = NoteSigner.fromSeed(signer.name, new Uint8Array(32).fill(8));
  expect(() => verifyEvent(signEvent(goldenEvent, other), key)).toThrow(/no trusted key/);
  const changed = golden.note.replace('"held":true', '"held":false');
  expect(parseEvent(changed).details).not.toEqual(goldenEvent.details);
  expect(() => verifyEvent(changed, key)).toThrow(/does not verify/);
});

// What JSON has: a double for a number, and no negative zero in its canonical form.
const details = fc
  .dictionary(fc.string({ unit: "grapheme" }), fc.jsonValue({ maxDepth: 3 }), {
    maxKeys: 6,
    noNullPrototype: true,
  })
  .map((object): JsonObject => JSON.parse(JSON.stringify(object)))
  .filter((object) => utf8(JSON.stringify(object)).length < 10_000);
const events: fc.Arbitrary<LogEvent> = fc.record({
  electionId: fc.constantFrom(electionId("a"), electionId("vermont-2020")),
  kind: fc.constantFrom(...EVENT_KINDS),
  at: fc.maxSafeNat(),
  details,
});

test("every event parses to itself, and is one line an item", () => {
  fc.assert(
    fc.property(events, (event) => {
      const note = signEvent(event, signer);
      expect(parseEvent(note)).toEqual(event);
      expect(note.split("\n")).toHaveLength(8);
    }),
    { numRuns: 50 }, // A signature by @noble/ed25519 takes a millisecond.
  );
});

test("a changed byte is refused, or is an event with another hash that no longer verifies", () => {
  const bytes = utf8(golden.note);
  for (let at = 0; at < bytes.length; at++) {
    const changed = bytes.slice();
    changed[at] = (changed[at] ?? 0) ^ 0x01;
    const note = new TextDecoder().decode(changed);
    try {
      parseEvent(note);
    } catch (error) {
      expect(error, `byte ${at}`).toBeInstanceOf(FormatError);
      continue;
    }
    expect(toHex(eventEntry(note).eventHash)).not.toBe(golden.hash);
    expect(() => verifyEvent(note, key), `byte ${at}`).toThrow();
  }
});

describe("refused", () => {
  const [, election, kind, at, json] = golden.note.split("\n");
  const text = (lines: readonly (string | undefined)[]) => signNote(`${lines.join("\n")}\n`, [signer]);
  const head = ["psephos/event/v1", election, kind];

  test("not the text the cases begin with", () => {
    expect(text([...head, at, json])).toBe(golden.note);
  });

  test.each<[string, string]>([
    ["nothing", ""],
    ["no signature", `${golden.note.split("\n\n")[0]}\n\n`],
    ["another format", golden.note.replace("event/v1", "event/v2")],
    ["no election id", text(["psephos/event/v1", "Council", kind, at, json])],
    ["an unknown kind", text(["psephos/event/v1", election, "coffee", at, json])],
    ["four lines", text([...head, at])],
    ["six lines", text([...head, at, json, "more"])],
    ["a time with a leading zero", text([...head, `0${at}`, json])],
    ["a time in another form", text([...head, "1e15", json])],
    ["a time above 2^53 - 1", text([...head, "9007199254740992", json])],
    ["details that are no JSON", text([...head, at, "{"])],
    ["details that are a list", text([...head, at, "[]"])],
    ["details that are null", text([...head, at, "null"])],
    ["a key twice", text([...head, at, '{"a":1,"a":1}'])],
    ["keys in another order", text([...head, at, '{"b":1,"a":1}'])],
    ["white space", text([...head, at, '{"a": 1}'])],
    ["a number in another form", text([...head, at, '{"a":1.0}'])],
    ["a negative zero", text([...head, at, '{"a":-0}'])],
    ["half of a surrogate pair", text([...head, at, '{"a":"\\ud800"}'])],
    ["too much of it", text([...head, at, JSON.stringify({ a: "x".repeat(MAX_EVENT_BYTES) })])],
    ["too deep", text([...head, at, `{"a":${"[".repeat(7_000)}${"]".repeat(7_000)}`])],
  ])("%s", (_, note) => {
    expect(() => parseEvent(note)).toThrow(FormatError);
  });

  test("an event that could not be read again is not signed", () => {
    expect(() => signEvent({ ...goldenEvent, details: { a: "x".repeat(MAX_EVENT_BYTES) } }, signer)).toThrow(
      FormatError,
    );
    expect(() => signEvent({ ...goldenEvent, details: { a: Number.NaN } }, signer)).toThrow(FormatError);
    expect(() => signEvent({ ...goldenEvent, at: 0.5 }, signer)).toThrow(FormatError);
    expect(() => signEvent({ ...goldenEvent, at: -1 }, signer)).toThrow(FormatError);
  });
});

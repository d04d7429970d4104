import { describe, expect, test } from "vitest";
import { encodeEntry } from "../ballot/entry.ts";
import { toHex, utf8 } from "../core/bytes.ts";
import { electionId, treeSize } from "../core/ids.ts";
import { formatCheckpoint, openCheckpoint } from "../tlog/checkpoint.ts";
import { LogKeys } from "../tlog/log-keys.ts";
import { NoteSigner, parseNote, signNote } from "../tlog/note.ts";
import { NoteVerifier } from "../tlog/note-verifier.ts";
import { parseTlogProof } from "../tlog/tlog-proof.ts";
import { leafHash, nodeHash } from "../tlog/tree.ts";
import { eventEntry, signEvent } from "./event.ts";
import {
  acceptKeyChange,
  followKeyChange,
  keyChangeFile,
  readKeyChanges,
  signKeyChange,
} from "./key-change.ts";
import vectors from "./vectors.json" with { type: "json" };

const { key_change: golden } = vectors;
const election = electionId("council-2031");
const signer = (seed: number, name = `psephos.test/${election}`) =>
  NoteSigner.fromSeed(name, new Uint8Array(32).fill(seed));
const verifier = ({ verifierKey }: NoteSigner) => NoteVerifier.parse(verifierKey);
const [old, next, third] = [signer(8), signer(9), signer(10)];
const keys = new LogKeys(verifier(old));
const note = signKeyChange(election, old, next);

/** A log of two entries: something, and the change. */
function fileOf(document: string, by: readonly NoteSigner[], index = 1): Uint8Array {
  const other = leafHash(utf8("an entry"));
  const root = nodeHash(other, leafHash(encodeEntry(eventEntry(document))));
  const checkpoint = signNote(formatCheckpoint({ origin: old.name, size: treeSize(2), root }), by);
  return utf8(keyChangeFile({ note: document, index, proof: [other], checkpoint }));
}

test("the golden vector is what the change gives, and leads from one key to the other", () => {
  expect([old.verifierKey, next.verifierKey]).toEqual([golden.from, golden.to]);
  expect(note).toBe(golden.note);
  expect(toHex(encodeEntry(eventEntry(note)))).toBe(golden.entry);
  expect(followKeyChange(keys, utf8(golden.file)).newest.toString()).toBe(golden.to);
  const { index, proof, checkpoint } = parseTlogProof(golden.file);
  expect(keyChangeFile({ note, index, proof, checkpoint })).toBe(golden.file);
});

describe("a change", () => {
  test("hands over from its entry on: what covers it takes the new key, what does not, the old", () => {
    const after = acceptKeyChange(acceptKeyChange(keys, note, 5), signKeyChange(election, next, third), 9);
    expect([0, 1, 5, 6, 9, 10, 1e9].map((size) => after.at(size).label)).toEqual(
      [old, old, old, next, next, third, third].map((key) => verifier(key).label),
    );
    const checkpoint = (size: number, ...by: NoteSigner[]) =>
      signNote(formatCheckpoint({ origin: old.name, size: treeSize(size), root: leafHash(utf8("r")) }), by);
    const open = (size: number, ...by: NoteSigner[]) =>
      openCheckpoint({ note: checkpoint(size, ...by), log: after }).checkpoint.size;
    expect([open(5, old), open(5, old, next), open(6, next), open(6, old, next)]).toEqual([5, 5, 6, 6]);
    expect(() => open(6, old)).toThrow(/no trusted key/);
    expect(() => open(5, next)).toThrow(/no trusted key/);
    expect(() => open(10, old, next)).toThrow(/no trusted key/);
  });

  test("that is in the log a second time changes nothing", () => {
    const after = acceptKeyChange(keys, note, 5);
    expect(acceptKeyChange(after, note, 7)).toBe(after);
  });

  const foreign = "psephos.test/senate-2031";
  test.each([
    ["the old key did not sign", signKeyChange(election, old, next).replace(/— .*\n/, ""), /no trusted key/],
    ["the new key did not sign", note.replace(/\n— [^\n]*\n$/, "\n"), /no trusted key/],
    ["somebody signed in place of the old key", forged(third, next), /no trusted key/],
    ["somebody signed in place of the new key", forged(old, third), /no trusted key/],
    ["with a third signature", note + third.sign(parseNote(note).text), /not of two signatures/],
    ["from a key that is not the log's", signKeyChange(election, third, next), /the log's key is/],
    [
      "of another log",
      signKeyChange(electionId("senate-2031"), signer(8, foreign), signer(9, foreign)),
      /not a key of/,
    ],
    [
      "of another election, with keys of this",
      signKeyChange(electionId("senate-2031"), old, next),
      /not a key of/,
    ],
    ["to the same key", signKeyChange(election, old, old), /not of two signatures|had before/],
    [
      "of another kind",
      signEvent({ electionId: election, kind: "reconciliation", at: 0, details: {} }, old),
      /a recon/,
    ],
    ["with a time", changed({ at: 1 }), /not at 0/],
    ["without a key", changed({ details: { from: old.verifierKey } }), /not at 0/],
    [
      "with something else",
      changed({ details: { from: old.verifierKey, to: next.verifierKey, x: 1 } }),
      /not at 0/,
    ],
    ["to no key", changed({ details: { from: old.verifierKey, to: "key" } }), /not a verifier key/],
  ])("%s is refused", (_, document, why) => {
    expect(() => acceptKeyChange(keys, document, 5)).toThrow(why);
  });

  function forged(from: NoteSigner, to: NoteSigner): string {
    return changed({}, from, to);
  }
  function changed(
    changes: { at?: number; details?: Record<string, string | number> },
    ...by: NoteSigner[]
  ): string {
    const details = { from: old.verifierKey, to: next.verifierKey };
    const event = { electionId: election, kind: "key-change", at: 0, details, ...changes } as const;
    return signEvent(event, ...(by.length > 0 ? by : [old, next]));
  }

  test("back to a key that the log has had is refused, so that no earlier change can come again", () => {
    const after = acceptKeyChange(keys, note, 5);
    expect(() => acceptKeyChange(after, signKeyChange(election, next, old), 6)).toThrow(/had before/);
    const later = acceptKeyChange(after, signKeyChange(election, next, third), 6);
    expect(() => acceptKeyChange(later, signKeyChange(election, old, third), 7)).toThrow(/the log's key is/);
    expect(() => acceptKeyChange(after, signKeyChange(election, next, third), 5)).toThrow(
      /does not come after/,
    );
  });
});

describe("a change's public file", () => {
  test("takes a checkpoint of the new key that has the entry", () => {
    expect(followKeyChange(keys, fileOf(note, [next])).at(2).label).toBe(verifier(next).label);
    expect(() => followKeyChange(keys, fileOf(note, [old]))).toThrow(/no trusted key/);
    expect(() => followKeyChange(keys, fileOf(note, [next], 0))).toThrow();
    const other = signKeyChange(election, old, third);
    const withOther = parseTlogProof(new TextDecoder().decode(fileOf(note, [third])));
    expect(() => followKeyChange(keys, utf8(keyChangeFile({ ...withOther, note: other })))).toThrow(/proof/);
  });

  test("no single byte of it can be changed", () => {
    const file = fileOf(note, [next]);
    for (let i = 0; i < file.length; i++) {
      const tampered = Uint8Array.from(file);
      tampered[i] = (tampered[i] ?? 0) ^ 1;
      expect(() => followKeyChange(keys, tampered), `byte ${i}`).toThrow();
    }
  });

  test("is read after the one before it, and a file that does not follow is named", async () => {
    const files = new Map([["key-changes/0000000001", fileOf(note, [next])]]);
    const read = async (path: string) => files.get(path);
    expect((await readKeyChanges(verifier(old), read)).newest.label).toBe(verifier(next).label);
    files.set("key-changes/0000000002", fileOf(note, [next]));
    await expect(readKeyChanges(verifier(old), read)).rejects.toThrow(/^key-changes\/0000000002: .*repeats/);
  });
});

import { createPublicKey, verify } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { fromBase64, fromHex, toHex, utf8 } from "../core/bytes.ts";
import { openCheckpoint } from "./checkpoint.ts";
import { CosignatureSigner, cosignaturesOf, readCosignature } from "./cosignature.ts";
import { TlogError } from "./errors.ts";
import { NoteSigner, signNote } from "./note.ts";
import { NoteVerifier } from "./note-verifier.ts";
import { anyText, attempt, changeByte } from "./test-fuzz.ts";
import vectors from "./vectors.json" with { type: "json" };

const { seed, name, timestamp, text, line, verifierKey } = vectors.cosignature;
const signer = CosignatureSigner.fromSeed(name, fromHex(seed));
const witness = NoteVerifier.parse(verifierKey);
const other = CosignatureSigner.fromSeed("other.example", fromHex("06".repeat(32)));
const log = NoteSigner.fromSeed("psephos.local/vermont-2020", new Uint8Array(32).fill(1));
const NOTE = signNote(text, [log]) + line;

describe("a cosignature", () => {
  test("has the bytes of the specification", () => {
    expect(signer.verifierKey).toBe(verifierKey);
    expect(signer.cosign(text, timestamp)).toBe(line);
    expect(readCosignature(text, line, witness)).toEqual({ witness, timestamp, line });
  });

  test("is an Ed25519 signature of the time and the whole text, for node:crypto too", () => {
    const payload = fromBase64(line.trim().split(" ")[2] ?? "");
    expect(payload.length).toBe(4 + 8 + 64);
    const spki = Buffer.from(`302a300506032b6570032100${toHex(witness.publicKey)}`, "hex");
    const key = createPublicKey({ key: spki, format: "der", type: "spki" });
    const message = utf8(`cosignature/v1\ntime ${timestamp}\n${text}`);
    expect(verify(null, message, key, payload.subarray(12))).toBe(true);
  });

  test("in a note is read beside the log's signature, and those of other keys are ignored", () => {
    const note = NOTE + other.cosign(text, 7);
    expect(cosignaturesOf(note, [witness])).toEqual([{ witness, timestamp, line }]);
    expect(cosignaturesOf(NOTE, [NoteVerifier.parse(other.verifierKey)])).toEqual([]);
    const logKey = NoteVerifier.parse(log.verifierKey);
    const { cosignatures } = openCheckpoint({ note, log: logKey, witnesses: [witness] });
    expect(cosignatures).toEqual([{ verifier: witness, timestamp }]);
  });

  test("verifies in no note that has one byte changed, but for lines of keys that nobody knows", () => {
    const [logKey, bytes] = [NoteVerifier.parse(log.verifierKey), utf8(NOTE)];
    for (let at = 0; at < bytes.length; at++) {
      const opened = attempt(() =>
        openCheckpoint({ note: changeByte(bytes, at), log: logKey, witnesses: [witness] }),
      );
      // A line whose key is another's by the change says nothing, and so takes the witness away.
      expect(opened?.cosignatures ?? [], `byte ${at}`).toEqual([]);
    }
  });

  test("of another text, time or key does not verify, and refuses its note", () => {
    const otherText = text.replace("\n7\n", "\n8\n");
    for (const wrong of [
      signer.cosign(otherText, timestamp),
      lineWith((payload) => payload.with(11, (payload[11] ?? 0) ^ 1)),
      lineWith((payload) => payload.with(70, (payload[70] ?? 0) ^ 1)),
      lineWith((payload) => payload.subarray(0, -1)),
      lineWith((payload) => new Uint8Array([...payload, 0])),
      // 2^63: the specification has no such time.
      lineWith((payload) => payload.with(4, 0x80)),
    ]) {
      expect(() => readCosignature(text, wrong, witness)).toThrow(`the note's signature by ${witness.label}`);
      // Even beside the right one: somebody tampered with it.
      expect(() => readCosignature(text, line + wrong, witness)).toThrow(TlogError);
      expect(() => cosignaturesOf(signNote(text, [log]) + wrong, [witness])).toThrow(TlogError);
    }
  });

  test("that is not there is an error, not an empty answer", () => {
    expect(() => readCosignature(text, other.cosign(text, 1), witness)).toThrow("no trusted key signed");
    expect(() => readCosignature(text, "", witness)).toThrow(TlogError);
    // A log's own line is no witness's, whoever is asked for.
    const logKey = NoteVerifier.parse(log.verifierKey);
    expect(() => readCosignature(text, log.sign(text), logKey)).toThrow("is not a witness's key");
  });

  test("changed in any byte is refused, or is another key's", () => {
    const bytes = utf8(line);
    for (let at = 0; at < bytes.length; at++) {
      for (const change of [0x01, 0x80, 1 + ((at * 37) % 255)]) {
        const bent = bytes.with(at, (bytes[at] ?? 0) ^ change);
        const read = attempt(() => readCosignature(text, new TextDecoder().decode(bent), witness));
        if (read !== undefined) expect.fail(`byte ${at} changed by ${change}`);
      }
    }
  });

  test("of any time comes back", () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), (time) => {
        expect(readCosignature(text, signer.cosign(text, time), witness).timestamp).toBe(time);
      }),
      { numRuns: 20 },
    );
  });

  test("whatever lines a witness answers with, the answer is its cosignature or a TlogError", () => {
    const token = fc.constantFrom(line, "\n", "— ", name, " ", line.slice(0, -2), other.cosign(text, 1));
    const input = fc.oneof(
      anyText(),
      fc.array(token, { maxLength: 6 }).map((tokens) => tokens.join("")),
    );
    fc.assert(
      fc.property(input, (lines) => {
        const read = attempt(() => readCosignature(text, lines, witness));
        return read === undefined || read.line === line;
      }),
      { numRuns: 300 },
    );
  });
});

test("a witness's key is made of a name and 32 bytes, which it does not show", () => {
  expect(() => CosignatureSigner.fromSeed("a b", fromHex(seed))).toThrow(TlogError);
  expect(() => CosignatureSigner.fromSeed("a", new Uint8Array(31))).toThrow(TlogError);
  expect(JSON.stringify(signer)).toBe(JSON.stringify({ name, verifierKey }));
});

/** The vector's line with another payload. */
function lineWith(change: (payload: Uint8Array) => Uint8Array): string {
  const [dash, name, payload = ""] = line.trim().split(" ");
  return `${dash} ${name} ${Buffer.from(change(fromBase64(payload))).toString("base64")}\n`;
}

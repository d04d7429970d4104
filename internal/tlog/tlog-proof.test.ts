import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { fromHex, toHex } from "../core/bytes.ts";
import { TlogError } from "./errors.ts";
import { NoteVerifier } from "./note-verifier.ts";
import { anyText, attempt } from "./test-fuzz.ts";
import { formatTlogProof, parseTlogProof, verifyTlogProof } from "./tlog-proof.ts";
import { leafHash } from "./tree.ts";
import vectors from "./vectors.json" with { type: "json" };

// Parsing a key costs as much as checking a signature, and a test below checks a thousand.
const verifiers = new Map<string, NoteVerifier>();
function verifierOf(key: string): NoteVerifier {
  const verifier = verifiers.get(key) ?? NoteVerifier.parse(key);
  verifiers.set(key, verifier);
  return verifier;
}

function verify(text: string, entry: string, verifierKey: string, witnessKeys: readonly string[] = []) {
  const proof = parseTlogProof(text);
  const leaf = leafHash(fromHex(entry));
  const witnesses = witnessKeys.map(verifierOf);
  return { proof, ...verifyTlogProof({ proof, leaf, log: verifierOf(verifierKey), witnesses }) };
}

const [, example] = vectors.tlogProofs.valid;
if (!example) throw new Error("the refused vectors are variants of the second valid one");

test.each(vectors.tlogProofs.valid)("index $index of $size", (vector) => {
  const { text, entry, index, extra, size, verifierKey, witnessKeys, cosigned } = vector;
  const { proof, checkpoint, cosignatures } = verify(text, entry, verifierKey, witnessKeys);
  expect(formatTlogProof(proof)).toBe(text);
  expect([proof.index, checkpoint.size, proof.extra && toHex(proof.extra)]).toEqual([
    index,
    size,
    extra ?? undefined,
  ]);
  expect(cosignatures.length).toBe(cosigned ? 1 : 0);
});

test.each(vectors.tlogProofs.refused)("refused: $why", ({ text }) => {
  expect(() => verify(text, example.entry, example.verifierKey)).toThrow(TlogError);
});

test("another entry, another log, another index: refused", () => {
  const { text, entry, verifierKey } = example;
  expect(() => verify(text, `${entry}00`, verifierKey)).toThrow(/leads to root/);
  const other = vectors.keys.valid[1]?.verifierKey ?? "";
  expect(() => verify(text, entry, other)).toThrow(/no trusted key/);
  const later = formatTlogProof({ ...parseTlogProof(text), index: 42 });
  expect(() => verify(later, entry, verifierKey)).toThrow(/leads to root/);
});

describe("a character changed", () => {
  const { text, entry, verifierKey } = example;

  test("refused, or nothing has changed but the extra data", () => {
    for (let at = 0; at < text.length; at++) {
      const replacements = [String.fromCharCode(text.charCodeAt(at) ^ 1), "A", "\n"];
      const changed = text.slice(0, at) + replacements[at % 3] + text.slice(at + 1);
      const result = attempt(() => verify(changed, entry, verifierKey));
      if (result) {
        expect({ ...result.proof, extra: undefined }).toEqual({ ...parseTlogProof(text), extra: undefined });
      }
    }
  });

  test("whatever is parsed, the answer is a proof or a TlogError", () => {
    const line = fc.constantFrom(...text.split("\n"), "extra ", "index ", "index 0", " ", "\r", "AAAA");
    const lines = fc.array(line, { maxLength: 14 }).map((lines) => lines.join("\n"));
    fc.assert(
      fc.property(fc.oneof(anyText(), lines), (input) => {
        const parsed = attempt(() => parseTlogProof(input));
        return parsed === undefined || formatTlogProof(parsed) === input;
      }),
      { numRuns: 500 },
    );
  });
});

test("limits", () => {
  const proof = parseTlogProof(example.text);
  expect(() => parseTlogProof("a".repeat((1 << 20) + 1))).toThrow("longer than");
  const [hash] = proof.proof;
  if (!hash) return expect.fail("no hash");
  const long = formatTlogProof({ ...proof, proof: new Array(55).fill(hash) });
  expect(() => parseTlogProof(long)).toThrow("more than 54 hashes");
  for (const index of [-1, 0.5, 2 ** 53])
    expect(() => formatTlogProof({ ...proof, index })).toThrow(TlogError);
  expect(() => formatTlogProof({ ...proof, checkpoint: "not a note" })).toThrow(TlogError);
});

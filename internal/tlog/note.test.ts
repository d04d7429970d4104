import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { fromHex, toHex, utf8 } from "../core/bytes.ts";
import { ed25519Verify } from "./ed25519.ts";
import { TlogError } from "./errors.ts";
import { formatSignatureLine, MAX_NOTE_SIZE, NoteSigner, openNote, parseNote, signNote } from "./note.ts";
import { isKeyName, NoteVerifier } from "./note-verifier.ts";
import { anyLine, anyText, attempt } from "./test-fuzz.ts";
import vectors from "./vectors.json" with { type: "json" };

const [logKey] = vectors.keys.valid;
const NAME = logKey?.name ?? "";
const signer = NoteSigner.fromSeed(NAME, fromHex(logKey?.seed ?? ""));
const verifier = NoteVerifier.parse(signer.verifierKey);
const TEXT = `${NAME}\n7\n3bmJvkA4CeMldQ080mPNeJLClCt5QqNLd+EslZSnTIw=\n`;
const NOTE = signNote(TEXT, [signer]);

describe("keys", () => {
  test.each(vectors.keys.valid)("$verifierKey", ({ name, seed, verifierKey }) => {
    const signer = NoteSigner.fromSeed(name, fromHex(seed));
    expect(signer.verifierKey).toBe(verifierKey);
    expect(signer.name).toBe(name);
    const parsed = NoteVerifier.parse(verifierKey);
    expect(`${parsed}`).toBe(verifierKey);
    expect(parsed.name).toBe(name);
  });

  test.each(vectors.keys.refused)("refused: $why", ({ verifierKey }) => {
    expect(() => NoteVerifier.parse(verifierKey)).toThrow(TlogError);
  });

  test("no part of a key is a key, nor is a key with a character changed", () => {
    const key = signer.verifierKey;
    for (let start = 0; start <= key.length; start++) {
      for (let end = start + 1; end <= key.length; end++) {
        if (end - start === key.length) continue;
        if (!refuses(() => NoteVerifier.parse(key.slice(start, end)))) expect.fail(key.slice(start, end));
      }
      const changed =
        key.slice(0, start) + String.fromCharCode(key.charCodeAt(start) + 1) + key.slice(start + 1);
      if (!refuses(() => NoteVerifier.parse(changed))) expect.fail(changed);
    }
  });

  test("names: any text without spaces, plus signs and control characters", () => {
    for (const name of ["a", "psephos.local/vermont-2020", "ψῆφος", "—", "a=b&c", "👍", "a\ufeffb"])
      expect(isKeyName(name)).toBe(true);
    const spaces = [..." \t\n\v\f\r\u0085\u00a0\u1680\u2000\u2009\u2028\u2029\u202f\u205f\u3000"];
    for (const name of ["", "a+b", "\u0000", "\ud800", ...spaces.map((space) => `a${space}b`)]) {
      expect(isKeyName(name), JSON.stringify(name)).toBe(false);
      expect(() => NoteSigner.fromSeed(name, new Uint8Array(32))).toThrow(TlogError);
    }
  });

  test("a seed is 32 bytes, and is copied", () => {
    expect(() => NoteSigner.fromSeed("a", new Uint8Array(31))).toThrow(TlogError);
    expect(() => NoteSigner.fromSeed("a", new Uint8Array(64))).toThrow(TlogError);
    const seed = fromHex(logKey?.seed ?? "");
    const copied = NoteSigner.fromSeed(NAME, seed);
    seed.fill(0);
    expect(copied.sign(TEXT)).toBe(signer.sign(TEXT));
  });

  test("a signer shows no seed", () => {
    expect(JSON.stringify(signer)).toBe(JSON.stringify({ name: NAME, verifierKey: signer.verifierKey }));
  });
});

describe("notes", () => {
  test.each(vectors.notes.valid)("valid %#", ({ note, verifierKeys, text, verified }) => {
    for (const form of [note, utf8(note)]) {
      const opened = openNote(form, verifierKeys.map(NoteVerifier.parse));
      expect(opened.text).toBe(text);
      expect(opened.verified.map(({ verifier, timestamp }) => [verifier.label, timestamp])).toEqual(
        verified.map(({ name, keyId, timestamp }) => [`${name}+${keyId}`, timestamp ?? undefined]),
      );
    }
  });

  test.each(vectors.notes.refused)("refused: $why", ({ note, verifierKeys }) => {
    const verifiers = verifierKeys.map(NoteVerifier.parse);
    expect(() => openNote(note, verifiers)).toThrow(TlogError);
    expect(() => openNote(utf8(note), verifiers)).toThrow(TlogError);
  });

  test("signing gives the bytes of golang.org/x/mod", () => {
    const peter = vectors.keys.valid.find(({ name }) => name === "PeterNeumann");
    const expected = vectors.notes.valid.find(({ source }) => source === "golang.org/x/mod/sumdb/note");
    const note = signNote(expected?.text ?? "", [
      NoteSigner.fromSeed("PeterNeumann", fromHex(peter?.seed ?? "")),
    ]);
    expect(note).toBe(expected?.note);
  });

  test("a note reads as it was written", () => {
    const { text, signatures } = parseNote(NOTE);
    expect(text).toBe(TEXT);
    expect(`${text}\n${signatures.map(formatSignatureLine).join("")}`).toBe(NOTE);
  });

  test("any text comes back under its signature", () => {
    fc.assert(
      fc.property(fc.array(anyLine(), { minLength: 1, maxLength: 5 }), (lines) => {
        const text = `${lines.join("\n")}\n`;
        expect(openNote(signNote(text, [signer]), [verifier]).text).toBe(text);
      }),
      { numRuns: 40 },
    );
  });

  test("any single byte changed and the note is refused", () => {
    const bytes = utf8(NOTE);
    for (let at = 0; at < bytes.length; at++) {
      for (const change of [0x01, 0x80, 1 + ((at * 37) % 255)]) {
        const bent = bytes.with(at, (bytes[at] ?? 0) ^ change);
        if (!refuses(() => openNote(bent, [verifier]))) expect.fail(`byte ${at} changed by ${change}`);
      }
      // A byte more, a byte less.
      if (
        !refuses(() =>
          openNote(new Uint8Array([...bytes.subarray(0, at), ...bytes.subarray(at + 1)]), [verifier]),
        )
      ) {
        // Only one of two equal neighbours may be missing without a trace, and a note has none.
        expect.fail(`byte ${at} missing`);
      }
    }
  });

  test("whatever is opened, the answer is a note or a TlogError", () => {
    const token = fc.constantFrom(
      "\n",
      "\n\n",
      "— ",
      "—",
      " ",
      NAME,
      "AAAAAAA=",
      "+",
      "a",
      "\r",
      "\ud800",
      "\u00a0",
      NOTE,
      TEXT,
    );
    const input = fc.oneof(
      anyText(),
      fc.array(token, { maxLength: 12 }).map((tokens) => tokens.join("")),
      fc.uint8Array(),
    );
    fc.assert(
      fc.property(input, (note) => {
        const opened = attempt(() => openNote(note, [verifier]));
        attempt(() => parseNote(note));
        if (typeof note === "string") attempt(() => NoteVerifier.parse(note));
        return opened === undefined || opened.text === TEXT;
      }),
      { numRuns: 500 },
    );
  });

  test("bytes that are not UTF-8, and strings that have no UTF-8", () => {
    expect(() => openNote(new Uint8Array([0xff, ...utf8(NOTE)]), [verifier])).toThrow("a note is not UTF-8");
    expect(() => openNote(`\ud800${NOTE}`, [verifier])).toThrow("half of a surrogate pair");
    expect(() => signNote("\ud800\n", [signer])).toThrow(TlogError);
  });

  test("a byte order mark is part of the text, and not dropped", () => {
    const marked = utf8(`\ufeff${NOTE}`);
    expect(() => openNote(marked, [verifier])).toThrow(TlogError);
  });

  test("size limits", () => {
    const large = `${"a".repeat(MAX_NOTE_SIZE - 200)}\n`;
    expect(openNote(signNote(large, [signer]), [verifier]).text).toBe(large);
    expect(() => openNote("a".repeat(MAX_NOTE_SIZE + 1), [verifier])).toThrow("longer than");
    expect(() => openNote(new Uint8Array(MAX_NOTE_SIZE + 1), [verifier])).toThrow("longer than");
    // Half as many characters, of two bytes each.
    expect(() => openNote("é".repeat(MAX_NOTE_SIZE / 2 + 1), [verifier])).toThrow("longer than");
    expect(() => signNote(`${"a".repeat(MAX_NOTE_SIZE - 2)}\n`, [signer])).toThrow("longer than");
  });

  test("what cannot be read is not signed", () => {
    for (const text of ["", "no newline", "tab\t\n", "nul\0\n", "return\r\n"]) {
      expect(() => signNote(text, [signer]), JSON.stringify(text)).toThrow(TlogError);
      expect(() => signer.sign(text)).toThrow(TlogError);
    }
    expect(() => signNote(TEXT, [])).toThrow(TlogError);
  });

  test("one key twice is one key; two keys under one label are refused", () => {
    expect(openNote(NOTE, [verifier, NoteVerifier.parse(signer.verifierKey)]).verified.length).toBe(1);
    const imposter = Object.assign(Object.create(NoteVerifier.prototype), {
      ...verifier,
      publicKey: new Uint8Array(32),
    });
    expect(() => openNote(NOTE, [verifier, imposter])).toThrow("two different keys");
  });

  test("an error says whose signature, and who signed", () => {
    expect(() => openNote(NOTE.replace("\n7\n", "\n8\n"), [verifier])).toThrow(
      `the note's signature by ${verifier.label} does not verify`,
    );
    expect(() => openNote(NOTE, [])).toThrow(
      `no trusted key signed the note; it is signed by ${verifier.label}`,
    );
  });
});

describe("Ed25519", () => {
  test.each(vectors.ed25519.cases)("$why", ({ message, publicKey, signature, valid }) => {
    expect(ed25519Verify(fromHex(signature), fromHex(message), fromHex(publicKey))).toBe(valid);
  });

  test("a signature of another length is not one", () => {
    expect(ed25519Verify(new Uint8Array(63), new Uint8Array(), verifier.publicKey)).toBe(false);
    expect(ed25519Verify(new Uint8Array(0), new Uint8Array(), verifier.publicKey)).toBe(false);
  });

  test("node:crypto verifies what we sign", async () => {
    const { createPublicKey, verify } = await import("node:crypto");
    const spki = Buffer.from(`302a300506032b6570032100${toHex(verifier.publicKey)}`, "hex");
    const key = createPublicKey({ key: spki, format: "der", type: "spki" });
    const [signature] = parseNote(NOTE).signatures;
    expect(verify(null, utf8(TEXT), key, signature?.signature ?? new Uint8Array())).toBe(true);
  });
});

function refuses(run: () => unknown): boolean {
  return attempt(() => [run()]) === undefined;
}

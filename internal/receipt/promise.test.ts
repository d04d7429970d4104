import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { encodeEntry } from "../ballot/entry.ts";
import { parseManifest } from "../ballot/manifest.ts";
import { fromHex, toHex, utf8 } from "../core/bytes.ts";
import { electionId, sequence, shardId } from "../core/ids.ts";
import { asHash, sha256 } from "../core/sha256.ts";
import { BatchTree } from "../tlog/batch-tree.ts";
import { TlogError } from "../tlog/errors.ts";
import { NoteSigner, signNote } from "../tlog/note.ts";
import { anyText, attempt, changeByte } from "../tlog/test-fuzz.ts";
import { leafHash } from "../tlog/tree.ts";
import {
  formatPromise,
  formatStatement,
  type PromiseStatement,
  parsePromise,
  parseStatement,
  type VerifyPromiseOptions,
  verifyPromise,
} from "./promise.ts";
import vectors from "./vectors.json" with { type: "json" };

const manifest = parseManifest(utf8(vectors.manifest.canonical));
const manifestHash = asHash(fromHex(vectors.manifest.hash));
const KEY_NAME = "psephos.test/council-2031/promise";
const signer = NoteSigner.fromSeed(KEY_NAME, fromHex(vectors.promise_seed));

function verify(file: string | Uint8Array, of: Partial<VerifyPromiseOptions["manifest"]> = {}) {
  return verifyPromise({ promise: parsePromise(file), manifest: { ...manifest, ...of }, manifestHash });
}

function refusalOf(file: string | Uint8Array): string {
  try {
    verify(file);
  } catch (error) {
    if (error instanceof TlogError) return error.message;
    throw error;
  }
  throw new Error("it was accepted");
}

const [, , , , example] = vectors.promises;
if (!example) throw new Error("the refused ones are variants of one of five");
const { file } = example;

describe("vectors", () => {
  test("the manifest names the key and the delay", () => {
    expect(manifest.promises).toEqual({ key: vectors.promise_key, delaySeconds: vectors.delay_seconds });
    expect(toHex(sha256(utf8(vectors.manifest.canonical)))).toBe(vectors.manifest.hash);
    expect(signer.verifierKey).toBe(vectors.promise_key);
  });

  test.each(vectors.promises)("$index of $size", (vector) => {
    const verified = verify(utf8(vector.file));
    expect(toHex(encodeEntry(verified.entry))).toBe(vector.entry);
    expect(verified).toMatchObject({
      electionId: "council-2031",
      batchSize: vector.size,
      issuedAt: vector.issued_at,
      delaySeconds: vectors.delay_seconds,
      dueAt: vector.issued_at + vectors.delay_seconds * 1_000_000,
    });
    expect(toHex(verified.batchRoot)).toBe(vector.batch_root);
    expect(toHex(verified.manifestHash)).toBe(vectors.manifest.hash);
    // Made again from its parts, it has the same bytes.
    expect(signNote(formatStatement(parseStatement(vector.statement)), [signer])).toBe(vector.statement);
    expect(formatPromise(parsePromise(vector.file))).toBe(vector.file);
  });

  test("every vote of a batch has a path to the same statement", () => {
    const entries = Array.from({ length: 5 }, (_, number) =>
      encodeEntry({
        type: "vote",
        shard: shardId(number),
        sequence: sequence(1),
        recordHash: sha256(utf8(`record ${number}`)),
      }),
    );
    const tree = new BatchTree(entries.map(leafHash));
    expect(toHex(tree.root())).toBe(example.batch_root);
    const { statement } = example;
    entries.forEach((entry, index) => {
      verify(formatPromise({ entry, index, proof: tree.inclusionProof(index), statement }));
    });
  });
});

const lines = file.split("\n");
/** The example with line `number` replaced; the 0th is the first. */
const withLine = (number: number, line: string) => lines.with(number, line).join("\n");

describe("what is no promise is refused, and why", () => {
  const blank = lines.indexOf("");
  /** The example's statement, with other content and signed again. */
  const signed = (changes: Partial<PromiseStatement>, by: readonly NoteSigner[] = [signer]) =>
    `${lines.slice(0, blank + 1).join("\n")}\n${signNote(
      formatStatement({ ...parseStatement(example.statement), ...changes }),
      by,
    )}`;

  test.each<[string, string | Uint8Array, string]>([
    ["nothing", "", "no blank line"],
    [
      "another file",
      "c2sp.org/tlog-proof@v1\nindex 0\n\nnote",
      "begins with the line psephos/promise-file/v1",
    ],
    ["a later version", file.replace("file/v1", "file/v2"), "begins with the line"],
    ["no UTF-8", Uint8Array.of(...utf8(file).slice(0, 40), 0xff, 0xfe), "not UTF-8"],
    ["1 MiB", "a".repeat(1 << 20), "longer than 16384 bytes"],
    ["cut off", file.slice(0, -1), "no newline"],
    ["cut off in the path", lines.slice(0, 4).join("\n"), "no blank line"],
    ["more after the end", `${file}\n`, "no signature"],
    ["Windows's line ends", file.replaceAll("\n", "\r\n"), "no blank line"],
    ["no entry", lines.toSpliced(1, 1).join("\n"), "no entry line"],
    ["no index", lines.toSpliced(2, 1).join("\n"), "no index line"],
    ["an entry of no form", withLine(1, "entry AAAA"), "not a vote's: log entry: unknown type"],
    ["a manifest's entry", withLine(1, `entry AdWhiilNTCYuuvo0y3HMg9VTmjmooKqdKolJdEj89YwV`), "not a vote's"],
    ["an entry in loose base64", withLine(1, `${lines[1]}=`), "canonical base64"],
    ["an index with a zero in front", withLine(2, `index 0${example.index}`), "without leading zeroes"],
    ["an index beyond the batch", withLine(2, "index 5"), "not in a tree of size 5"],
    ["another index", withLine(2, "index 3"), "leads to root"],
    ["a hash of 31 bytes", withLine(3, "A".repeat(43)), "32 bytes in canonical base64"],
    ["a hash too few", lines.toSpliced(3, 1).join("\n"), "too few hashes"],
    ["a hash too many", lines.toSpliced(3, 0, lines[3] ?? "").join("\n"), "too many hashes"],
    [
      "a thousand hashes",
      lines.toSpliced(3, 0, ...Array(250).fill(lines[3])).join("\n"),
      "more than 54 hashes",
    ],
    ["another vote's entry", withLine(1, lineOf(2, 1)), "leads to root"],
    ["an eighth line", file.replace("\n86400\n", "\n86400\n1\n"), "seven lines"],
    [
      "a statement of an event",
      file.replace("psephos/promise/v1", "psephos/event/v1"),
      "begins with psephos/promise",
    ],
    ["no election", file.replace("\ncouncil-2031\n", "\nCouncil\n"), "not an election id"],
    ["a batch of half a vote", file.replace("\n5\n", "\n4.5\n"), "batch size is a decimal number"],
    ["another delay", file.replace("\n86400\n", "\n86401\n"), "does not verify"],
    ["a delay without end", signed({ delaySeconds: 2 ** 53 - 1 }), "is due after"],
    ["a batch of another size", signed({ batchSize: 9 }), "too few hashes"],
    ["an empty batch", signed({ batchSize: 0 }), "not in a tree of size 0"],
    ["signed for later than the manifest says", signed({ delaySeconds: 2_592_000 }), "manifest says 86400 s"],
    ["signed for sooner", signed({ delaySeconds: 1 }), "due after 1 s"],
    ["about another manifest", signed({ manifestHash: sha256(utf8("{}")) }), "another manifest"],
    [
      "another election's",
      signed({ electionId: electionId("council-2032") }),
      "of the election council-2032",
    ],
    [
      "signed twice",
      signed({}, [signer, NoteSigner.fromSeed("a", new Uint8Array(32))]),
      "exactly one signature",
    ],
    ["signed by the log", signed({}, [logSigner()]), "no trusted key signed the note"],
    [
      "signed by another key of the name",
      signed({}, [NoteSigner.fromSeed(KEY_NAME, new Uint8Array(32))]),
      "no trusted key",
    ],
  ])("%s", (_, refused, why) => {
    expect(refusalOf(refused)).toContain(why);
  });

  test("by another manifest: without promises, of another key, of fewer shards", () => {
    expect(() => verify(file, { promises: undefined })).toThrow("names no key of promises");
    const promises = { key: vectors.log_key, delaySeconds: vectors.delay_seconds };
    expect(() => verify(file, { promises })).toThrow("no trusted key");
    // The example's vote is of shard 2.
    expect(verify(file, { shards: 3 }).entry.shard).toBe(2);
    expect(() => verify(file, { shards: 2 })).toThrow("of the shard 2, of 2");
  });

  function lineOf(vector: number, line: number): string {
    return vectors.promises[vector]?.file.split("\n")[line] ?? "";
  }

  function logSigner(): NoteSigner {
    return NoteSigner.fromSeed("psephos.test/council-2031", fromHex(vectors.log_seed));
  }
});

describe("hostile input", () => {
  test("no change of a single byte verifies", () => {
    const bytes = utf8(file);
    for (let at = 0; at < bytes.length; at++) {
      const changed = changeByte(bytes, at);
      const without = bytes.filter((_, i) => i !== at);
      expect(
        attempt(() => verify(changed)),
        `byte ${at} is ${changed[at]}`,
      ).toBeUndefined();
      expect(
        attempt(() => verify(without)),
        `without byte ${at}`,
      ).toBeUndefined();
    }
  });

  test("whatever is parsed, the answer is a promise or a TlogError", () => {
    const line = fc.constantFrom(...lines, "entry ", "index ", "index 0", " ", "\r", "AAAA", "");
    const someLines = fc.array(line, { maxLength: 20 }).map((some) => some.join("\n"));
    const bytes = fc.uint8Array({ maxLength: 200 });
    fc.assert(
      fc.property(fc.oneof(anyText(), someLines, bytes), (input) => {
        const parsed = attempt(() => parsePromise(input));
        return parsed === undefined || formatPromise(parsed) === input;
      }),
      { numRuns: 500 },
    );
  });
});

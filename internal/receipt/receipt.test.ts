import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { closingEntry, encodeEntry } from "../ballot/entry.ts";
import { toHex, utf8 } from "../core/bytes.ts";
import { sequence } from "../core/ids.ts";
import { sha256 } from "../core/sha256.ts";
import { TlogError } from "../tlog/errors.ts";
import { NoteVerifier } from "../tlog/note-verifier.ts";
import { anyText, attempt, changeByte } from "../tlog/test-fuzz.ts";
import { formatTlogProof, parseTlogProof } from "../tlog/tlog-proof.ts";
import { MAX_RECEIPT_BYTES, type ReceiptStep, verifyReceipt } from "./receipt.ts";
import { LOG_KEY, TestReceipts, voteEntry, WITNESS_KEY } from "./test-receipts.ts";
import vectors from "./vectors.json" with { type: "json" };

const votes = Array.from({ length: 6 }, (_, i) => voteEntry(i % 3, Math.floor(i / 3) + 1));
const CLOSING = closingEntry([{ sequence: sequence(7), hash: sha256(utf8("a head")) }]);
const log = new TestReceipts([...votes, CLOSING]);
const receipt = await log.receipt(3);
const [next, ofClosing] = [await log.receipt(4), await log.receipt(7)];
const cosigned = await log.receipt(3, 1_930_000_000);

function verify(file: string | Uint8Array, key = LOG_KEY) {
  const steps: ReceiptStep[] = [];
  const onStep = (step: ReceiptStep) => steps.push(step);
  return { ...verifyReceipt({ receipt: file, log: key, witnesses: [WITNESS_KEY], onStep }), steps };
}

test.each(vectors.receipts)("a receipt made elsewhere: index $index", ({ file, index, entry }) => {
  const verified = verify(file);
  expect(toHex(encodeEntry(verified.entry))).toBe(entry);
  expect([verified.index, verified.checkpoint.size]).toEqual([index, vectors.log_size]);
  expect(toHex(verified.checkpoint.root)).toBe(vectors.log_root);
  expect(String(verified.cosignatures[0]?.verifier)).toBe(vectors.witness_key);
  expect(verified.cosignatures[0]?.timestamp).toBe(vectors.cosigned_at);
});

test("a receipt says which entry is where in which log, step by step", () => {
  const { entry, index, checkpoint, cosignatures, steps } = verify(utf8(receipt));
  expect([entry.shard, entry.sequence, toHex(entry.recordHash)]).toEqual([
    2,
    1,
    toHex(votes[2]?.recordHash ?? utf8("")),
  ]);
  expect([index, checkpoint.size, checkpoint.origin]).toEqual([3, 8, "psephos.test/council-2031"]);
  expect([cosignatures, steps]).toEqual([[], ["form", "entry", "checkpoint", "inclusion"]]);
});

test("it says which of the known witnesses cosigned, and when", () => {
  const { cosignatures } = verify(cosigned);
  expect(cosignatures.map(({ verifier, timestamp }) => [verifier.name, timestamp])).toEqual([
    ["witness.test/one", 1_930_000_000],
  ]);
  expect(verifyReceipt({ receipt: cosigned, log: LOG_KEY }).cosignatures).toEqual([]);
});

test("everything in it is the entry, its place, and what is public anyway", () => {
  const { extra, index, proof, checkpoint } = parseTlogProof(receipt);
  expect(formatTlogProof({ extra, index, proof, checkpoint })).toBe(receipt);
  expect(checkpoint).toBe(log.note());
});

const lines = receipt.split("\n");
const blank = lines.indexOf("");

describe("what is no receipt is refused, and why", () => {
  const without = (line: number) => lines.toSpliced(line, 1).join("\n");

  test.each<[string, string | Uint8Array, string, ReceiptStep[]]>([
    ["nothing", "", "no blank line", []],
    ["a promise", vectors.promises[0]?.file ?? "", "begins with the line c2sp.org/tlog-proof@v1", []],
    ["no UTF-8", Uint8Array.of(...utf8(receipt), 0xff), "not UTF-8", []],
    ["more than 1 MiB", new Uint8Array(MAX_RECEIPT_BYTES + 1).fill(0x61), "longer than 1048576 bytes", []],
    ["more than 1 MiB of text", `${receipt}${"a".repeat(1 << 20)}`, "longer than 1048576 bytes", []],
    ["1 MiB of signatures", receipt + (lines[blank + 5] ?? "").concat("\n").repeat(8_000), "signatures", []],
    ["cut off", receipt.slice(0, -1), "no newline", []],
    ["no entry", without(1), "it has no extra line", ["form"]],
    ["an entry of no form", receipt.replace(/extra .*/, "extra AAAA"), "log entry: unknown type", ["form"]],
    ["the closing entry", ofClosing, "not a vote's entry", ["form"]],
    ["no index", without(2), "no index line", []],
    [
      "another index",
      receipt.replace("\nindex 3\n", "\nindex 4\n"),
      "leads to root",
      ["form", "entry", "checkpoint"],
    ],
    [
      "an index beyond the log",
      receipt.replace("\nindex 3\n", "\nindex 8\n"),
      "not in a tree",
      ["form", "entry", "checkpoint"],
    ],
    ["a hash too few", without(3), "too few hashes", ["form", "entry", "checkpoint"]],
    [
      "another vote's entry",
      receipt.replace(/extra .*/, next.split("\n")[1] ?? ""),
      "leads to root",
      ["form", "entry", "checkpoint"],
    ],
    ["another size", receipt.replace("\n8\n", "\n9\n"), "does not verify", ["form", "entry"]],
    ["another log", receipt.replaceAll("council-2031", "council-2032"), "no trusted key", ["form", "entry"]],
    ["an unsigned checkpoint", lines.slice(0, blank + 5).join("\n"), "signature", []],
  ])("%s", (_, file, why, passed) => {
    const steps: ReceiptStep[] = [];
    let refusal: unknown;
    try {
      verifyReceipt({ receipt: file, log: LOG_KEY, onStep: (step) => steps.push(step) });
    } catch (error) {
      refusal = error;
    }
    if (!(refusal instanceof TlogError))
      throw new Error("it was not refused with a TlogError", { cause: refusal });
    expect([refusal.message.includes(why), steps], refusal.message).toEqual([true, passed]);
  });

  test("with the key of promises instead of the log's", () => {
    expect(() => verify(receipt, NoteVerifier.parse(vectors.promise_key))).toThrow("no trusted key");
  });
});

describe("hostile input", () => {
  test("no change of a single byte verifies, of a receipt with a cosignature that is known", () => {
    const bytes = utf8(cosigned);
    for (let at = 0; at < bytes.length; at++) {
      const changed = changeByte(bytes, at);
      const result = attempt(() => verify(changed));
      // The name or key ID of the witness's line: it is then of nobody known, and a statement less.
      if (result) expect([at > cosigned.lastIndexOf("—"), result.cosignatures]).toEqual([true, []]);
    }
  });

  test("whatever it is, the answer is a verified receipt or a TlogError", () => {
    const line = fc.constantFrom(...lines, "extra ", "index ", "index 0", " ", "\r", "AAAA", "");
    const someLines = fc.array(line, { maxLength: 14 }).map((some) => some.join("\n"));
    fc.assert(
      fc.property(fc.oneof(anyText(), someLines, fc.uint8Array({ maxLength: 200 })), (input) => {
        const result = attempt(() => verify(input));
        return result === undefined || input === receipt;
      }),
      { numRuns: 500 },
    );
  });
});

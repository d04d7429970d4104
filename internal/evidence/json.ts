// Evidence is JSON in one written form: the keys of docs/spec.md in its order, no white space, lower-case hex, padded
// base64. A reader checks the form by writing what it read again, so that no two texts mean the same and nothing in
// one is left unread.
import { z } from "zod";
import { FormatError } from "../ballot/format-error.ts";
import type { ShardHead } from "../ballot/shard-head.ts";
import { decodeUtf8, fromHex, toHex } from "../core/bytes.ts";
import { electionId, isElectionId, MAX_SHARDS, sequence } from "../core/ids.ts";
import { asHash } from "../core/sha256.ts";

export const count = z.int().nonnegative();

export const election = z.string().refine(isElectionId, "not an election id").transform(electionId);

export const hashHex = z
  .string()
  .regex(/^[0-9a-f]{64}$/, "not a hash in hex")
  .transform((hex) => asHash(fromHex(hex)));

export const base64Bytes = z.string().transform(fromBase64);

export const shardHeads = z
  .array(z.strictObject({ sequence: count.transform((value) => sequence(value)), hash: hashHex }))
  .min(1)
  .max(MAX_SHARDS);

export function writeShardHeads(heads: readonly ShardHead[]): { sequence: number; hash: string }[] {
  return heads.map((head) => ({ sequence: head.sequence, hash: toHex(head.hash) }));
}

/** Reads a text that `write` wrote. Throws a FormatError that quotes no value of it: it may hold votes. */
export function readStrict<T>(text: string, schema: z.ZodType<T>, write: (value: T) => string): T {
  const parsed = schema.safeParse(parseJson(text));
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new FormatError(`${issue?.path.join(".") || "value"}: ${issue?.message}`);
  }
  if (write(parsed.data) !== text) throw new FormatError("not in its one written form");
  return parsed.data;
}

// Buffer's base64 is six times as fast as the one that also runs in a browser (docs/benchmarks.md), and each vote has
// two of them.
export function toBase64(value: Uint8Array): string {
  return Buffer.from(value.buffer, value.byteOffset, value.length).toString("base64");
}

/** Takes any text, as Buffer does: `readStrict` refuses what is not exactly what `toBase64` gives. */
export function fromBase64(text: string): Uint8Array {
  // A copy, because small Buffers are views of one that many share.
  return new Uint8Array(Buffer.from(text, "base64"));
}

/** The text in an evidence object. Throws a FormatError. */
export function textOf(object: Uint8Array): string {
  try {
    return decodeUtf8(object);
  } catch (error) {
    throw new FormatError("not UTF-8", { cause: error });
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new FormatError("not JSON");
  }
}

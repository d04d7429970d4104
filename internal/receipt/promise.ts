// Promises: what a voter gets at cast time, before there is a receipt. docs/spec.md, "Promise". A text file whose name
// ends in `.promise`:
//
//   psephos/promise-file/v1
//   entry AgAFAAAAAAAAAAHtwTzUtMDG…      the log entry that will stand for the vote
//   index 2                              its place in a batch
//   B95lDa8R83lS8n0eG+o0buTxRKQTYF…      the audit path in the batch's tree, leaf's sibling first
//
//   psephos/promise/v1                   the statement, a signed note (c2sp.org/signed-note), one for the whole batch
//   vermont-2020                         the election
//   1aGKKU1MJi668/o0y3HMg9VTmjmooKqd…    SHA-256 of its manifest
//   731                                  how many votes the batch has
//   9/YzCo8k1O1nJzz6WShA5gz5dQD+89u4…    the root of its tree
//   1604534400000000                     when it was signed, in microseconds since 1970
//   86400                                within how many seconds each of these entries is in the log
//
//   — psephos.local/vermont-2020/promise qRRcKh4…=
//
// The signature covers the batch's root, and so every entry. One costs as much as all the rest of many votes' ways.
import { decodeEntry, type VoteEntry } from "../ballot/entry.ts";
import type { Manifest } from "../ballot/manifest.ts";
import { decodeUtf8, equalBytes, fromBase64, toBase64 } from "../core/bytes.ts";
import { messageOf } from "../core/errors.ts";
import { type ElectionId, electionId } from "../core/ids.ts";
import type { Hash } from "../core/sha256.ts";
import { parseCount, parseHash } from "../tlog/checkpoint.ts";
import { malformed, unverified } from "../tlog/errors.ts";
import { formatSignatureLine, openNote, parseNote } from "../tlog/note.ts";
import { NoteVerifier } from "../tlog/note-verifier.ts";
import { MAX_PROOF_HASHES, verifyInclusion } from "../tlog/proof.ts";
import { leafHash } from "../tlog/tree.ts";

const FILE_FORMAT = "psephos/promise-file/v1";
const STATEMENT_FORMAT = "psephos/promise/v1";
/** A path of 54 hashes, names at their longest and a signature are a third of it. */
export const MAX_PROMISE_BYTES = 16 * 1024;
const MICROS = 1_000_000;

/** What is signed for a batch of votes. */
export interface PromiseStatement {
  readonly electionId: ElectionId;
  readonly manifestHash: Hash;
  readonly batchSize: number;
  /** The root of the RFC 6962 tree over the batch's log entries. */
  readonly batchRoot: Hash;
  /** Microseconds since 1970. */
  readonly issuedAt: number;
  readonly delaySeconds: number;
}

/** One vote's promise, as a client gets it and keeps it. */
export interface VotePromise {
  /** The log entry: `0x02 ‖ u16 shard ‖ u64 sequence ‖ record_hash[32]`. */
  readonly entry: Uint8Array;
  /** Its place in the batch. */
  readonly index: number;
  /** Leaf's sibling first. */
  readonly proof: readonly Hash[];
  /** A signed note. */
  readonly statement: string;
}

/** A promise as VoteService answers it: the fields of psephos.vote.v1.VotePromise. */
export interface PromiseFields {
  readonly entry: Uint8Array;
  readonly index: bigint;
  readonly proof: Uint8Array[];
  /** UTF-8. */
  readonly statement: Uint8Array;
}

/** What a promise stands for, once verified. */
export interface VerifiedPromise extends PromiseStatement {
  readonly entry: VoteEntry;
  /** Until when the entry has to be in the log: microseconds since 1970. */
  readonly dueAt: number;
}

/** The text to sign. */
export function formatStatement(statement: PromiseStatement): string {
  const { manifestHash, batchSize, batchRoot, issuedAt, delaySeconds } = statement;
  const lines = [
    STATEMENT_FORMAT,
    electionId(statement.electionId),
    toBase64(manifestHash),
    batchSize,
    toBase64(batchRoot),
    issuedAt,
    delaySeconds,
  ];
  return `${lines.join("\n")}\n`;
}

/** Reads a statement, **unverified**. It has one text and one signature only: it is written again and compared. */
export function parseStatement(note: string): PromiseStatement {
  const { text, signatures } = parseNote(note);
  const statement = parseText(text);
  const [signature, ...others] = signatures;
  if (!signature || others.length > 0) throw malformed("a promise has exactly one signature");
  if (`${formatStatement(statement)}\n${formatSignatureLine(signature)}` !== note) {
    throw malformed("a promise's statement is not in its canonical form");
  }
  return statement;
}

function parseText(text: string): PromiseStatement {
  const [format, election = "", manifest = "", size = "", root = "", issued = "", delay = "", end, ...rest] =
    text.split("\n");
  if (format !== STATEMENT_FORMAT) throw malformed(`a promise's statement begins with ${STATEMENT_FORMAT}`);
  if (end !== "" || rest.length > 0) throw malformed("a promise's statement is seven lines");
  const statement = {
    electionId: parseElection(election),
    manifestHash: parseHash("a promise's manifest hash", manifest),
    batchSize: parseCount("a promise's batch size", size),
    batchRoot: parseHash("a promise's batch root", root),
    issuedAt: parseCount("a promise's time", issued),
    delaySeconds: parseCount("a promise's delay", delay),
  };
  if (!Number.isSafeInteger(dueAt(statement)))
    throw malformed("a promise is due after 2^53 - 1 microseconds");
  return statement;
}

function parseElection(text: string): ElectionId {
  try {
    return electionId(text);
  } catch (error) {
    throw malformed("a promise's second line is not an election id", error);
  }
}

function dueAt({ issuedAt, delaySeconds }: PromiseStatement): number {
  return issuedAt + delaySeconds * MICROS;
}

export function formatPromise({ entry, index, proof, statement }: VotePromise): string {
  const lines = [FILE_FORMAT, `entry ${toBase64(entry)}`, `index ${index}`, ...proof.map(toBase64)];
  return `${lines.join("\n")}\n\n${statement}`;
}

/** The file to keep of an answer. It is not verified; throws a TlogError where it is no promise at all. */
export function promiseFile({ entry, index, proof, statement }: PromiseFields): string {
  const hashes = proof.map(toBase64).map((hash, number) => parseHash(`a promise's hash ${number + 1}`, hash));
  const file = formatPromise({ entry, index: Number(index), proof: hashes, statement: decode(statement) });
  parsePromise(file);
  return file;
}

/** Reads a promise, **unverified**. It has one text only: it is written again and compared. Throws a TlogError. */
export function parsePromise(file: string | Uint8Array): VotePromise {
  // UTF-8 is never shorter than the string, so this bounds the work below.
  if (file.length > MAX_PROMISE_BYTES) throw malformed(`a promise is longer than ${MAX_PROMISE_BYTES} bytes`);
  const text = decode(file);
  // Nothing before the statement is an empty line, so the first one ends the path.
  const split = text.indexOf("\n\n");
  if (split < 0) throw malformed("a promise has no blank line before its statement");
  const statement = text.slice(split + 2);
  const [format, entry = "", index = "", ...hashes] = text.slice(0, split).split("\n");
  if (format !== FILE_FORMAT) throw malformed(`a promise begins with the line ${FILE_FORMAT}`);
  if (!entry.startsWith("entry ")) throw malformed("a promise has no entry line");
  if (!index.startsWith("index ")) throw malformed("a promise has no index line");
  if (hashes.length > MAX_PROOF_HASHES) throw malformed(`a promise has more than ${MAX_PROOF_HASHES} hashes`);
  const promise = {
    entry: decodeBase64(entry.slice("entry ".length)),
    index: parseCount("a promise's index", index.slice("index ".length)),
    proof: hashes.map((hash, number) => parseHash(`a promise's hash ${number + 1}`, hash)),
    statement,
  };
  voteEntryOf(promise);
  parseStatement(statement);
  if (formatPromise(promise) !== text) throw malformed("a promise is not in its canonical form");
  return promise;
}

function decode(file: string | Uint8Array): string {
  try {
    return typeof file === "string" ? file : decodeUtf8(file);
  } catch (error) {
    throw malformed("a promise is not UTF-8", error);
  }
}

function decodeBase64(text: string): Uint8Array {
  try {
    return fromBase64(text);
  } catch (error) {
    throw malformed("a promise's entry is not in canonical base64", error);
  }
}

function voteEntryOf({ entry }: Pick<VotePromise, "entry">): VoteEntry {
  try {
    const decoded = decodeEntry(entry);
    if (decoded.type === "vote") return decoded;
  } catch (error) {
    throw malformed(`a promise's entry is not a vote's: ${messageOf(error)}`, error);
  }
  throw malformed("a promise's entry is not a vote's");
}

export interface VerifyPromiseOptions {
  readonly promise: VotePromise;
  /** Of the election that it should be of. */
  readonly manifest: Pick<Manifest, "electionId" | "shards" | "promises">;
  /** SHA-256 of its bytes. It is the caller's, since a page should not write a manifest again to hash it. */
  readonly manifestHash: Hash;
}

/** Throws a TlogError unless the election's key promised what its manifest says: that the vote's entry will be in the log. */
export function verifyPromise({ promise, manifest, manifestHash }: VerifyPromiseOptions): VerifiedPromise {
  const { electionId, shards, promises } = manifest;
  if (!promises) throw unverified(`the manifest of ${electionId} names no key of promises`);
  const entry = voteEntryOf(promise);
  const statement = parseStatement(promise.statement);
  if (statement.electionId !== electionId) {
    throw unverified(`the promise is of the election ${statement.electionId}, not ${electionId}`);
  }
  if (!equalBytes(statement.manifestHash, manifestHash)) {
    throw unverified("the promise is about an election with another manifest");
  }
  openNote(promise.statement, [NoteVerifier.parse(promises.key)]);
  // Voters were told one delay. Whoever holds the key could promise a longer one, and so nothing at all.
  if (statement.delaySeconds !== promises.delaySeconds) {
    throw unverified(
      `the promise is due after ${statement.delaySeconds} s, and the manifest says ${promises.delaySeconds} s`,
    );
  }
  if (entry.shard >= shards) throw unverified(`the promise is of the shard ${entry.shard}, of ${shards}`);
  const { batchSize: size, batchRoot: root } = statement;
  verifyInclusion({ leaf: leafHash(promise.entry), index: promise.index, size, proof: promise.proof, root });
  return { ...statement, entry, dueAt: dueAt(statement) };
}

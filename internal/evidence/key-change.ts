// A change of the log's key: an event document in which the old key and the new one name each other, and the public file
// that shows it with its place in the log. docs/spec.md, "Key change".
import { encodeEntry } from "../ballot/entry.ts";
import { FormatError } from "../ballot/format-error.ts";
import { decodeUtf8, utf8 } from "../core/bytes.ts";
import { messageOf } from "../core/errors.ts";
import type { ElectionId } from "../core/ids.ts";
import type { Hash } from "../core/sha256.ts";
import { openCheckpoint } from "../tlog/checkpoint.ts";
import { LogKeys } from "../tlog/log-keys.ts";
import { type NoteSigner, openNote, parseNote } from "../tlog/note.ts";
import { ALGORITHM_ED25519, NoteVerifier } from "../tlog/note-verifier.ts";
import { verifyInclusion } from "../tlog/proof.ts";
import { formatTlogProof, parseTlogProof } from "../tlog/tlog-proof.ts";
import { leafHash } from "../tlog/tree.ts";
import { eventEntry, parseEvent, signEvent } from "./event.ts";

/** More than any log will have: one a day for over two years. */
const MAX_KEY_CHANGES = 1_000;

/** `key-changes/0000000001`: the public file of a log's first change of key. */
export function keyChangePath(number: number): string {
  return `key-changes/${String(number).padStart(10, "0")}`;
}

/**
 * The document of a change. It is the same whenever it is made, so it has no time: the Publisher, which sees hashes in
 * the log and remembers nothing of what it asked for, finds it by its hash. Its place in the log says when.
 */
export function signKeyChange(electionId: ElectionId, from: NoteSigner, to: NoteSigner): string {
  const details = { from: from.verifierKey, to: to.verifierKey };
  return signEvent({ electionId, kind: "key-change", at: 0, details }, from, to);
}

/**
 * The keys of a log that has this document at an entry. An entry that repeats one of before changes nothing: a commit
 * that failed late may leave an event there twice. Throws a FormatError or a TlogError when it is no change that the
 * newest key of this log has signed.
 */
export function acceptKeyChange(keys: LogKeys, note: string, index: number): LogKeys {
  const { from, to } = openKeyChange(note, keys.newest.name);
  if (isMade(keys, from, to)) return keys;
  if (from.toString() !== keys.newest.toString()) {
    throw new FormatError(`key change: from ${from.label}, and the log's key is ${keys.newest.label}`);
  }
  if (keys.has(to)) throw new FormatError(`key change: back to ${to.label}, which the log has had before`);
  return keys.changed(index, to);
}

/** The two keys of a change of that log, both of which signed it. */
function openKeyChange(note: string, origin: string): { from: NoteVerifier; to: NoteVerifier } {
  const { electionId, kind, at, details } = parseEvent(note);
  if (kind !== "key-change") throw new FormatError(`key change: the event is a ${kind}`);
  const names = Object.keys(details).join();
  const { from, to } = details;
  if (names !== "from,to" || typeof from !== "string" || typeof to !== "string" || at !== 0) {
    throw new FormatError("key change: not at 0, from a key and to a key");
  }
  const keys = { from: NoteVerifier.parse(from), to: NoteVerifier.parse(to) };
  for (const { name, algorithm, label } of [keys.from, keys.to]) {
    if (name !== origin || !name.endsWith(`/${electionId}`)) {
      throw new FormatError(`key change: ${label} is not a key of ${origin}`);
    }
    if (algorithm !== ALGORITHM_ED25519) throw new FormatError(`key change: ${label} is not a log's`);
  }
  // Each by itself, because openNote takes a note that any of its keys signed.
  openNote(note, [keys.from]);
  openNote(note, [keys.to]);
  // A further line would be another document, and another hash, of the same change.
  if (parseNote(note).signatures.length !== 2) throw new FormatError("key change: not of two signatures");
  return keys;
}

/** Whether these two follow each other in the log. */
function isMade({ all }: LogKeys, from: NoteVerifier, to: NoteVerifier): boolean {
  return all.some((key, i) => key.toString() === from.toString() && all[i + 1]?.toString() === to.toString());
}

/** A change's public file: the document, its entry's place, and a checkpoint of the new key that covers it. */
export function keyChangeFile(file: {
  readonly note: string;
  readonly index: number;
  readonly proof: readonly Hash[];
  readonly checkpoint: string;
}): string {
  return formatTlogProof({ ...file, extra: utf8(file.note) });
}

/**
 * The keys of a log after the change in this public file. Nothing but the keys before it is trusted: the newest of them
 * signed the change, and a checkpoint of the one that follows shows that the log has it. Throws a FormatError or a
 * TlogError.
 */
export function followKeyChange(keys: LogKeys, file: Uint8Array): LogKeys {
  const { extra, index, proof, checkpoint: note } = parseTlogProof(decodeUtf8(file));
  if (!extra) throw new FormatError("key change: the file has no document");
  const document = decodeUtf8(extra);
  const next = acceptKeyChange(keys, document, index);
  if (next === keys) throw new FormatError("key change: the file repeats an earlier change");
  const { size, root } = openCheckpoint({ note, log: next.newest }).checkpoint;
  verifyInclusion({ leaf: leafHash(encodeEntry(eventEntry(document))), index, size, proof, root });
  return next;
}

/**
 * The keys of a log by the public files of its changes, which are numbered from 1 on. A file that is withheld takes all
 * after it away, and with them the keys that the newest checkpoints are signed with: nothing verifies wrongly.
 */
export async function readKeyChanges(
  first: NoteVerifier,
  read: (path: string) => Promise<Uint8Array | undefined>,
): Promise<LogKeys> {
  let keys = new LogKeys(first);
  // Whoever has the log's key could otherwise show changes without end, made as they are asked for.
  while (keys.changes.length < MAX_KEY_CHANGES) {
    const path = keyChangePath(keys.changes.length + 1);
    const file = await read(path);
    if (!file) return keys;
    try {
      keys = followKeyChange(keys, file);
    } catch (error) {
      throw new FormatError(`${path}: ${messageOf(error)}`, { cause: error });
    }
  }
  throw new FormatError(`key-changes: more than ${MAX_KEY_CHANGES - 1} changes of key`);
}

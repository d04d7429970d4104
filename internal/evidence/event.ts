// Event documents: what the evidence has behind an event entry. docs/spec.md, "Event document". A signed note
// (c2sp.org/signed-note) of AuditService's own key; of a change of the log's key, of the two log keys (key-change.ts):
//
//   psephos/event/v1
//   vermont-2020
//   reconciliation
//   1604534400000000
//   {"rows":370968,"sealed":370968}
//
//   — psephos.local/audit-service qRRcKh4…=
//
// Election, kind, microseconds since 1970, and what happened as canonical JSON. It names no voter and no choice.
import serialize from "canonicalize";
import type { EventEntry } from "../ballot/entry.ts";
import { FormatError } from "../ballot/format-error.ts";
import { utf8 } from "../core/bytes.ts";
import { messageOf } from "../core/errors.ts";
import { type ElectionId, electionId } from "../core/ids.ts";
import { sha256 } from "../core/sha256.ts";
import { formatSignatureLine, type NoteSigner, openNote, parseNote, signNote } from "../tlog/note.ts";
import type { NoteVerifier } from "../tlog/note-verifier.ts";

const EVENT_FORMAT = "psephos/event/v1";
/** Of the whole document. A segment of 1,000 votes has room for the events of a commit beside them. */
export const MAX_EVENT_BYTES = 16 * 1024;

/** What an event may be about. */
export const EVENT_KINDS = ["worm-probe", "reconciliation", "key-change"] as const;
export type EventKind = (typeof EVENT_KINDS)[number];

export type Json = string | number | boolean | null | readonly Json[] | JsonObject;
export type JsonObject = { readonly [key: string]: Json };

/** Something that happened to the storage of an election: what a probe or a comparison found. */
export interface LogEvent {
  readonly electionId: ElectionId;
  readonly kind: EventKind;
  /** Microseconds since 1970. */
  readonly at: number;
  /** Anybody may read it: never a voter or a choice. */
  readonly details: JsonObject;
}

/** The name of the key that signs a deployment's events, by the origin of one of its logs: `<log prefix>/audit-service`. */
export function eventKeyName(logOrigin: string): string {
  return `${logOrigin.slice(0, logOrigin.lastIndexOf("/"))}/audit-service`;
}

/** The event document. Throws a FormatError when the event has no form, or one of more than 16 KiB. */
export function signEvent(event: LogEvent, ...signers: NoteSigner[]): string {
  const note = orFormatError(() => signNote(formatText(event), signers));
  // What we write we must be able to read.
  parseEvent(note);
  return note;
}

/** Reads an event document, **unverified**. An event has one text only. Throws a FormatError. */
export function parseEvent(note: string): LogEvent {
  return orFormatError(() => {
    if (utf8(note).length > MAX_EVENT_BYTES) throw new RangeError(`larger than ${MAX_EVENT_BYTES} bytes`);
    const { text, signatures } = parseNote(note);
    const event = parseText(text);
    const written = `${formatText(event)}\n${signatures.map(formatSignatureLine).join("")}`;
    if (written !== note) throw new RangeError("not in its one written form");
    return event;
  });
}

/** Throws a TlogError unless the key signed the event document. */
export function verifyEvent(note: string, key: NoteVerifier): void {
  openNote(note, [key]);
}

/** What goes into the public log for an event document. */
export function eventEntry(note: string): EventEntry {
  return { type: "event", eventHash: sha256(utf8(note)) };
}

function parseText(text: string): LogEvent {
  const [format, election = "", kind = "", at = "", details = "", end, ...rest] = text.split("\n");
  if (format !== EVENT_FORMAT) throw new RangeError(`the first line is not ${EVENT_FORMAT}`);
  if (end !== "" || rest.length > 0) throw new RangeError("not five lines");
  if (!isKind(kind)) throw new RangeError("of an unknown kind");
  if (!/^\d{1,16}$/.test(at)) throw new RangeError("its time is not a decimal number");
  return { electionId: electionId(election), kind, at: Number(at), details: parseDetails(details) };
}

function formatText({ electionId: election, kind, at, details }: LogEvent): string {
  if (!Number.isSafeInteger(at) || at < 0) throw new RangeError("its time is above 2^53 - 1");
  // RFC 8785. It escapes every control character, so that it is one line.
  return `${EVENT_FORMAT}\n${election}\n${kind}\n${at}\n${serialize(details)}\n`;
}

function parseDetails(line: string): JsonObject {
  const details: unknown = JSON.parse(line);
  if (typeof details !== "object" || details === null || Array.isArray(details)) {
    throw new RangeError("its details are not a JSON object");
  }
  // JSON.parse makes nothing else of an object.
  return details as JsonObject;
}

function isKind(kind: string): kind is EventKind {
  return EVENT_KINDS.some((known) => known === kind);
}

function orFormatError<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw new FormatError(`event: ${messageOf(error)}`, { cause: error });
  }
}

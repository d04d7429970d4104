// Reads what stands on the command line. commander reports an InvalidArgumentError with the option it came from.
import { InvalidArgumentError } from "commander";
import type { Choice, Manifest } from "../ballot/manifest.ts";
import { type Address, address } from "../config/fields.ts";
import { messageOf } from "../core/errors.ts";
import { NoteVerifier } from "../tlog/note-verifier.ts";

/** A whole number from 1. */
export function parseCount(text: string): number {
  const value = Number(text);
  if (!/^[1-9]\d*$/.test(text) || !Number.isSafeInteger(value)) {
    throw new InvalidArgumentError("it is a whole number from 1.");
  }
  return value;
}

/** Where to listen. */
export function parseAddress(text: string): Address {
  const parsed = address.safeParse(text);
  if (parsed.success) return parsed.data;
  throw new InvalidArgumentError("write it like 127.0.0.1:7380 or [::1]:7380.");
}

/** Days that something is kept, a hundred years at most. */
export function parseDays(text: string): number {
  const days = parseCount(text);
  if (days > 36_500) throw new InvalidArgumentError("it is a number of days up to 36500.");
  return days;
}

/** How long a lock of the probe lasts: all of a check has to happen within it, and a COMPLIANCE lock ends no sooner. */
export function parseLockSeconds(text: string): number {
  const seconds = parseCount(text);
  if (seconds < 10 || seconds > 3_600)
    throw new InvalidArgumentError("it is a number of seconds from 10 to 3600.");
  return seconds;
}

/** Seconds, in milliseconds. */
export function parseSeconds(text: string): number {
  if (!/^\d{1,6}$/.test(text)) throw new InvalidArgumentError("it is a whole number of seconds.");
  return Number(text) * 1000;
}

/** A moment in microseconds since 1970. */
export function parseTime(text: string): number {
  const ms = Date.parse(text);
  // Date.parse takes much more than ISO 8601, and reads a date without a zone as it pleases.
  if (Number.isNaN(ms) || !/^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)$/.test(text)) {
    throw new InvalidArgumentError("write it like 2026-11-03T08:00:00Z or 2026-11-03T08:00:00-05:00.");
  }
  // A Date has milliseconds, the log microseconds.
  const micros = Number(/\.\d{3}(\d{1,3})/.exec(text)?.[1]?.padEnd(3, "0") ?? 0);
  return ms * 1000 + micros;
}

/** `2/3` */
export function parseTrustees(text: string): Manifest["trustees"] {
  const [, threshold, shares] = /^(\d+)\/(\d+)$/.exec(text) ?? [];
  if (!threshold || !shares) throw new InvalidArgumentError("write it like 2/3.");
  return { threshold: Number(threshold), shares: Number(shares) };
}

/** Adds `id=name` to the choices before it. */
export function collectChoice(text: string, choices: readonly Choice[]): Choice[] {
  const [id, ...name] = text.split("=");
  if (!id || name.length === 0) throw new InvalidArgumentError("write it like ada=Ada Lovelace.");
  return [...choices, { id, name: name.join("=") }];
}

export function parseUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || !/^https?:$/.test(url.protocol)) {
    throw new InvalidArgumentError("write it like https://host:port.");
  }
  // fetch() takes none, and says so with the whole URL, which would go to logs and to whoever is told of it.
  if (url.username || url.password) throw new InvalidArgumentError("it must have no user name or password.");
  return text;
}

/** A verifier key, as it was given. */
export function parseLogKey(text: string): string {
  try {
    return NoteVerifier.parse(text).toString();
  } catch (error) {
    throw new InvalidArgumentError(`${messageOf(error)}.`);
  }
}

import { type DestinationStream, destination, pino, stdTimeFunctions } from "pino";
import { errorFields } from "./error-fields.ts";

/** What a line says besides its message. Never a voter id, a request id or the candidate of a vote. */
export type LogFields = Readonly<Record<string, unknown>>;

/**
 * Structured logging as the services see it. An error goes under any key, `error` by custom, and is written with its
 * chain of causes: `logger.warn({ error, election }, "the publisher did not answer")`.
 */
export interface Logger {
  debug(fields: LogFields, message: string): void;
  info(fields: LogFields, message: string): void;
  warn(fields: LogFields, message: string): void;
  error(fields: LogFields, message: string): void;
  /** For what stops an election or the process. Pages a human. */
  fatal(fields: LogFields, message: string): void;
  /** A logger that adds `fields` to each of its lines. */
  child(fields: LogFields): Logger;
}

export const LOG_LEVELS = ["debug", "info", "warn", "error", "fatal", "silent"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export interface LoggerOptions {
  /** The name of the process, such as `audit-service`. */
  readonly service: string;
  readonly level: LogLevel;
  /** Where lines go, for tests. Standard error unless given. */
  readonly destination?: DestinationStream;
}

/**
 * A logger that writes one JSON object a line to standard error: standard output is for a command's data.
 *
 * Writes are synchronous: the last lines before a crash are the ones that matter, and nothing here logs per vote.
 */
export function createLogger(options: LoggerOptions): Logger {
  return pino(
    {
      level: options.level,
      base: { service: options.service, pid: process.pid },
      messageKey: "message",
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }), log: expandErrors },
      // pino writes every property of what it finds under `err`; expandErrors has chosen already.
      serializers: { err: (value: unknown) => value },
    },
    options.destination ?? destination({ dest: 2, sync: true }),
  );
}

function expandErrors(fields: Record<string, unknown>): Record<string, unknown> {
  const expanded: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(fields)) {
    expanded[key] = value instanceof Error ? errorFields(value) : value;
  }
  return expanded;
}

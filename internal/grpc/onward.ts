import type { HandlerContext } from "@connectrpc/connect";
import { ServiceError } from "../core/errors.ts";

/** What an answer needs on its way back to the caller. */
const RESERVE_MS = 20;

export interface OnwardOptions {
  signal: AbortSignal;
  timeoutMs?: number;
}

/**
 * Options for a call made to answer another one: it ends when that one ends, and a little before that one's deadline,
 * so that there is time to answer with what became of it. Throws DEADLINE_EXCEEDED when there is no time left.
 * `atMostMs` is a tighter limit of its own.
 */
export function onward(context: HandlerContext, atMostMs = Number.POSITIVE_INFINITY): OnwardOptions {
  const left = context.timeoutMs();
  const timeoutMs = Math.min(left === undefined ? Number.POSITIVE_INFINITY : left - RESERVE_MS, atMostMs);
  if (timeoutMs <= 0) throw new ServiceError("deadline-exceeded", "not enough time is left");
  return timeoutMs === Number.POSITIVE_INFINITY
    ? { signal: context.signal }
    : { signal: context.signal, timeoutMs };
}

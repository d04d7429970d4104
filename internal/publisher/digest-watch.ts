import { setTimeout as delay } from "node:timers/promises";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type { DigestService } from "../../gen/ts/psephos/digest/v1/digest_pb.js";
import { ServiceError } from "../core/errors.ts";
import type { Feed } from "../core/feed.ts";
import type { ElectionId } from "../core/ids.ts";
import type { SignedHead } from "./signed-head.ts";

export interface WatchOptions {
  /** The published heads of an election; undefined for one that has none. */
  readonly heads: (election: ElectionId) => Feed<SignedHead | undefined> | undefined;
  readonly parseElection: (text: string) => ElectionId;
  /** Counts a stream until what it returns is called, or throws RESOURCE_EXHAUSTED. */
  readonly open: (context: HandlerContext) => () => void;
  readonly times?: WatchTimes;
}

export interface WatchTimes {
  /** How long nothing is sent at most: less than what idle connections have. */
  readonly heartbeatMs: number;
  /** How long a stream lasts at most. */
  readonly lastsMs: number;
}

const TIMES: WatchTimes = { heartbeatMs: 10_000, lastsMs: 60 * 60 * 1000 };

/**
 * Streams the newest checkpoint. It holds nothing for anybody: a reader who takes its time gets what is newest by then,
 * and one who does not read at all is hung up on by the server, like in every response.
 */
export function digestWatch(options: WatchOptions): ServiceImpl<typeof DigestService>["watch"] {
  const { heads, parseElection, open, times = TIMES } = options;
  return async function* (request, context) {
    const election = parseElection(request.electionId);
    const feed = heads(election);
    if (!feed?.current) {
      throw new ServiceError("not-found", `${election} has no published checkpoint`, {
        reason: "NOT_PUBLISHED",
      });
    }
    const release = open(context);
    const over = AbortSignal.timeout(times.lastsMs);
    const signal = AbortSignal.any([context.signal, over]);
    const changes = feed.watch(signal);
    try {
      let next = changes.next();
      let sent: SignedHead | undefined;
      while (!signal.aborted) {
        const result = await within(times.heartbeatMs, next);
        if (result?.done) break;
        if (result) next = changes.next();
        // It was sent already, in place of one before it that the reader was too slow for.
        if (result && feed.current === sent) continue;
        sent = feed.current;
        if (sent && !signal.aborted) yield { note: sent.note };
      }
      if (over.aborted && !context.signal.aborted) throw watchEnded();
    } finally {
      release();
      // It waits for the next head, which may never come. That nobody waits for it shows when the signal aborts.
      void changes.return();
    }
  };
}

/** What a promise resolves to, or undefined when that takes longer. */
async function within<T>(ms: number, promise: Promise<T>): Promise<T | undefined> {
  const timer = new AbortController();
  try {
    return await Promise.race([promise, delay(ms, undefined, { signal: timer.signal })]);
  } finally {
    timer.abort();
  }
}

function watchEnded(): ServiceError {
  return new ServiceError("unavailable", "a watch has its time: begin another", {
    reason: "WATCH_ENDED",
    retryDelayMs: 1,
  });
}

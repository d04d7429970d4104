import { messageOf } from "../core/errors.ts";
import { readAtMost } from "../core/read-body.ts";

/** Reads what is public, by path; undefined where there is nothing (404). */
export type PublicSource = (path: string) => Promise<Uint8Array | undefined>;

/** Something at the other end that is neither the object nor "there is none". */
export class SourceError extends Error {
  override readonly name: string = "SourceError";
}

/** The other end has failed so often that it is not asked any more. */
export class SourceGoneError extends SourceError {
  override readonly name = "SourceGoneError";
}

/** The other end asks for patience. */
class RetryLaterError extends Error {
  override readonly name = "RetryLaterError";
  /** What `Retry-After` asks for, where it does so in seconds, up to what one is ready to wait. */
  readonly delayMs: number;

  constructor({ status, headers }: Response) {
    super(`HTTP status ${status}`);
    const seconds = Number(/^[0-9]{1,6}$/.exec(headers.get("retry-after") ?? "")?.[0] ?? 0);
    this.delayMs = Math.min(seconds * 1000, MAX_PATIENCE_MS);
  }
}

export interface HttpSourceLimits {
  /** For one attempt, from the request to the last byte. */
  readonly timeoutMs: number;
  /** How often an object is asked for before it is given up. */
  readonly attempts: number;
  /** How many objects are given up before all are. */
  readonly failures: number;
}

const LIMITS: HttpSourceLimits = { timeoutMs: 15_000, attempts: 4, failures: 8 };
const MAX_PATIENCE_MS = 10_000;
/** The largest public object is an entry bundle of 256 entries of 65,535 bytes. */
const MAX_BYTES = 17 * 1024 * 1024;

/**
 * Reads an election's public log over HTTP from `<base>/<election>/`. A server that stalls, fails, or sends without
 * end costs a time limit and a message, no more.
 */
export function httpSource(
  base: string,
  election: string,
  limits: Partial<HttpSourceLimits> = {},
): PublicSource {
  const { timeoutMs, attempts, failures } = { ...LIMITS, ...limits };
  const root = new URL(`${base.replace(/\/+$/, "")}/${election}/`);
  let failed = 0;
  return async (path) => {
    const url = new URL(path, root);
    for (let attempt = 1; ; attempt++) {
      if (failed >= failures) {
        throw new SourceGoneError(
          `${root.origin} is not asked any more: ${failed} objects could not be read`,
        );
      }
      try {
        return await get(url, timeoutMs);
      } catch (error) {
        if (error instanceof SourceError) throw error;
        if (attempt === attempts) {
          failed++;
          throw new SourceError(`${url}: ${causeOf(error)}`, { cause: error });
        }
        const asked = error instanceof RetryLaterError ? error.delayMs : 0;
        const delayMs = Math.max(asked, 100 * 2 ** attempt * Math.random());
        await new Promise((resolve) => setTimeout(resolve, delayMs));
      }
    }
  };
}

/** Throws a SourceError for an answer that would be the same again; anything else it throws is worth another attempt. */
async function get(url: URL, timeoutMs: number): Promise<Uint8Array | undefined> {
  const response = await fetch(url, { signal: AbortSignal.timeout(timeoutMs), redirect: "manual" });
  const { status } = response;
  if (status !== 200) {
    await response.body?.cancel();
    if (status === 404) return undefined;
    if (status >= 500 || status === 429) throw new RetryLaterError(response);
    throw new SourceError(`${url}: HTTP status ${status}`);
  }
  const bytes = await readAtMost(response.body, MAX_BYTES);
  if (!bytes) throw new SourceError(`${url}: more than ${MAX_BYTES} bytes`);
  return bytes;
}

/** fetch() wraps what happened: "fetch failed", caused by "connect ECONNREFUSED …". */
function causeOf(error: unknown): string {
  return error instanceof Error && error.cause ? messageOf(error.cause) : messageOf(error);
}

import { messageOf } from "../core/errors.ts";

/** Reads what is public, by path; undefined where there is nothing (404). */
export type PublicSource = (path: string) => Promise<Uint8Array | undefined>;

const TIMEOUT_MS = 15_000;
const ATTEMPTS = 4;
/** The largest public object is an entry bundle of 256 entries of 65,535 bytes. */
const MAX_BYTES = 17 * 1024 * 1024;

/** Something at the other end that is neither the object nor "there is none". */
export class SourceError extends Error {
  override readonly name = "SourceError";
}

/**
 * Reads an election's public log over HTTP from `<base>/<election>/`. A server that stalls, or sends without end, costs
 * a time limit and a message, no more.
 */
export function httpSource(base: string, election: string): PublicSource {
  const root = new URL(`${base.replace(/\/+$/, "")}/${election}/`);
  return async (path) => {
    const url = new URL(path, root);
    for (let attempt = 1; ; attempt++) {
      try {
        return await get(url);
      } catch (error) {
        if (error instanceof SourceError) throw error;
        if (attempt === ATTEMPTS) throw new SourceError(`${url}: ${causeOf(error)}`, { cause: error });
        await new Promise((resolve) => setTimeout(resolve, 100 * 2 ** attempt * Math.random()));
      }
    }
  };
}

async function get(url: URL): Promise<Uint8Array | undefined> {
  const response = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS), redirect: "error" });
  if (response.status === 404) {
    await response.body?.cancel();
    return undefined;
  }
  if (response.status >= 500) throw new Error(`HTTP status ${response.status}`);
  if (response.status !== 200) throw new SourceError(`${url}: HTTP status ${response.status}`);
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of response.body ?? []) {
    length += part.length;
    if (length > MAX_BYTES) throw new SourceError(`${url}: more than ${MAX_BYTES} bytes`);
    parts.push(part);
  }
  return new Uint8Array(Buffer.concat(parts));
}

/** fetch() wraps what happened: "fetch failed", caused by "connect ECONNREFUSED …". */
function causeOf(error: unknown): string {
  return error instanceof Error && error.cause ? messageOf(error.cause) : messageOf(error);
}

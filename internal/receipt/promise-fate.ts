// Whether a promise was kept. docs/spec.md, "Promise".
import { equalBytes } from "../core/bytes.ts";
import type { OpenedCheckpoint } from "../tlog/checkpoint.ts";
import { unverified } from "../tlog/errors.ts";
import type { TileFetch } from "../tlog/tile-fetch.ts";
import { TileReader } from "../tlog/tile-reader.ts";
import { type FoundEntry, findEntry, readEntry, scanForEntry } from "./find-entry.ts";
import type { VerifiedPromise } from "./promise.ts";

/**
 * Why a promise is known to be broken.
 * - `other-record`: the log has another record in the vote's place. A place is taken once.
 * - `closed`: the log has its closing entry, after which nothing comes.
 * - `witnessed`: it was due when a witness saw the log without it.
 * - `own-clock`: it was due by the clock of whoever asks, which is no proof for anybody else.
 */
export type Breach =
  | { readonly kind: "other-record"; readonly found: FoundEntry }
  | { readonly kind: "closed" }
  | { readonly kind: "witnessed"; readonly witness: string; readonly atSeconds: number }
  | { readonly kind: "own-clock" };

export type PromiseFate =
  | { readonly fate: "kept"; readonly index: number }
  | { readonly fate: "not-due" }
  | { readonly fate: "broken"; readonly breach: Breach };

export interface JudgeOptions {
  readonly promise: VerifiedPromise;
  /** Of the election's log. The newer, the better. */
  readonly opened: OpenedCheckpoint;
  /** Reads that log's tiles. */
  readonly fetch: TileFetch;
  /** Microseconds since 1970, by whoever asks. */
  readonly nowMicros: number;
  /** Told of the entries read when all of them have to be. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** Looks for the promised entry in a signed log. Throws a TlogError where the log's own tiles do not verify. */
export async function judgePromise(options: JudgeOptions): Promise<PromiseFate> {
  const { promise, opened, fetch, onProgress } = options;
  const { checkpoint } = opened;
  const reader = new TileReader({ fetch, ...checkpoint });
  if (checkpoint.size > 0) await requireManifest(reader, promise);
  const found = await findEntry(reader, promise.entry);
  if (found) return fateOf(promise, found);

  const due = await breachOf(options, reader);
  if (!due) return { fate: "not-due" };
  const scanned = await scanForEntry({ fetch, checkpoint, place: promise.entry, onProgress });
  return scanned ? fateOf(promise, scanned) : { fate: "broken", breach: due };
}

/** A log of another manifest is another election's, whatever it is called. */
async function requireManifest(reader: TileReader, { manifestHash }: VerifiedPromise): Promise<void> {
  const first = readEntry(await reader.entry(0));
  if (first?.type === "manifest" && equalBytes(first.manifestHash, manifestHash)) return;
  throw unverified("the log begins with another manifest than the promise is about");
}

function fateOf({ entry }: VerifiedPromise, found: FoundEntry): PromiseFate {
  if (equalBytes(entry.recordHash, found.entry.recordHash)) return { fate: "kept", index: found.index };
  return { fate: "broken", breach: { kind: "other-record", found } };
}

/** What shows that an entry which is not in the log should be; undefined while it may still come. */
async function breachOf(
  { promise, opened, nowMicros }: JudgeOptions,
  reader: TileReader,
): Promise<Breach | undefined> {
  const { size } = reader;
  if (size > 0 && readEntry(await reader.entry(size - 1))?.type === "closing") return { kind: "closed" };
  for (const { verifier, timestamp: atSeconds = 0 } of opened.cosignatures) {
    // Its clock says whole seconds: this one begins after the promise was due.
    if (atSeconds * 1_000_000 > promise.dueAt) {
      return { kind: "witnessed", witness: verifier.name, atSeconds };
    }
  }
  return nowMicros > promise.dueAt ? { kind: "own-clock" } : undefined;
}

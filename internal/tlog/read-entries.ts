import { TlogError } from "./errors.ts";
import { TILE_WIDTH, tileWidthAt } from "./tile.ts";
import { fetchEntryBundle, type TileFetch } from "./tile-fetch.ts";

/** Consecutive entries of a log, at most 256. */
export interface EntryRun {
  /** Index of the first. */
  readonly first: number;
  /** Views into what was fetched: copy what outlives it and is changed. */
  readonly entries: readonly Uint8Array[];
}

/**
 * Reads the entries `from` to `size − 1` in order, a bundle at a time, **unverified**: feed them to a GrowingTree and
 * compare its root with a signed one. That costs one hash an entry less than verifying each against the tiles.
 * `ahead` bundles are fetched while one is worked on.
 */
export async function* readEntries(
  fetch: TileFetch,
  from: number,
  size: number,
  { ahead = 4 }: { ahead?: number } = {},
): AsyncGenerator<EntryRun> {
  if (!Number.isSafeInteger(from) || !Number.isSafeInteger(size) || from < 0 || from > size) {
    throw new TlogError("out-of-range", `a log has no entries from ${from} to ${size}`);
  }
  const bundles = Math.ceil(size / TILE_WIDTH);
  const pending: Promise<Uint8Array[]>[] = [];
  let next = Math.floor(from / TILE_WIDTH);
  for (let index = next; index < bundles; index++) {
    while (next < bundles && next <= index + ahead) {
      const bundle = fetchEntryBundle(fetch, next, tileWidthAt(size, 0, next));
      // A caller may stop before it comes to this one, whose failure is then nobody's.
      bundle.catch(() => {});
      pending.push(bundle);
      next++;
    }
    const entries = (await pending.shift()) ?? [];
    const skip = Math.max(0, from - index * TILE_WIDTH);
    if (skip < entries.length) yield { first: index * TILE_WIDTH + skip, entries: entries.slice(skip) };
  }
}

import { HASH_SIZE } from "../core/sha256.ts";
import { badTile, TlogError } from "./errors.ts";
import { decodeEntryBundle, TILE_WIDTH, type TileLevel, tilePath } from "./tile.ts";

/**
 * Reads an object of a log by its path, such as `tile/0/000`. `undefined` means that there is none (404). The bytes are
 * the reader's from then on: nobody changes them.
 */
export type TileFetch = (path: string) => Promise<Uint8Array | undefined>;

/** The first `width` hashes of a tile, of the right length and otherwise unchecked. */
export async function fetchTile(
  fetch: TileFetch,
  level: number,
  index: number,
  width: number,
): Promise<Uint8Array> {
  const object = await fetchObject(fetch, level, index, width);
  if (object.bytes.length !== object.width * HASH_SIZE) {
    throw badTile(
      "malformed",
      object.path,
      ` is ${object.bytes.length} bytes, not ${object.width * HASH_SIZE}`,
    );
  }
  return object.bytes.subarray(0, width * HASH_SIZE);
}

/** The first `width` entries of a bundle, well-formed and otherwise unchecked: views into what was fetched. */
export async function fetchEntryBundle(
  fetch: TileFetch,
  index: number,
  width: number,
): Promise<Uint8Array[]> {
  const object = await fetchObject(fetch, "entries", index, width);
  let entries: Uint8Array[];
  try {
    entries = decodeEntryBundle(object.bytes);
  } catch (error) {
    throw error instanceof TlogError ? badTile("malformed", object.path, `: ${error.message}`, error) : error;
  }
  if (entries.length !== object.width) {
    throw badTile("malformed", object.path, ` holds ${entries.length} entries, not ${object.width}`);
  }
  return entries.slice(0, width);
}

/**
 * A partial object may be gone once the full one exists, which begins with the same bytes (tlog-tiles, "Partial
 * Tiles"). So whoever reads an old size asks for both.
 */
async function fetchObject(
  fetch: TileFetch,
  level: TileLevel,
  index: number,
  width: number,
): Promise<{ path: string; width: number; bytes: Uint8Array }> {
  for (const served of width === TILE_WIDTH ? [width] : [width, TILE_WIDTH]) {
    const path = tilePath(level, index, served);
    const bytes = await fetch(path);
    if (bytes) return { path, width: served, bytes };
  }
  throw badTile("missing", tilePath(level, index, width), " is missing");
}

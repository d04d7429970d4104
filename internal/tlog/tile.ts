// Names and bytes of the objects of a tiled log (c2sp.org/tlog-tiles).
import { concat, u16 } from "../core/bytes.ts";
import { malformed, TlogError } from "./errors.ts";
import { MAX_ENTRY_SIZE } from "./tree.ts";

/** Hashes in a full tile, and entries in a full bundle. */
export const TILE_WIDTH = 256;
/** A tile stands for a subtree of this height: 256 = 2^8. */
export const TILE_HEIGHT = 8;

const MAX_LEVEL = 63;
// tile/entries/x009/x007/x199/x254/x740/991.p/255 is the longest name of an index that is a safe integer.
const MAX_PATH_LENGTH = 47;

/** A level of hashes, from 0 (leaf hashes), or the entries themselves. */
export type TileLevel = number | "entries";

/** An object to be served under `<prefix>/<path>`. */
export interface Tile {
  /** Such as `tile/0/x001/234.p/7` or `tile/entries/000`. */
  readonly path: string;
  readonly bytes: Uint8Array;
}

export interface TileCoordinates {
  readonly level: TileLevel;
  /** Place in its level, from 0. */
  readonly index: number;
  /** 1 to 256; below 256 the tile is partial. */
  readonly width: number;
}

/** `tile/<L>/<N>[.p/<W>]`: the index in groups of three digits, all but the last with an x before them. */
export function tilePath(level: TileLevel, index: number, width: number = TILE_WIDTH): string {
  if (level !== "entries" && !isIntegerWithin(level, 0, MAX_LEVEL)) {
    throw new TlogError("out-of-range", `a tile's level is 0 to ${MAX_LEVEL}`);
  }
  if (!isIntegerWithin(index, 0, Number.MAX_SAFE_INTEGER)) {
    throw new TlogError("out-of-range", "a tile's index is an integer from 0 to 2^53 - 1");
  }
  if (!isIntegerWithin(width, 1, TILE_WIDTH)) {
    throw new TlogError("out-of-range", `a tile's width is 1 to ${TILE_WIDTH}`);
  }
  let name = threeDigits(index);
  for (let rest = Math.floor(index / 1000); rest > 0; rest = Math.floor(rest / 1000)) {
    name = `x${threeDigits(rest)}/${name}`;
  }
  return `tile/${level}/${name}${width < TILE_WIDTH ? `.p/${width}` : ""}`;
}

/** What a path names. There is one path for each object: zeroes in front, or `.p/256`, are refused. */
export function parseTilePath(path: string): TileCoordinates {
  const match =
    path.length <= MAX_PATH_LENGTH
      ? /^tile\/(entries|[0-9]{1,2})\/((?:x[0-9]{3}\/)*[0-9]{3})(?:\.p\/([0-9]{1,3}))?$/.exec(path)
      : null;
  if (match) {
    const level = match[1] === "entries" ? match[1] : Number(match[1]);
    const index = Number(match[2]?.replace(/[x/]/g, ""));
    const width = match[3] === undefined ? TILE_WIDTH : Number(match[3]);
    const isTile = (level === "entries" || level <= MAX_LEVEL) && Number.isSafeInteger(index) && width >= 1;
    if (isTile && width <= TILE_WIDTH && tilePath(level, index, width) === path) {
      return { level, index, width };
    }
  }
  throw malformed(`not a tile path: ${JSON.stringify(path.slice(0, MAX_PATH_LENGTH))}`);
}

/** How many hashes a tree of that size has at a level, complete ones only: floor(size / 256^level). */
export function hashesAtLevel(size: number, level: number): number {
  return Math.floor(size / TILE_WIDTH ** level);
}

/** How many hashes of a tile a tree of that size has, 0 to 256. */
export function tileWidthAt(size: number, level: number, index: number): number {
  return Math.min(TILE_WIDTH, Math.max(0, hashesAtLevel(size, level) - index * TILE_WIDTH));
}

/** The partial tiles of a tree, from level 0 up, without the empty ones. They determine its root. */
export function rightEdge(size: number): { level: number; index: number; width: number }[] {
  const edge = [];
  for (let level = 0; hashesAtLevel(size, level) > 0; level++) {
    const index = Math.floor(hashesAtLevel(size, level) / TILE_WIDTH);
    const width = tileWidthAt(size, level, index);
    if (width > 0) edge.push({ level, index, width });
  }
  return edge;
}

/** 1 to 256 entries, each as `u16 length ‖ bytes`. */
export function encodeEntryBundle(entries: readonly Uint8Array[]): Uint8Array {
  if (!isIntegerWithin(entries.length, 1, TILE_WIDTH)) {
    throw new TlogError(
      "out-of-range",
      `an entry bundle holds 1 to ${TILE_WIDTH} entries, got ${entries.length}`,
    );
  }
  const parts = entries.flatMap((entry) => {
    if (entry.length > MAX_ENTRY_SIZE) throw malformed(`an entry is at most ${MAX_ENTRY_SIZE} bytes`);
    return [u16(entry.length), entry];
  });
  return concat(...parts);
}

/** The entries of a bundle, as views into it. */
export function decodeEntryBundle(bytes: Uint8Array): Uint8Array[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const entries: Uint8Array[] = [];
  let offset = 0;
  while (offset < bytes.length) {
    if (entries.length === TILE_WIDTH) throw malformed(`an entry bundle holds at most ${TILE_WIDTH} entries`);
    if (offset + 2 > bytes.length) throw malformed("an entry bundle ends within an entry's length");
    const start = offset + 2;
    const end = start + view.getUint16(offset);
    if (end > bytes.length) throw malformed(`an entry bundle ends within its entry ${entries.length}`);
    entries.push(bytes.subarray(start, end));
    offset = end;
  }
  if (entries.length === 0) throw malformed("an entry bundle is empty");
  return entries;
}

/** The last three decimal digits. */
function threeDigits(value: number): string {
  return String(value % 1000).padStart(3, "0");
}

function isIntegerWithin(value: number, from: number, to: number): boolean {
  return Number.isInteger(value) && value >= from && value <= to;
}

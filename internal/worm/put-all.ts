import { mapConcurrently } from "../core/map-concurrently.ts";
import type { ObjectStore, StoredObject } from "./object-store.ts";

export interface ObjectToPut {
  readonly key: string;
  readonly body: Uint8Array;
}

/**
 * Enough for a disk or a bucket to work on many at once. File systems flush concurrent writers together: the 80 tiles
 * of a head of 10,000 entries took 90 ms one at a time, 45 ms four at a time and 16 ms so (ext4, 2 cores).
 */
const PUTS_AT_ONCE = 16;

/**
 * Puts every object, `atOnce` at a time, and answers what is stored in the same order. After a failure it starts no
 * more, and rejects when the puts under way have settled.
 */
export function putAll(
  store: ObjectStore,
  objects: readonly ObjectToPut[],
  atOnce = PUTS_AT_ONCE,
): Promise<StoredObject[]> {
  return mapConcurrently(objects, atOnce, ({ key, body }) => store.put(key, body));
}

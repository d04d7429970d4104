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
 * more, but rejects only when the puts under way have settled: none of them may land behind the back of a caller who
 * was told that the work is over.
 */
export async function putAll(
  store: ObjectStore,
  objects: readonly ObjectToPut[],
  atOnce = PUTS_AT_ONCE,
): Promise<StoredObject[]> {
  const stored: StoredObject[] = [];
  let next = 0;
  let failed = false;
  const worker = async () => {
    while (!failed) {
      const index = next++;
      const object = objects[index];
      if (!object) return;
      try {
        stored[index] = await store.put(object.key, object.body);
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  };
  const results = await Promise.allSettled(Array.from({ length: Math.min(atOnce, objects.length) }, worker));
  for (const result of results) if (result.status === "rejected") throw result.reason;
  return stored;
}

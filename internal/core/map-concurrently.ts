/**
 * Does `work` for every item, `atOnce` at a time, and answers the results in the items' order. After a failure it starts
 * no more, but rejects only when the work under way has settled: none of it may happen behind the back of a caller who
 * was told that it is over.
 */
export async function mapConcurrently<T, R>(
  items: readonly T[],
  atOnce: number,
  work: (item: T, index: number) => Promise<R>,
): Promise<R[]> {
  const results: R[] = [];
  // Shared by the workers: each takes the next item that none of them has.
  const queue = items.entries();
  let failed = false;
  const worker = async () => {
    for (const [index, item] of queue) {
      if (failed) return;
      try {
        results[index] = await work(item, index);
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  };
  const workers = Array.from({ length: Math.min(atOnce, items.length) }, worker);
  for (const settled of await Promise.allSettled(workers)) {
    if (settled.status === "rejected") throw settled.reason;
  }
  return results;
}

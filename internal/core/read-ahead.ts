/**
 * The items of `source`, of which up to `count` are asked for before they are wanted: a generator that starts work and
 * yields its promises has that much work under way.
 */
export async function* readAhead<T>(
  source: AsyncGenerator<T, void, undefined>,
  count: number,
): AsyncGenerator<T, void, undefined> {
  // An async generator answers calls of next() in order, one after another.
  const pending: Promise<IteratorResult<T, void>>[] = [];
  try {
    for (;;) {
      while (pending.length < count) {
        const next = source.next();
        // It rejects where it is awaited, which may be later than Node waits for a handler.
        next.catch(() => {});
        pending.push(next);
      }
      const result = await pending.shift();
      if (!result || result.done) return;
      yield result.value;
    }
  } finally {
    await Promise.allSettled(pending);
    await source.return();
  }
}

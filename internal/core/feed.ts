/** The newest value of something that moves, for any number of watchers, each at its own pace. */
export class Feed<T> {
  #current: T;
  #next = Promise.withResolvers<void>();

  constructor(initial: T) {
    this.#current = initial;
  }

  get current(): T {
    return this.#current;
  }

  publish(value: T): void {
    this.#current = value;
    const announced = this.#next;
    this.#next = Promise.withResolvers();
    announced.resolve();
  }

  /** The newest value, and then each newer one, until `signal` aborts. A slow watcher skips what it missed. */
  async *watch(signal: AbortSignal): AsyncGenerator<T, void, undefined> {
    while (!signal.aborted) {
      const next = this.#next.promise;
      yield this.#current;
      await settledOrAborted(next, signal);
    }
  }
}

/** A promise of its own for each wait: a race against one that lasts as long as the watcher would pile up reactions. */
function settledOrAborted(promise: Promise<void>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      signal.removeEventListener("abort", done);
      resolve();
    };
    signal.addEventListener("abort", done, { once: true });
    if (signal.aborted) done();
    promise.then(done, done);
  });
}

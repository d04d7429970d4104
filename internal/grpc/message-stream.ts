/**
 * The messages of one direction of a call, read one at a time: each `next()` asks for one message more, so that
 * HTTP/2's flow control, and nothing here, holds what the reader has not come to.
 */
export class MessageStream<T> implements AsyncIterableIterator<T> {
  readonly #read: () => void;
  readonly #left: () => void;
  readonly #waiting: PromiseWithResolvers<IteratorResult<T>>[] = [];
  #ended = false;
  #error: unknown;

  /** `read` asks for one message, which is then given to `push`; `left` is called when the reader stops early. */
  constructor(options: { readonly read: () => void; readonly left?: () => void }) {
    this.#read = options.read;
    this.#left = options.left ?? (() => {});
  }

  push(value: T): void {
    this.#waiting.shift()?.resolve({ done: false, value });
    if (this.#waiting.length > 0) this.#read();
  }

  end(): void {
    this.#ended = true;
    for (const { resolve } of this.#waiting.splice(0)) resolve({ done: true, value: undefined });
  }

  fail(error: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#error = error;
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }

  next(): Promise<IteratorResult<T>> {
    if (this.#error !== undefined) return Promise.reject(this.#error);
    if (this.#ended) return Promise.resolve({ done: true, value: undefined });
    const waiter = Promise.withResolvers<IteratorResult<T>>();
    // One read at a time: `push` asks again while somebody waits.
    if (this.#waiting.push(waiter) === 1) this.#read();
    return waiter.promise;
  }

  return(): Promise<IteratorResult<T>> {
    if (!this.#ended) {
      this.end();
      this.#left();
    }
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}

import { ServiceError } from "../core/errors.ts";

/** Runs one piece of work at a time, in the order they came. Over its limit it refuses instead of queueing. */
export class Turns {
  readonly #limit: number;
  readonly #what: string;
  #waiting = 0;
  #last: Promise<unknown> = Promise.resolve();

  /** `what`: the name of the work, in the plural. */
  constructor(options: { readonly limit: number; readonly what: string }) {
    this.#limit = options.limit;
    this.#what = options.what;
  }

  run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#waiting >= this.#limit) {
      const message = `too many ${this.#what} are waiting`;
      return Promise.reject(new ServiceError("resource-exhausted", message, { retryDelayMs: 1000 }));
    }
    this.#waiting += 1;
    const result = this.#last.then(work).finally(() => {
      this.#waiting -= 1;
    });
    this.#last = result.catch(() => {});
    return result;
  }

  /** Resolves when everything that has come so far has ended. */
  async idle(): Promise<void> {
    await this.#last;
  }
}

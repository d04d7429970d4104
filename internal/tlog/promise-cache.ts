/**
 * Keeps the most recently used results of an asynchronous load. Callers that ask for the same key at the same time
 * share one load. A failed load is forgotten, so that the next caller tries again.
 */
export class PromiseCache<Value> {
  readonly #limit: number;
  /** A Map iterates in order of insertion: the least recently used entry is the first. */
  readonly #entries = new Map<string, Promise<Value>>();

  constructor({ limit }: { limit: number }) {
    this.#limit = limit;
  }

  get(key: string, load: () => Promise<Value>): Promise<Value> {
    const value = this.#entries.get(key) ?? this.#load(key, load);
    this.#entries.delete(key);
    this.#entries.set(key, value);
    const [oldest] = this.#entries.keys();
    if (this.#entries.size > this.#limit && oldest !== undefined) this.#entries.delete(oldest);
    return value;
  }

  /** The next one who asks for the key loads its value again. */
  delete(key: string): void {
    this.#entries.delete(key);
  }

  #load(key: string, load: () => Promise<Value>): Promise<Value> {
    const value = load();
    value.catch(() => {
      if (this.#entries.get(key) === value) this.#entries.delete(key);
    });
    return value;
  }
}

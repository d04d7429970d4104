// For tests: a store that fails where it is told to, in the ways in which a store can.
import type { ObjectInfo, ObjectStore, StoredObject } from "./object-store.ts";

/**
 * - `before`: the call rejects and nothing has happened.
 * - `after`: it has happened, and the call rejects all the same, as when the answer is lost.
 * - `hang`: nothing happens and the call does not settle until `release()`, which makes it reject.
 * - `late`: nothing happens until `release()`, and then all of it, as when a network holds a request back.
 */
export type Fault = "before" | "after" | "hang" | "late";

export interface Operation {
  readonly name: "put" | "get" | "stat" | "list";
  /** The key, or the prefix of a `list`. */
  readonly key: string;
  /** Counts the calls of this name from 1. */
  readonly call: number;
}

/** What a `FaultyStore` rejects with. */
export class InjectedFault extends Error {
  override readonly name = "InjectedFault";
}

export interface FaultyStoreOptions {
  readonly store: ObjectStore;
  /** Asked at each call; undefined lets it through. It may be replaced while a test runs. */
  readonly fault: (operation: Operation) => Fault | undefined;
}

export class FaultyStore implements ObjectStore {
  fault: (operation: Operation) => Fault | undefined;
  /** Every call so far, in order. */
  readonly operations: Operation[] = [];
  readonly #store: ObjectStore;
  readonly #calls = { put: 0, get: 0, stat: 0, list: 0 };
  readonly #released = Promise.withResolvers<void>();

  constructor(options: FaultyStoreOptions) {
    this.#store = options.store;
    this.fault = options.fault;
  }

  put(key: string, body: Uint8Array): Promise<StoredObject> {
    return this.#run("put", key, () => this.#store.put(key, body));
  }

  get(key: string, versionId?: string): Promise<Uint8Array | undefined> {
    return this.#run("get", key, () => this.#store.get(key, versionId));
  }

  stat(key: string, versionId?: string): Promise<ObjectInfo | undefined> {
    return this.#run("stat", key, () => this.#store.stat(key, versionId));
  }

  /** Faulty at its start, or after its last key. */
  async *list(prefix: string): AsyncIterable<string> {
    const { fault, error } = this.#next("list", prefix);
    if (fault === "hang" || fault === "late") await this.#released.promise;
    if (fault === "hang" || fault === "before") throw error;
    yield* this.#store.list(prefix);
    if (fault === "after") throw error;
  }

  /** Ends every call that hangs, lets the late ones happen, and lets none hang again. */
  release(): void {
    this.#released.resolve();
  }

  async #run<T>(name: "put" | "get" | "stat", key: string, call: () => Promise<T>): Promise<T> {
    const { fault, error } = this.#next(name, key);
    if (fault === undefined) return call();
    if (fault === "after") await call();
    if (fault === "hang" || fault === "late") await this.#released.promise;
    if (fault === "late") return call();
    throw error;
  }

  #next(name: Operation["name"], key: string) {
    const operation = { name, key, call: ++this.#calls[name] };
    this.operations.push(operation);
    const fault = this.fault(operation);
    return { fault, error: new InjectedFault(`${name} ${key} failed ${fault}`) };
  }
}

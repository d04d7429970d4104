import type { Logger } from "../telemetry/logger.ts";
import type { Counter } from "../telemetry/metrics.ts";
import {
  ObjectArchivedError,
  type ObjectInfo,
  ObjectLockError,
  type ObjectStore,
  ObjectStoreError,
  type StoredObject,
} from "../worm/object-store.ts";
import { isFatal } from "./halt.ts";

type Operation = "put" | "get" | "stat" | "list";

export interface WatchedEvidenceOptions {
  readonly store: ObjectStore;
  readonly failures: Counter<"operation" | "failure">;
  readonly logger: Logger;
}

/**
 * The evidence store as AuditService sees it: each failure is counted, and while there is one, why is known. Who called
 * tries again; this only tells, once when it begins and once when it is over, that sealing waits and for what.
 *
 * What the store answers about the log, such as that a key has other bytes, is no failure: that halts (halt.ts).
 */
export class WatchedEvidence implements ObjectStore {
  readonly #options: WatchedEvidenceOptions;
  /** By operation: credentials that may read and not write succeed at the one while they fail at the other. */
  readonly #failing = new Map<Operation, string>();

  constructor(options: WatchedEvidenceOptions) {
    this.#options = options;
  }

  /** Why the last calls failed, in words for operators; undefined while none did. */
  get failing(): string | undefined {
    return this.#failing.get("put") ?? [...this.#failing.values()][0];
  }

  put(key: string, body: Uint8Array): Promise<StoredObject> {
    return this.#watch("put", () => this.#options.store.put(key, body));
  }

  get(key: string, versionId?: string): Promise<Uint8Array | undefined> {
    return this.#watch("get", () => this.#options.store.get(key, versionId));
  }

  stat(key: string, versionId?: string): Promise<ObjectInfo | undefined> {
    return this.#watch("stat", () => this.#options.store.stat(key, versionId));
  }

  async *list(prefix: string): AsyncIterable<string> {
    try {
      yield* this.#options.store.list(prefix);
      this.#succeeded("list");
    } catch (error) {
      this.#failed("list", error);
      throw error;
    }
  }

  async #watch<T>(operation: Operation, call: () => Promise<T>): Promise<T> {
    try {
      const answer = await call();
      this.#succeeded(operation);
      return answer;
    } catch (error) {
      this.#failed(operation, error);
      throw error;
    }
  }

  #succeeded(operation: Operation): void {
    if (!this.#failing.delete(operation) || this.#failing.size > 0) return;
    this.#options.logger.info({}, "the evidence store works again");
  }

  #failed(operation: Operation, error: unknown): void {
    if (isFatal(error)) {
      this.#succeeded(operation);
      return;
    }
    const { failures, logger } = this.#options;
    failures.inc({ operation, failure: kindOf(error) });
    const reason = reasonOf(error);
    if (this.failing === undefined) {
      logger.error(
        { reason, operation },
        "the evidence store fails: sealing waits, votes are taken and kept",
      );
    }
    this.#failing.set(operation, reason);
  }
}

function kindOf(error: unknown): string {
  if (error instanceof ObjectStoreError) return error.failure;
  if (error instanceof ObjectLockError) return "unlocked";
  return error instanceof ObjectArchivedError ? "archived" : "failed";
}

/** Only errors written for operators are shown; the log has the rest. */
function reasonOf(error: unknown): string {
  const types = [ObjectStoreError, ObjectLockError, ObjectArchivedError];
  if (error instanceof Error && types.some((type) => error instanceof type)) return error.message;
  const code = error instanceof Error && "code" in error ? ` (${error.code})` : "";
  return `the evidence store failed${code}: see the log of audit-service`;
}

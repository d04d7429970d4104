import { Worker } from "node:worker_threads";
import type { SegmentChecker, SegmentFindings, SegmentTask } from "../../verify/check-segment.ts";
import { ObjectStoreError } from "../../worm/object-store.ts";
import type { WorkerAnswer, WorkerFailure, WorkerRequest, WorkerSetup } from "./segment-worker.ts";

export interface SegmentPoolOptions extends WorkerSetup {
  readonly workers: number;
}

interface Waiting {
  readonly resolve: (findings: SegmentFindings<Uint8Array>) => void;
  readonly reject: (error: Error) => void;
}

interface Thread {
  readonly worker: Worker;
  readonly waiting: Map<number, Waiting>;
  /** Why it does nothing any more. */
  ended: Error | undefined;
}

/** Segments on their way from the store while a thread works on one. */
const AT_ONCE = 4;

/** Checks segments on threads of its own, each with its own connection to the evidence store. */
export class SegmentPool implements SegmentChecker<Uint8Array>, AsyncDisposable {
  readonly ahead: number;
  readonly #threads: readonly Thread[];
  #last = 0;

  constructor({ workers, ...setup }: SegmentPoolOptions) {
    // One block's end waits among the segments, and the next block's checkpoint is read before its first.
    this.ahead = workers * AT_ONCE + 2;
    this.#threads = Array.from({ length: workers }, () => startThread(setup));
  }

  check(task: SegmentTask): Promise<SegmentFindings<Uint8Array>> {
    const thread = this.#threads.reduce((least, other) =>
      other.waiting.size < least.waiting.size ? other : least,
    );
    if (thread.ended) return Promise.reject(thread.ended);
    const id = ++this.#last;
    return new Promise((resolve, reject) => {
      thread.waiting.set(id, { resolve, reject });
      thread.worker.postMessage({ id, task } satisfies WorkerRequest);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#threads.map(({ worker }) => worker.terminate()));
  }
}

function startThread(setup: WorkerSetup): Thread {
  const worker = new Worker(new URL("./segment-worker.ts", import.meta.url), { workerData: setup });
  const thread: Thread = { worker, waiting: new Map(), ended: undefined };
  const end = (error: Error) => {
    thread.ended ??= error;
    for (const { reject } of thread.waiting.values()) reject(thread.ended);
    thread.waiting.clear();
  };
  worker.on("message", (answer: WorkerAnswer) => {
    const asked = thread.waiting.get(answer.id);
    thread.waiting.delete(answer.id);
    if ("failure" in answer) asked?.reject(errorOf(answer.failure));
    else asked?.resolve(answer.findings);
  });
  worker.on("error", (error) => end(error instanceof Error ? error : new Error(String(error))));
  worker.on("exit", (code) => end(new Error(`a thread of the audit ended, with exit code ${code}`)));
  return thread;
}

function errorOf({ message, store }: WorkerFailure): Error {
  return store ? new ObjectStoreError(store.failure, store.code, message) : new Error(message);
}

// A thread of the audit: reads segments from the evidence store and checks them by themselves.
import { parentPort, workerData } from "node:worker_threads";
import type { EvidenceConfig } from "../../config/evidence.ts";
import { messageOf } from "../../core/errors.ts";
import { NoteVerifier } from "../../tlog/note-verifier.ts";
import { checkSegment, type SegmentFindings, type SegmentTask } from "../../verify/check-segment.ts";
import { EvidenceReader } from "../../verify/evidence-reader.ts";
import { ObjectStoreError, type RetentionMode, type StoreFailure } from "../../worm/object-store.ts";
import { openEvidenceStore } from "../../worm/open-evidence.ts";
import { packVoters } from "./voter-rows.ts";

/** What a thread is started with. */
export interface WorkerSetup {
  readonly evidence: EvidenceConfig;
  /** Undefined where the store cannot lock. */
  readonly lock: { readonly mode: RetentionMode; readonly now: number } | undefined;
  readonly eventKey: string | undefined;
}

export interface WorkerRequest {
  readonly id: number;
  readonly task: SegmentTask;
}

export type WorkerAnswer =
  | { readonly id: number; readonly findings: SegmentFindings<Uint8Array> }
  | { readonly id: number; readonly failure: WorkerFailure };

/** An error in the parts that survive the way to another thread. */
export interface WorkerFailure {
  readonly message: string;
  /** Of an ObjectStoreError. */
  readonly store?: { readonly failure: StoreFailure; readonly code: string };
}

if (parentPort) await serve(parentPort, workerData as WorkerSetup); // As segment-pool.ts starts it.

async function serve(port: NonNullable<typeof parentPort>, setup: WorkerSetup): Promise<void> {
  const { evidence, lock, eventKey: key } = setup;
  const store = await openEvidenceStore(evidence);
  const reader = new EvidenceReader({
    store,
    lock: lock && { ...lock, stat: (key, versionId) => store.stat(key, versionId) },
  });
  const eventKey = key === undefined ? undefined : NoteVerifier.parse(key);
  port.on("message", async ({ id, task }: WorkerRequest) => {
    try {
      const { content, ...findings } = await checkSegment(task, { reader, eventKey });
      const rows = packVoters(content.records, findings.checked?.heads.length ?? 1);
      const { leaves, voteIds } = findings.checked ?? {};
      const buffers = [rows, leaves, voteIds].flatMap((array) =>
        array ? [array.buffer as ArrayBuffer] : [],
      ); // Made here, each its own.
      port.postMessage({ id, findings: { ...findings, content: rows } } satisfies WorkerAnswer, buffers);
    } catch (error) {
      port.postMessage({ id, failure: failureOf(error) } satisfies WorkerAnswer);
    }
  });
}

function failureOf(error: unknown): WorkerFailure {
  const message = messageOf(error);
  if (!(error instanceof ObjectStoreError)) return { message };
  return { message, store: { failure: error.failure, code: error.code } };
}

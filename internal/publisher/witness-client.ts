import { decodeUtf8 } from "../core/bytes.ts";
import { messageOf } from "../core/errors.ts";
import type { TreeSize } from "../core/ids.ts";
import { readAtMost } from "../core/read-body.ts";
import type { Hash } from "../core/sha256.ts";
import { formatAddCheckpoint, TREE_SIZE_TYPE } from "../tlog/add-checkpoint.ts";
import { parseCount } from "../tlog/checkpoint.ts";
import { type Cosignature, readCosignature } from "../tlog/cosignature.ts";
import { TlogError } from "../tlog/errors.ts";
import { parseNote } from "../tlog/note.ts";
import type { NoteVerifier } from "../tlog/note-verifier.ts";

/**
 * Why there is no cosignature.
 * - `unreachable`: no answer, or none in time. `unavailable`: it says that it cannot, for now.
 * - `refused`: it does not know the log or its key, or finds the request malformed.
 * - `inconsistent`: it has seen a tree that ours does not extend. Either of us has forgotten something, or there is a fork.
 * - `bad_answer`: what it answers is not what the protocol has, such as a signature that does not verify.
 */
export type WitnessFailure = "unreachable" | "unavailable" | "refused" | "inconsistent" | "bad_answer";

export class WitnessError extends Error {
  override readonly name = "WitnessError";
  readonly failure: WitnessFailure;

  constructor(failure: WitnessFailure, message: string, options?: ErrorOptions) {
    super(message, options);
    this.failure = failure;
  }
}

export interface AddCheckpointOptions {
  readonly witness: NoteVerifier;
  /** Its submission prefix. */
  readonly url: string;
  readonly oldSize: TreeSize;
  /** From `oldSize` to the note's size. */
  readonly proof: readonly Hash[];
  /** A checkpoint with the log's own signatures alone: some witnesses take only 10 KiB. */
  readonly note: string;
  readonly signal: AbortSignal;
}

/** The witness's cosignature, or the size of the tree that it saw last, if that is not `oldSize`. */
export type WitnessAnswer =
  | { readonly cosignature: Cosignature; readonly size?: never }
  | { readonly size: TreeSize; readonly cosignature?: never };

/** A cosignature takes a line; a witness with many keys may send as many. */
const MAX_ANSWER_BYTES = 16 * 1024;
const MAX_SIZE_BYTES = 32;

/** Asks a witness to cosign a checkpoint (c2sp.org/tlog-witness, add-checkpoint). Throws a WitnessError if it does not. */
export async function addCheckpoint(options: AddCheckpointOptions): Promise<WitnessAnswer> {
  const { witness, url, note, signal } = options;
  try {
    const response = await fetch(`${url}/add-checkpoint`, {
      method: "POST",
      headers: { "Content-Type": "text/plain; charset=utf-8" },
      body: formatAddCheckpoint(options),
      // A witness that sends us elsewhere would have us speak to whatever that is.
      redirect: "manual",
      signal,
    });
    if (response.status === 200) {
      const lines = await readText(response, MAX_ANSWER_BYTES);
      return { cosignature: readCosignature(parseNote(note).text, lines, witness) };
    }
    if (response.status === 409 && isTreeSize(response)) {
      const size = await readText(response, MAX_SIZE_BYTES);
      return { size: parseCount("a witness's size", size.replace(/\n$/, "")) };
    }
    await response.body?.cancel();
    throw new WitnessError(failureOf(response.status), `it answers with HTTP status ${response.status}`);
  } catch (error) {
    if (error instanceof WitnessError) throw error;
    if (error instanceof TlogError) {
      throw new WitnessError("bad_answer", `its answer is no cosignature: ${error.message}`, {
        cause: error,
      });
    }
    throw new WitnessError("unreachable", causeOf(error), { cause: error });
  }
}

function isTreeSize(response: Response): boolean {
  return response.headers.get("content-type")?.split(";", 1)[0]?.trim() === TREE_SIZE_TYPE;
}

async function readText(response: Response, limit: number): Promise<string> {
  const bytes = await readAtMost(response.body, limit);
  if (!bytes) throw new WitnessError("bad_answer", `its answer is longer than ${limit} bytes`);
  try {
    return decodeUtf8(bytes);
  } catch (error) {
    throw new WitnessError("bad_answer", "its answer is not UTF-8", { cause: error });
  }
}

function failureOf(status: number): WitnessFailure {
  // A 409 without a size is how older witnesses say that they know another root of this size.
  if (status === 409 || status === 422) return "inconsistent";
  if (status === 429 || status >= 500) return "unavailable";
  return status >= 400 ? "refused" : "bad_answer";
}

/** fetch() wraps what happened: "fetch failed", caused by "connect ECONNREFUSED …". */
function causeOf(error: unknown): string {
  return error instanceof Error && error.cause ? messageOf(error.cause) : messageOf(error);
}

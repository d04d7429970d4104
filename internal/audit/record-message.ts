import { fromBinary } from "@bufbuild/protobuf";
import { type RecordBatch, RecordBatchSchema, type Run } from "../../gen/ts/psephos/shard/v1/shard_pb.js";
import { FormatError } from "../ballot/format-error.ts";
import type { VoteRecord } from "../ballot/record.ts";
import { messageOf } from "../core/errors.ts";
import { type ElectionId, electionId, sequence, shardId } from "../core/ids.ts";
import { asHash } from "../core/sha256.ts";

/** A message of the audit stream. internal/stream fits it. */
export interface RecordMessage {
  readonly data: Uint8Array;
  /** The message is dealt with. */
  ack(): void;
  /** Deliver it again after a while. */
  nak(delayMs: number): void;
}

/** Runs of one election's records, not yet verified. */
export interface RecordRuns {
  readonly electionId: ElectionId;
  readonly runs: readonly (readonly VoteRecord[])[];
}

/** Reads a message of the audit stream. Throws a FormatError when it is not one. */
export function decodeRecordMessage(data: Uint8Array): RecordRuns {
  let batch: RecordBatch;
  try {
    batch = fromBinary(RecordBatchSchema, data);
    return { electionId: electionId(batch.electionId), runs: batch.runs.map(decodeRun) };
  } catch (error) {
    throw new FormatError(`record message: ${messageOf(error)}`, { cause: error });
  }
}

/**
 * The records of a run. Their bytes are views of the message they came in, which lives as long as they do: until they
 * are sealed, half a second or so.
 */
export function decodeRun(run: Run): VoteRecord[] {
  const shard = shardId(run.shard);
  const first = sequence(run.firstSequence);
  return run.records.map((record, index) => ({
    shard,
    sequence: sequence(first + index),
    voterPseudonym: record.voterPseudonym,
    revision: record.revision,
    sealedChoice: record.sealedChoice,
    castAt: Number(record.castAtMicros),
    hash: asHash(record.hash),
  }));
}

// The messages on the audit stream.
import { create, toBinary } from "@bufbuild/protobuf";
import { RecordBatchSchema } from "../../gen/ts/psephos/shard/v1/shard_pb.js";
import type { VoteRecord } from "../ballot/record.ts";
import type { ElectionId, ShardId } from "../core/ids.ts";
import type { Run } from "./decide.ts";

/** About 380 KB encoded; a NATS server takes messages of 1 MB unless told otherwise. */
export const MAX_BATCH_RECORDS = 2_500;

export interface Batch {
  readonly electionId: ElectionId;
  /** A psephos.shard.v1.RecordBatch. */
  readonly body: Uint8Array;
  readonly records: number;
  /** How many runs of the queue are in it. */
  readonly runs: number;
}

/**
 * The longest batch from the head of a queue: of one election, and with at most one run a shard, so a run that does
 * not follow the shard's last one waits for the next batch.
 */
export function nextBatch(queue: readonly Run[]): Batch | undefined {
  const [first] = queue;
  if (first === undefined) return undefined;
  const shards = new Map<ShardId, VoteRecord[]>();
  let [runs, records] = [0, 0];
  for (const run of queue) {
    const fits = runs === 0 || records + run.records.length <= MAX_BATCH_RECORDS;
    if (run.election !== first.election || !fits) break;
    const before = shards.get(run.shard);
    if (before === undefined) shards.set(run.shard, [...run.records]);
    else if (before.at(-1)?.sequence === firstSequence(run) - 1) before.push(...run.records);
    else break;
    runs++;
    records += run.records.length;
  }
  const { electionId } = first.manifest;
  return { electionId, body: encodeBatch(electionId, shards), records, runs };
}

/** The sequence of a run's first record. A run is never empty. */
export function firstSequence({ records: [first] }: Pick<Run, "records">): number {
  if (first === undefined) throw new RangeError("an empty run");
  return first.sequence;
}

function encodeBatch(
  electionId: ElectionId,
  shards: ReadonlyMap<ShardId, readonly VoteRecord[]>,
): Uint8Array {
  const inOrder = [...shards].sort(([a], [b]) => a - b);
  const runs = inOrder.map(([shard, records]) => runMessage(shard, records));
  return toBinary(RecordBatchSchema, create(RecordBatchSchema, { electionId, runs }));
}

/** A psephos.shard.v1.Run of consecutive records. */
export function runMessage(shard: ShardId, records: readonly VoteRecord[]) {
  return {
    shard,
    firstSequence: BigInt(firstSequence({ records })),
    records: records.map((record) => ({
      voterPseudonym: record.voterPseudonym,
      revision: record.revision,
      sealedChoice: record.sealedChoice,
      castAtMicros: BigInt(record.castAt),
      hash: record.hash,
    })),
  };
}

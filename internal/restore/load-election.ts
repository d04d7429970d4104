// An election's way into the databases, once it is verified.
import type { ElectionId, Sequence } from "../core/ids.ts";
import type { ElectionState } from "../shard/ports.ts";
import { controlOf } from "./instances.ts";
import { loadLog } from "./load-log.ts";
import type { ElectionPlan } from "./plan-election.ts";
import type { RestoreOptions } from "./restore.ts";

export interface RestoredElection {
  readonly electionId: ElectionId;
  readonly number: number;
  readonly state: ElectionState;
  readonly votes: number;
  /** Records that were written; the others were there. */
  readonly written: number;
  /** Votes after the sealed ones, on instances that were not lost. */
  readonly unsealed: number;
  readonly logSize: number;
  readonly checkpointSize: number | undefined;
  /** The newest sealed sequence of each shard. */
  readonly sealed: readonly Sequence[];
  /** Whether files of the Publisher were made again. */
  readonly publisherFiles: boolean;
}

/**
 * Records and tiles. The election is in state `creating` until its last transaction. A crash before that leaves, of each
 * shard, the first part of its records; the next run finds them there and goes on.
 */
export async function loadElection(
  { evidence: store, tiles, instances, signal }: RestoreOptions,
  { evidence, log, target, highestNumber, publisher }: ElectionPlan,
  onProgress: (entries: number) => void,
): Promise<number> {
  const { electionId } = evidence;
  // First, so that a run after a crash finds the number that its records have.
  await controlOf(instances).addElection(target.election, highestNumber);
  const written = await loadLog({
    ...{ store, tiles, electionId, log, target, signal, onProgress },
    publicLog: publisher,
  });
  await publisher?.finish(log);
  return written;
}

/** The heads, and last the control data: with that the election is visible. */
export async function finishElection(
  { instances, clock }: RestoreOptions,
  { evidence, log, target, checkpoint, publisher }: ElectionPlan,
  written: number,
): Promise<RestoredElection> {
  const { election } = target;
  const { electionId } = evidence;
  const control = controlOf(instances);
  const heads = target.heads(log);
  const placedOn = (name: string) => heads.filter(({ shard }) => election.placement[shard] === name);
  for (const instance of instances.values()) {
    if (instance !== control && election.placement.includes(instance.name)) {
      await instance.finish(election, placedOn(instance.name), undefined);
    }
  }
  const state = target.state(log);
  const logHead = {
    electionId,
    treeSize: log.size,
    root: log.root,
    shardHeads: log.heads,
    closed: log.closed,
    committedAt: clock.nowMicros(),
  };
  await control.finish(election, placedOn(control.name), { logHead, state });
  return {
    electionId,
    number: election.election,
    state,
    votes: log.heads.reduce((sum, { sequence }) => sum + sequence, 0),
    written,
    unsealed: target.unsealed,
    logSize: log.size,
    checkpointSize: checkpoint?.size,
    sealed: log.heads.map(({ sequence }) => sequence),
    publisherFiles: publisher !== undefined,
  };
}

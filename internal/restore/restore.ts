// Recovery: every database lost, and the evidence store is what is left. First all of the evidence is verified, and what the
// databases have is compared with it; then it is written, in an order that can be begun again after a crash anywhere.

import { HaltError } from "../audit/halt.ts";
import { ChainError } from "../ballot/chain.ts";
import { FormatError } from "../ballot/format-error.ts";
import type { Clock } from "../core/clock.ts";
import { messageOf } from "../core/errors.ts";
import type { ElectionId, Sequence } from "../core/ids.ts";
import type { ElectionState } from "../shard/ports.ts";
import { VerificationReport } from "../verify/report.ts";
import { verifyEvidence } from "../verify/verify-evidence.ts";
import { ObjectCorruptError, type ObjectStore } from "../worm/object-store.ts";
import { type ElectionEvidence, openEvidence, openSigned, type SignedTree } from "./election-evidence.ts";
import { ElectionTarget, electionIn } from "./election-target.ts";
import { RestoreRefusedError } from "./errors.ts";
import { loadLog } from "./load-log.ts";
import type { RestoreInstance } from "./ports.ts";
import { type PublisherDirectories, PublisherFiles, type PublisherRepair } from "./publisher-files.ts";
import { type KnownTree, type VerifiedLog, verifyLog } from "./verify-log.ts";

export interface RestoreOptions {
  readonly elections: readonly ElectionToRestore[];
  readonly evidence: ObjectStore;
  readonly tiles: ObjectStore;
  /** By name; the first is the control instance. */
  readonly instances: ReadonlyMap<string, RestoreInstance>;
  /** The Publisher's directories, to be made again where something of them is gone. */
  readonly publisher: PublisherDirectories | undefined;
  /** Where the shards of an election go that no database knows. */
  readonly place: (shards: number) => readonly string[];
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly progress: RestoreProgress;
  /** Asked when all is verified and nothing written. */
  readonly confirm: (plans: readonly ElectionPlan[]) => Promise<boolean>;
}

export interface ElectionToRestore {
  readonly electionId: ElectionId;
  /** The last public checkpoint, as it was signed. Without it nothing shows that the evidence is complete. */
  readonly checkpoint: Uint8Array | undefined;
  readonly logKey: string | undefined;
}

export interface RestoreProgress {
  verified(entries: number, total: number): void;
  loaded(entries: number, total: number): void;
  /** All is loaded, and the databases sort it: of that there is no measure. */
  indexing(): void;
}

/** What is known of an election when its evidence is verified. */
export interface ElectionPlan {
  readonly evidence: ElectionEvidence;
  readonly log: VerifiedLog;
  readonly target: ElectionTarget;
  /** The public checkpoint that the evidence was compared with. */
  readonly checkpoint: SignedTree | undefined;
  readonly publisher: PublisherRepair | undefined;
}

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

export interface RestoreResult {
  readonly elections: readonly RestoredElection[];
  readonly verifySeconds: number;
  readonly loadSeconds: number;
}

/** Undefined when `confirm` said no, and nothing was changed. Throws a RestoreRefusedError when nothing may be. */
export async function restore(options: RestoreOptions): Promise<RestoreResult | undefined> {
  const instances = [...options.instances.values()];
  for (const instance of instances) await instance.migrate();
  let writing = false;
  const shutOut: RestoreInstance[] = [];
  try {
    for (const instance of instances) {
      await instance.shutOut();
      shutOut.push(instance);
    }
    const started = performance.now();
    // Of a run that was killed.
    await Promise.all(instances.map((instance) => instance.index()));
    const plans = await planAll(options);
    const verifySeconds = seconds(started);
    if (!(await options.confirm(plans))) return undefined;

    writing = true;
    const loading = performance.now();
    const elections = await loadAll(options, plans);
    // Only now: what reads a part of it would take it for the whole.
    for (const instance of instances) await instance.admit();
    return { elections, verifySeconds, loadSeconds: seconds(loading) };
  } finally {
    // As it was. Once something is written, they stay out until this was run to its end.
    if (!writing) for (const instance of shutOut) await instance.admit();
  }
}

async function planAll(options: RestoreOptions): Promise<ElectionPlan[]> {
  const opened: (ElectionToRestore & { readonly evidence: ElectionEvidence })[] = [];
  for (const election of options.elections) {
    const evidence = await openEvidence(options.evidence, election.electionId, election.logKey);
    opened.push({ ...election, evidence });
  }
  const total = opened.reduce((sum, { evidence }) => sum + evidence.entries, 0);
  const plans: ElectionPlan[] = [];
  const numbers: number[] = [];
  let done = 0;
  for (const { evidence, checkpoint } of opened) {
    const before = done;
    const plan = await planElection(options, evidence, checkpoint, numbers, (entries) => {
      done = before + entries;
      options.progress.verified(done, total);
    });
    numbers.push(plan.target.election.election);
    plans.push(plan);
  }
  return plans;
}

async function planElection(
  options: RestoreOptions,
  evidence: ElectionEvidence,
  note: Uint8Array | undefined,
  taken: readonly number[],
  onProgress: (entries: number) => void,
): Promise<ElectionPlan> {
  const { evidence: store, instances, place, clock, signal } = options;
  const checkpoint = note && openSigned("the public checkpoint", note, evidence.log);
  const files = options.publisher && (await PublisherFiles.open(options.publisher, evidence));
  const fresh = { placement: place(evidence.manifest.shards), createdAt: clock.nowMicros() };
  const databases = new Map(
    await Promise.all(
      [...instances].map(async ([name, instance]) => [name, await instance.findElections()] as const),
    ),
  );
  const election = electionIn(databases, evidence, fresh, taken);
  const target = await ElectionTarget.open({ evidence, election, instances });
  const committed = await controlOf(instances).findLogHead(election);
  const known: KnownTree[] = [];
  const know = (name: string, tree: SignedTree | undefined) => {
    if (tree) known.push({ name, treeSize: tree.size, root: tree.root });
  };
  know("the public checkpoint", checkpoint);
  know("the Publisher's state", files?.saved);
  know("the Publisher's public checkpoint", files?.shown);
  if (committed && committed.treeSize > 0) known.push({ ...committed, name: "the stored log head" });
  try {
    const onRecords = (records: Parameters<ElectionTarget["compare"]>[0]) => target.compare(records);
    const log = await verifyLog({ store, evidence, known, onRecords, onProgress, signal });
    await target.compareHeads(log);
    const signed = [checkpoint, log.blocks.at(-1)].filter((tree) => tree !== undefined);
    return { evidence, log, target, checkpoint, publisher: files?.missing(signed) };
  } catch (error) {
    throw isFault(error) ? await diagnosed(error, store, evidence, checkpoint) : error;
  }
}

async function loadAll(options: RestoreOptions, plans: readonly ElectionPlan[]): Promise<RestoredElection[]> {
  const total = plans.reduce((sum, { log }) => sum + log.size, 0);
  const instances = [...options.instances.values()];
  await Promise.all(instances.map((instance) => instance.putIndexesOff()));
  const written: number[] = [];
  let done = 0;
  for (const plan of plans) {
    const before = done;
    const records = await loadElection(options, plan, (entries) => {
      done = before + entries;
      options.progress.loaded(done, total);
    });
    written.push(records);
  }
  options.progress.indexing();
  await Promise.all(instances.map((instance) => instance.index()));
  const restored: RestoredElection[] = [];
  for (const [index, plan] of plans.entries()) {
    restored.push(await finishElection(options, plan, written[index] ?? 0));
  }
  return restored;
}

/**
 * Records and tiles. The election is in state `creating` until its last transaction. A crash before that leaves, of each
 * shard, the first part of its records; the next run finds them there and goes on.
 */
async function loadElection(
  { evidence: store, tiles, instances, signal }: RestoreOptions,
  { evidence, log, target, publisher }: ElectionPlan,
  onProgress: (entries: number) => void,
): Promise<number> {
  const { electionId } = evidence;
  // First, so that a run after a crash finds the number that its records have.
  await controlOf(instances).addElection(target.election);
  const written = await loadLog({
    ...{ store, tiles, electionId, log, target, signal, onProgress },
    publicLog: publisher,
  });
  await publisher?.finish(log);
  return written;
}

/** The heads, and last the control data: with that the election is visible. */
async function finishElection(
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

function controlOf(instances: RestoreOptions["instances"]): RestoreInstance {
  const [control] = instances.values();
  if (!control) throw new RangeError("there is at least one instance");
  return control;
}

/** What the evidence itself is to blame for, or what it was compared with. */
function isFault(error: unknown): error is Error {
  return [HaltError, ChainError, FormatError, ObjectCorruptError, RestoreRefusedError].some(
    (type) => error instanceof type,
  );
}

/** Names everything that is wrong with the evidence, to the object, index, shard and sequence. */
async function diagnosed(
  cause: Error,
  store: ObjectStore,
  { electionId, manifest }: ElectionEvidence,
  checkpoint: SignedTree | undefined,
): Promise<RestoreRefusedError> {
  const report = new VerificationReport();
  const known = checkpoint && { size: checkpoint.size, root: checkpoint.root };
  await verifyEvidence({ store, electionId, report, logKey: manifest.logKey, known });
  if (cause instanceof RestoreRefusedError && report.ok) return cause;
  return new RestoreRefusedError(`the evidence of ${electionId} does not verify: ${messageOf(cause)}`, {
    cause,
    problems: report.problems,
  });
}

function seconds(since: number): number {
  return (performance.now() - since) / 1000;
}

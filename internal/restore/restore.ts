// Recovery: every database lost, and the evidence store is what is left. First all of the evidence is verified, and what the
// databases have is compared with it; then it is written, in an order that can be begun again after a crash anywhere.

import type { Clock } from "../core/clock.ts";
import type { ElectionId } from "../core/ids.ts";
import type { ObjectStore } from "../worm/object-store.ts";
import { type ElectionEvidence, openEvidence } from "./election-evidence.ts";
import type { Instances } from "./instances.ts";
import { finishElection, loadElection, type RestoredElection } from "./load-election.ts";
import { type ElectionPlan, planElection } from "./plan-election.ts";
import type { RestoreInstance } from "./ports.ts";
import type { PublisherDirectories } from "./publisher-files.ts";

export interface RestoreOptions {
  readonly elections: readonly ElectionToRestore[];
  readonly evidence: ObjectStore;
  readonly tiles: ObjectStore;
  readonly instances: Instances;
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
  /** What is public of it, from wherever it is known. Without any nothing shows that the evidence is complete. */
  readonly checkpoints: readonly PublicCheckpoint[];
  readonly logKey: string | undefined;
}

export interface PublicCheckpoint {
  /** Such as "the public checkpoint in kept.checkpoint". */
  readonly name: string;
  /** As it was signed. */
  readonly note: Uint8Array;
}

export interface RestoreProgress {
  verified(entries: number, total: number): void;
  loaded(entries: number, total: number): void;
  /** All is loaded, and the databases sort it: of that there is no measure. */
  indexing(): void;
  /** This run ends without success, and on these instances the services stay shut out. */
  leftShut(instances: readonly string[]): void;
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
  /** Those that keep the services out, and whether that was this run's doing. */
  const shut = new Map<RestoreInstance, boolean>();
  const admit = async (instance: RestoreInstance) => {
    await instance.admit();
    shut.delete(instance);
  };
  try {
    for (const instance of instances) shut.set(instance, await instance.shutOut());
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
    for (const instance of instances) await admit(instance);
    return { elections, verifySeconds, loadSeconds: seconds(loading) };
  } finally {
    // As it was. Once something is written, by this run or one before, they stay out until a run came to its end.
    const back = writing ? [] : [...shut].filter(([, mine]) => mine).map(([instance]) => instance);
    await Promise.allSettled(back.map(admit));
    if (shut.size > 0) options.progress.leftShut([...shut.keys()].map(({ name }) => name));
  }
}

async function planAll(options: RestoreOptions): Promise<ElectionPlan[]> {
  const opened: (ElectionToRestore & { readonly evidence: ElectionEvidence })[] = [];
  for (const election of options.elections) {
    const evidence = await openEvidence(options.evidence, election.electionId);
    opened.push({ ...election, evidence });
  }
  const total = opened.reduce((sum, { evidence }) => sum + evidence.entries, 0);
  const plans: ElectionPlan[] = [];
  const numbers: number[] = [];
  let done = 0;
  for (const { evidence, checkpoints, logKey } of opened) {
    const before = done;
    const plan = await planElection(options, evidence, { checkpoints, logKey }, numbers, (entries) => {
      done = before + entries;
      options.progress.verified(done, total);
    });
    numbers.push(plan.target.election.election);
    plans.push(plan);
  }
  return plans;
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

function seconds(since: number): number {
  return (performance.now() - since) / 1000;
}

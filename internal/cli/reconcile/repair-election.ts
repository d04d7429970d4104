// `psephos reconcile --repair`: compares, asks, puts rows back, and compares again.
import { createInterface } from "node:readline/promises";
import { loadConfig } from "../../config/load-config.ts";
import { equalBytes } from "../../core/bytes.ts";
import { ServiceError } from "../../core/errors.ts";
import type { ElectionId } from "../../core/ids.ts";
import { sha256 } from "../../core/sha256.ts";
import { PostgresRepairInstance } from "../../postgres/repair-instance.ts";
import { type InstancePlan, Repair } from "../../reconcile/repair.ts";
import type { DatabaseElection } from "../../reconcile/repair-ports.ts";
import { type ShardRouterConfig, shardRouterConfig } from "../../shard/config.ts";
import type { CliContext } from "../context.ts";
import { ExitCode, UsageError } from "../exit-code.ts";
import { configOf } from "../restore-setup.ts";
import {
  type ComparedElection,
  type CompareOptions,
  compareElection,
  publicUrl,
} from "./compare-election.ts";
import {
  describePlan,
  describeReconciliation,
  describeRemaining,
  describeRepaired,
  isWell,
  leftAloneJson,
  type RepairedInstance,
  reconciliationJson,
  repairedJson,
} from "./report.ts";

export interface RepairCommandOptions extends CompareOptions {
  readonly yes: boolean;
}

export async function repairElection(
  context: CliContext,
  electionId: ElectionId,
  options: RepairCommandOptions,
  signal: AbortSignal,
): Promise<ExitCode> {
  const { shardRouter, yes } = options;
  const { terminal } = context;
  if (shardRouter === undefined) {
    throw new UsageError(
      "--repair writes as psephos_owner: name ShardRouter's configuration with --shard-router",
    );
  }
  if (options.public !== false && publicUrl(context, options) === undefined) {
    throw new UsageError(
      "--repair compares the evidence with the public log first: name it with --public, or --no-public",
    );
  }
  if (!yes && !process.stdin.isTTY) {
    throw new UsageError("there is no terminal to ask on: say --yes to write into the databases");
  }
  await using resources = new AsyncDisposableStack();
  const { control, instances } = await openInstances(shardRouter, resources);
  const election = await electionOn(control, electionId);

  const first = await compareElection(context, electionId, options, {
    signal,
    beginRepair: ({ manifest, manifestHash }, size) => {
      if (!equalBytes(sha256(election.manifestBytes), manifestHash)) {
        throw new UsageError(
          `the control instance ${control.name} has another manifest of ${electionId} than the evidence: nothing was changed`,
        );
      }
      return new Repair({ manifest, manifestHash, election, instances, size });
    },
  });
  const show = (
    compared: ComparedElection,
    plans: readonly InstancePlan[],
    done: readonly RepairedInstance[],
  ): ExitCode => {
    const leftAlone = plans.some(({ shards }) => shards.some(({ kind }) => kind === "refused"));
    const data = {
      ...reconciliationJson(electionId, compared, leftAlone),
      repaired: done.map(repairedJson),
      left_alone: leftAloneJson(plans),
    };
    context.show(data, () => describeReconciliation(compared, leftAlone).join("\n"));
    for (const line of describeRemaining(compared)) terminal.say(line);
    if (done.length === 0) terminal.say("nothing was changed");
    return isWell(compared) && !leftAlone ? ExitCode.ok : ExitCode.failed;
  };
  const { repair, reconciliation } = first;
  if (!first.report.ok || !repair || !reconciliation) return show(first, [], []);

  const compared = ({ state }: DatabaseElection) => ({
    acknowledged: reconciliation.acknowledged,
    closed: reconciliation.closed || state === "closing" || state === "closed",
  });
  const plans = await repair.plan(compared(await electionOn(control, electionId)));
  for (const line of plans.flatMap(describePlan)) terminal.say(line);
  if (!plans.some(writes)) return show(first, plans, []);
  if (!yes && !(await confirmed(electionId, signal))) throw new UsageError("nothing was changed");

  const done: RepairedInstance[] = [];
  for (const plan of plans.filter(writes)) {
    signal.throwIfAborted();
    // A head that is made while the election closes must not be left open: it takes no more votes.
    const heads = plan.shards.some((shard) => shard.kind === "repair" && shard.head);
    await using held = heads ? await control.hold(electionId) : undefined;
    const now = held ? held.election : election;
    if (!now) throw unknownElection(control, electionId);
    const repaired = await repair.carryOut(plan, compared(now));
    done.push({ plan, repaired });
    for (const line of describeRepaired({ plan, repaired })) terminal.say(line);
  }
  terminal.say("comparing again, as the databases are now");
  return show(await compareElection(context, electionId, options, { signal }), plans, done);
}

function writes({ shards, guards }: InstancePlan): boolean {
  return guards.length > 0 || shards.some(({ kind }) => kind === "repair");
}

async function openInstances(file: string, resources: AsyncDisposableStack) {
  const { placement } = configOf<ShardRouterConfig>(() => loadConfig(shardRouterConfig, file));
  const instances = new Map<string, PostgresRepairInstance>();
  for (const { migrate_tls: tls, ...server } of placement.instances) {
    if (!tls) {
      throw new UsageError(
        `${file} has no "migrate_tls" for the instance ${server.name}: the certificate of psephos_owner`,
      );
    }
    const instance = await PostgresRepairInstance.open({ connection: { ...server, tls } });
    instances.set(server.name, resources.use(instance));
  }
  const [control] = instances.values();
  if (!control) throw new RangeError("there is at least one instance");
  return { control, instances };
}

async function electionOn(
  control: PostgresRepairInstance,
  electionId: ElectionId,
): Promise<DatabaseElection> {
  await using held = await control.hold(electionId);
  if (!held.election) throw unknownElection(control, electionId);
  return held.election;
}

function unknownElection({ name }: PostgresRepairInstance, electionId: ElectionId): ServiceError {
  return new ServiceError(
    "not-found",
    `the control instance ${name} does not have the election ${electionId}. Nothing was changed. If it is lost: psephos restore`,
  );
}

async function confirmed(electionId: ElectionId, signal: AbortSignal): Promise<boolean> {
  const prompt = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await prompt.question(
      `Write this into the databases? Type the election's id (${electionId}) to go on: `,
      { signal },
    );
    return answer.trim() === electionId;
  } finally {
    prompt.close();
  }
}

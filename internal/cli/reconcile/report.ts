// What a reconciliation found and a repair does, as programs and as people read it.
import type { ElectionId } from "../../core/ids.ts";
import { describeDifference } from "../../reconcile/difference.ts";
import type { InstancePlan } from "../../reconcile/repair.ts";
import type { DamagedRows, InstanceRepaired } from "../../reconcile/repair-ports.ts";
import { formatCount } from "../terminal.ts";
import { describeFindings, findingsJson } from "../verification.ts";
import type { ComparedElection } from "./compare-election.ts";

/** Whether everything that was compared is as it was sealed, and as the migrations made it. */
export function isWell({ report, differences, guards }: Findings): boolean {
  return report.ok && differences.none && guards.length === 0;
}

type Findings = Pick<ComparedElection, "report" | "differences" | "guards">;

/** `leftAlone`: whether there are shards that a repair did not touch, which is no good result whatever was found after it. */
export function reconciliationJson(election: ElectionId, findings: Findings, leftAlone = false): object {
  const { report, differences, guards } = findings;
  const { list, more, compared } = differences;
  return {
    result: isWell(findings) && !leftAlone ? "ok" : "failed",
    election,
    compared: {
      sealed_records: compared.sealed,
      rows: compared.rows,
      stream_messages: compared.streamMessages,
      stream_records: compared.streamRecords,
    },
    differences: list.map((found) => ({
      kind: found.kind,
      shard: found.shard,
      sequence: found.sequence,
      last_sequence: found.lastSequence ?? found.sequence,
      index: found.index,
      checkpoint: found.checkpoint,
      problem: found.problem,
    })),
    more_differences: more,
    broken_guards: guards,
    evidence: findingsJson(report),
  };
}

export function describeReconciliation(findings: Findings, leftAlone = false): string[] {
  const { report, differences, guards } = findings;
  const { list, more, compared } = differences;
  const lines = [
    ...describeFindings(report),
    `compared: ${formatCount(compared.sealed)} sealed records with ${formatCount(compared.rows)} rows`,
  ];
  if (compared.streamMessages > 0) {
    const { streamRecords, streamMessages } = compared;
    lines.push(
      `compared: ${formatCount(streamRecords)} records in ${formatCount(streamMessages)} messages on the stream`,
    );
  }
  for (const found of list) lines.push(`DIFFERENCE ${describeDifference(found)}`);
  if (more > 0) lines.push(`and ${formatCount(more)} more differences`);
  for (const { instance, guard } of guards)
    lines.push(`DIFFERENCE ${instance}: ${guard} is not as the migrations made it`);
  const found = [
    ...(differences.none ? [] : [`${formatCount(list.length + more)} differences from the evidence`]),
    ...(guards.length === 0 ? [] : [`${guards.length} constraints or triggers are not as they were made`]),
    ...(leftAlone ? ["shards were left alone"] : []),
  ];
  if (!report.ok) lines.push("result: FAILED, the evidence itself does not verify: nothing follows from it");
  else if (found.length === 0) lines.push("result: ok");
  else lines.push(`result: FAILED, ${found.join(", ")}`);
  return lines;
}

/** An instance as it was planned, and what was done there. */
export interface RepairedInstance {
  readonly plan: InstancePlan;
  readonly repaired: InstanceRepaired;
}

export function describePlan({ instance, shards, guards }: InstancePlan): string[] {
  return [
    ...shards.map((plan) => {
      if (plan.kind === "refused") return `${instance}, shard ${plan.shard}: LEFT ALONE: ${plan.reason}`;
      const head = plan.head ? [`the head is put to sequence ${plan.head.sequence}`] : [];
      return `${instance}, shard ${plan.shard}: ${[...describeRows(plan.rows), ...head].join(", ")}`;
    }),
    ...guards.map((guard) => `${instance}: ${guard} is not as the migrations made it`),
  ];
}

export function describeRepaired({ plan, repaired }: RepairedInstance): string[] {
  const { instance } = plan;
  return [
    `${instance}: repaired; votes waited for ${Math.ceil(repaired.lockedMs)} ms`,
    ...repaired.left.map((guard) => `${instance}: LEFT ALONE: ${guard}`),
  ];
}

export function repairedJson({ plan, repaired }: RepairedInstance): object {
  const { instance, shards } = plan;
  return {
    instance,
    shards: shards
      .filter((shard) => shard.kind === "repair")
      .map(({ shard, rows, head }) => ({ shard, rows, head_sequence: head?.sequence })),
    guards: repaired.restored,
    guards_left: repaired.left,
    locked_ms: Math.ceil(repaired.lockedMs),
  };
}

/** The shards of which nothing is touched. */
export function leftAloneJson(plans: readonly InstancePlan[]): object[] {
  return plans.flatMap(({ instance, shards }) =>
    shards
      .filter((shard) => shard.kind === "refused")
      .map(({ shard, rows, reason }) => ({ instance, shard, rows, reason })),
  );
}

/** Why differences stay that no repair takes away, and what to do about them. */
export function describeRemaining({ differences }: Pick<ComparedElection, "differences">): string[] {
  const kinds = new Set(differences.list.map(({ kind }) => kind));
  if (!kinds.has("unsealed") && !kinds.has("voter")) return [];
  return [
    "rows after the sealed ones stay as they are: they may be acknowledged votes that are nowhere else, and the evidence does " +
      "not say what they should be. What the stream still has is sealed by AuditService, and can be put back then: run this " +
      'again. docs/operations.md, "Putting rows back", says what to do about the rest',
  ];
}

function describeRows(rows: DamagedRows): string[] {
  const kinds = [
    [rows.missing, "missing, put back"],
    [rows.changed, "changed, replaced"],
    [rows.moved, "moved, replaced"],
    [rows.duplicate, "doubled, removed"],
  ] as const;
  return kinds.filter(([count]) => count > 0).map(([count, what]) => `${formatCount(count)} rows ${what}`);
}

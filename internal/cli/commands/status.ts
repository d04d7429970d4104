import type { Command } from "commander";
import { SealingState } from "../../../gen/ts/psephos/audit/v1/audit_pb.js";
import type { ElectionId } from "../../core/ids.ts";
import { httpSource } from "../../verify/http-source.ts";
import type { Cli } from "../cli.ts";
import type { CliContext } from "../context.ts";
import { readPublished } from "../published.ts";
import { formatTable } from "../terminal.ts";
import { showElection, stateName } from "./election.ts";

export interface Status {
  readonly election: string;
  readonly state: string;
  readonly votes: number;
  /** Entries in AuditService's log; undefined when it cannot be asked. */
  readonly log_size: number | undefined;
  readonly sealing: string | undefined;
  readonly halted_because: string | undefined;
  /** Why nothing is sealed for the time being. */
  readonly waiting_because: string | undefined;
  /** Entries in the newest signed checkpoint that the public sees. */
  readonly published_size: number | undefined;
}

export function statusCommand(program: Command, { run }: Cli): void {
  program
    .command("status")
    .description("where an election stands: votes, log, signed checkpoint (operators)")
    .option("--election <id>", "the profile's unless given")
    .action((options: { readonly election?: string }) =>
      run(async (context) => {
        const status = await statusOf(context, context.election(options.election));
        return context.show(status, () => describe(status));
      }),
    );
}

/** Where an election stands in each part of the system. A part that does not answer is left out, not fatal. */
async function statusOf(context: CliContext, electionId: ElectionId): Promise<Status> {
  const election = await showElection(context, electionId);
  const head = await context
    .audit("operator")
    .getHead({ electionId })
    .then((answer) => answer.head)
    .catch(() => undefined);
  return {
    election: electionId,
    state: stateName(election),
    votes: Number(election.votes),
    log_size: head && Number(head.treeSize),
    sealing: head && (SealingState[head.state] ?? "unknown").toLowerCase(),
    halted_because: head?.haltedBecause || undefined,
    waiting_because: head?.waitingBecause || undefined,
    published_size: await publishedSize(context, electionId),
  };
}

function describe(status: Status): string {
  const rows = [
    ["election", status.election],
    ["state", status.state],
    ["votes", String(status.votes)],
    ["log entries", String(status.log_size ?? "unknown: AuditService does not answer")],
    ["sealing", status.sealing ?? "unknown"],
    ["signed and public", String(status.published_size ?? "nothing")],
  ];
  if (status.halted_because) rows.push(["HALTED", status.halted_because]);
  if (status.waiting_because) rows.push(["WAITING", status.waiting_because]);
  return formatTable(rows);
}

/** The size of the public checkpoint, verified with the manifest's key; undefined while there is none. */
export async function publishedSize(
  context: CliContext,
  electionId: ElectionId,
): Promise<number | undefined> {
  // One attempt: whoever waits for it asks again.
  const source = httpSource(context.setting("public"), electionId, { timeoutMs: 5_000, attempts: 1 });
  return readPublished(source, electionId).then(
    (published) => published?.checkpoint.size,
    () => undefined,
  );
}

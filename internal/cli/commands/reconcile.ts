import type { Command } from "commander";
import { parseLogKey, parseUrl } from "../arguments.ts";
import type { Cli } from "../cli.ts";
import { addEvidenceOptions } from "../evidence.ts";
import { ExitCode, UsageError } from "../exit-code.ts";
import { compareElection } from "../reconcile/compare-election.ts";
import { type RepairCommandOptions, repairElection } from "../reconcile/repair-election.ts";
import { describeReconciliation, isWell, reconciliationJson } from "../reconcile/report.ts";

interface ReconcileCommandOptions extends RepairCommandOptions {
  readonly election?: string;
  readonly repair: boolean;
}

const EXAMPLES = `
Examples:
  psephos reconcile                                       evidence = databases
  psephos reconcile --nats tls://localhost:4222           evidence = databases = what the stream still has
  psephos reconcile --shard-router shard-router.json      and constraints and triggers are as the migrations made them
  psephos reconcile --json | jq '.differences[]'
  psephos reconcile --repair --shard-router shard-router.json

The evidence is verified first, and is what is right: a difference is one of the database or of the stream. It is named by
shard, sequence, log index and vote checkpoint, never by voter or choice. Rows are read through ShardRouter, with the
auditor's identity; the stream, with the operator's.

--repair puts rows back as they were sealed, where all of the evidence verifies and is that of the public log, and with them
constraints and triggers that are missing; never the other way round. It shows what it would do, and goes on when the
election's id is typed, or with --yes. Rows after the sealed ones stay as they are. Voting goes on. shard-router.json says in
"migrate_tls" of each instance how to connect as psephos_owner. docs/operations.md, "Putting rows back", says what it leaves
alone, and what to do then.`;

export function reconcileCommand(program: Command, { run, stopSignal }: Cli): void {
  const reconcile = program
    .command("reconcile")
    .description(
      "compare the databases, and what the stream still has, with the evidence: every row changed, deleted, inserted or " +
        "moved (auditors); and put back what was sealed (operators)",
    )
    .option("--election <id>", "the profile's unless given")
    .option("--public <url>", "the public endpoint to compare with; the profile's unless given", parseUrl)
    .option("--no-public", "compare with nothing that is public")
    .option("--nats <url>", "also compare the stream, on tls://host:port; the profile's unless given")
    .option("--log-key <key>", "demand this verifier key instead of the one the manifest names", parseLogKey)
    .option("--repair", "put rows back as they were sealed, after a question", false)
    .option("--shard-router <file>", "ShardRouter's configuration: also compare the databases' constraints")
    .option("--yes", "with --repair: do not ask before writing", false)
    .addHelpText("after", EXAMPLES)
    .action((options: ReconcileCommandOptions) =>
      run(async (context) => {
        const electionId = context.election(options.election);
        const signal = stopSignal();
        if (options.repair) return repairElection(context, electionId, options, signal);
        if (options.yes) throw new UsageError("--yes is for --repair: without it nothing is written");
        const found = await compareElection(context, electionId, options, { signal });
        context.show(reconciliationJson(electionId, found), () => describeReconciliation(found).join("\n"));
        return isWell(found) ? ExitCode.ok : ExitCode.failed;
      }),
    );
  addEvidenceOptions(reconcile, "the evidence store; the profile's unless given");
}

import { type Command, Option } from "commander";
import type { BucketConfig } from "../../config/evidence.ts";
import { type BucketSetup, setUpBucket } from "../../worm/bucket-setup.ts";
import type { RetentionMode } from "../../worm/object-store.ts";
import { parseDays } from "../arguments.ts";
import type { Cli } from "../cli.ts";
import { addEvidenceOptions, bucketClient, type EvidenceOptions, evidencePlace } from "../evidence.ts";
import { ExitCode, UsageError } from "../exit-code.ts";
import type { Profile } from "../profile.ts";
import { formatTable } from "../terminal.ts";
import { wormProbeCommand } from "./worm-probe.ts";

interface InitOptions extends EvidenceOptions {
  readonly mode?: RetentionMode;
  readonly days?: number;
  readonly dryRun: boolean;
}

export function wormCommand(program: Command, cli: Cli): void {
  const { run } = cli;
  const worm = program
    .command("worm")
    .description("prepare and probe the bucket that evidence is kept in (operators)");

  const init = worm
    .command("init")
    .description(
      "make a bucket fit for evidence: Object Lock, versioning, default retention, lifecycle to Glacier, no public " +
        "access, and a policy against deletion. Whatever is so already stays; to repeat it does no harm. Exit status 1 " +
        "says that something is lacking",
    )
    .addOption(
      new Option("--mode <mode>", "of the default retention; COMPLIANCE unless given").choices([
        "COMPLIANCE",
        "GOVERNANCE",
      ]),
    )
    .option("--days <number>", "of the default retention; 3653, ten years, unless given", parseDays)
    .option("--dry-run", "look, and change nothing", false)
    .addHelpText("after", INIT_EXAMPLES)
    .action((options: InitOptions) =>
      run(async (context) => {
        const bucket = bucketPlace(options, context.profile);
        const { mode = bucket.retention.mode, days = bucket.retention.days, dryRun } = options;
        const retention = { mode, days };
        const setup = await setUpBucket({ ...(await bucketClient(bucket)), retention, dryRun });
        context.show({ dry_run: dryRun, ...setup }, () => describeSetup(setup));
        return setup.ok ? ExitCode.ok : ExitCode.failed;
      }),
    );
  addEvidenceOptions(init, "the bucket; the profile's unless given");
  wormProbeCommand(worm, cli);
}

const INIT_EXAMPLES = `
Examples:
  psephos worm init --evidence s3://town-evidence --s3-region eu-central-1
  psephos worm init --evidence s3://town-evidence --s3-endpoint https://s3.example.org --s3-ca ca.crt --dry-run

Credentials are the profile's, if its evidence is in that S3, or else those of the AWS environment: of an administrator, not
of AuditService, which is not to have these rights.`;

/** The bucket that is meant. */
export function bucketPlace(options: EvidenceOptions, profile: Profile | undefined): BucketConfig {
  const place = evidencePlace(options, profile);
  if (place?.s3) return place.s3;
  throw new UsageError("name the bucket with --evidence s3://bucket: a folder has no locks");
}

function describeSetup({ bucket, items, ok }: BucketSetup): string {
  const rows = items.map(({ item, state, detail }) => [item, state, detail]);
  const result = ok ? `bucket ${bucket}: ok` : `bucket ${bucket}: NOT FIT FOR EVIDENCE, see what is lacking`;
  return `${formatTable(rows)}\n${result}`;
}

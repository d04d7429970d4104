import { readFile } from "node:fs/promises";
import type { Command } from "commander";
import { z } from "zod";
import { messageOf } from "../../core/errors.ts";
import { bucketOptions } from "../../worm/open-evidence.ts";
import { CHECK_NAMES, checkOf } from "../../worm/probe/checks.ts";
import { formatReport, type Outcome, outcomeOf, type ProbeReport } from "../../worm/probe/report.ts";
import { DEFAULT_LOCK_SECONDS, S3Probe } from "../../worm/probe/s3-probe.ts";
import type { S3Credentials } from "../../worm/s3-client.ts";
import { parseLockSeconds } from "../arguments.ts";
import type { Cli } from "../cli.ts";
import { addEvidenceOptions, type EvidenceOptions, evidencePlace } from "../evidence.ts";
import { ExitCode, UsageError } from "../exit-code.ts";
import type { Profile } from "../profile.ts";
import { formatTable } from "../terminal.ts";

interface ProbeOptions extends EvidenceOptions {
  readonly adminCredentials?: string;
  readonly seconds: number;
  readonly lasting: boolean;
}

export function wormProbeCommand(worm: Command, { run, terminal, stopSignal }: Cli): void {
  const probe = worm
    .command("probe")
    .description(
      "attack a bucket as somebody would who wants evidence gone, on scratch objects of its own, and tell what held: by " +
        "what is left afterwards, not by what the server said",
    )
    .option("--admin-credentials <file>", "JSON: try with these as well; locks are to hold all the same")
    .option(
      "--seconds <number>",
      "how long its own locks last, 10 to 3600",
      parseLockSeconds,
      DEFAULT_LOCK_SECONDS,
    )
    .option(
      "--no-lasting",
      "leave out what leaves an object there for long, by the bucket's default or a hold, or tries its settings",
    )
    .addHelpText("after", PROBE_HELP)
    .action((options: ProbeOptions) =>
      run(async (context) => {
        const bucket = bucketToProbe(options, context.profile);
        const admin = options.adminCredentials && (await readCredentials(options.adminCredentials));
        await using probe = new S3Probe({
          ...(await bucketOptions(bucket)),
          ...(admin ? { admin } : {}),
          lockSeconds: options.seconds,
        });
        const signal = stopSignal();
        const progress = terminal.progress("probing", CHECK_NAMES.length);
        const report = await probe.run({
          lasting: options.lasting,
          signal,
          onResult: ({ check }) => progress.update(CHECK_NAMES.indexOf(check) + 1, check),
        });
        progress.end();
        terminal.data(context.json ? formatReport(report) : describe(report));
        return EXIT_CODES[outcomeOf(report)];
      }),
    );
  addEvidenceOptions(probe, "the bucket; the profile's unless given");
}

const EXIT_CODES: Readonly<Record<Outcome, ExitCode>> = {
  held: ExitCode.ok,
  critical: ExitCode.failed,
  unknown: ExitCode.unavailable,
  serious: ExitCode.weak,
};

const PROBE_HELP = `
Examples:
  psephos worm probe --evidence s3://town-evidence --s3-region eu-central-1
  psephos worm probe --admin-credentials admin.json --json
    admin.json: {"access_key_id":"…","secret_access_key":"…"}, and "session_token" where there is one

Credentials are the profile's, if its evidence is in that S3, or else those of the AWS environment: best those that
AuditService writes with. What they may not do at all they cannot prove: an administrator's show whether the locks hold.

Exit status 1: something critical did not hold, and evidence can be destroyed. 5: that held, something serious did not.
3: something could not be found out. What its table only notes does not count.`;

function bucketToProbe(options: EvidenceOptions, profile: Profile | undefined) {
  const place = evidencePlace(options, profile);
  if (place?.s3) return place.s3;
  throw new UsageError(
    place === undefined
      ? "name the bucket with --evidence s3://bucket"
      : `a directory cannot lock: there is nothing to probe in ${place.directory}`,
  );
}

const credentialsSchema = z.strictObject({
  access_key_id: z.string().min(1),
  secret_access_key: z.string().min(1),
  session_token: z.string().min(1).optional(),
});

/** Errors do not repeat what the file holds. */
async function readCredentials(path: string): Promise<S3Credentials> {
  const text = await readFile(path, "utf8").catch((error: unknown) => {
    throw new UsageError(`--admin-credentials cannot be read: ${messageOf(error)}`);
  });
  const { success, data } = credentialsSchema.safeParse(parseJson(text));
  if (!success) {
    throw new UsageError(
      `--admin-credentials: ${path} is not {"access_key_id":"…","secret_access_key":"…"}, with or without "session_token"`,
    );
  }
  const {
    access_key_id: accessKeyId,
    secret_access_key: secretAccessKey,
    session_token: sessionToken,
  } = data;
  return { accessKeyId, secretAccessKey, ...(sessionToken === undefined ? {} : { sessionToken }) };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const RESULTS: Readonly<Record<Outcome, string>> = {
  held: "all that is critical or serious held",
  critical: "EVIDENCE CAN BE DESTROYED HERE: something critical did not hold",
  unknown: "not all of it could be found out",
  serious: "what is critical held; something serious did not",
};

function describe(report: ProbeReport): string {
  const rows = report.results.map(({ check, as, severity, verdict, observed }) => [
    verdict === "broken" ? "BROKEN" : verdict,
    severity,
    as,
    checkOf(check).tried,
    observed,
  ]);
  const header = ["result", "severity", "as", "tried", "observed"];
  return `${formatTable([header, ...rows])}\n${report.store}: ${RESULTS[outcomeOf(report)]}`;
}

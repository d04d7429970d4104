import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import type { Command } from "commander";
import type { Choice } from "../../ballot/manifest.ts";
import { ChoiceOpener } from "../../ballot/opening.ts";
import type { TallyResult } from "../../ballot/tally.ts";
import { combineTallyShares, parseTallyShare, type TallyShare } from "../../ballot/trustees.ts";
import type { EvidenceConfig } from "../../config/evidence.ts";
import { messageOf } from "../../core/errors.ts";
import type { ElectionId } from "../../core/ids.ts";
import { pendingClosingCheckpoint } from "../../verify/closing-checkpoint.ts";
import type { VerifiedEvidence } from "../../verify/verify-evidence.ts";
import { parseLogKey, parseSeconds, parseTime } from "../arguments.ts";
import type { Cli } from "../cli.ts";
import { addEvidenceOptions, type EvidenceOptions, evidencePlace, openEvidence } from "../evidence.ts";
import { ExitCode, UnreachableError, UsageError } from "../exit-code.ts";
import { formatCount, formatTable, formatTime, type Terminal } from "../terminal.ts";
import { describeVerification, verificationJson } from "../verification.ts";
import { verifyElection } from "./verify.ts";

/** How often the evidence store is asked for what is not there yet. */
const POLL_MS = 250;

interface TallyOptions extends EvidenceOptions {
  readonly share: readonly string[];
  readonly election?: string;
  readonly logKey?: string;
  /** Milliseconds. */
  readonly wait: number;
  readonly asOf?: number;
}

export interface Count {
  readonly choices: readonly Choice[];
  readonly result: TallyResult;
}

export function tallyCommand(program: Command, { run, terminal }: Cli): void {
  const tally = program
    .command("tally")
    .description("verify the evidence and count it with the trustees' shares (trustees)")
    .requiredOption("--share <file...>", "trustees' share files, as many as the manifest asks for")
    .option("--election <id>", "the profile's unless given")
    .option("--log-key <key>", "demand this verifier key instead of the one the manifest names", parseLogKey)
    .option("--wait <seconds>", "how long to wait for the closing checkpoint", parseSeconds, 30_000)
    .option("--as-of <time>", "count the votes as they stood at that moment, ISO 8601", parseTime)
    .action((options: TallyOptions) =>
      run(async (context) => {
        // Before the minutes that verifying may take.
        const shares = await readShares(options.share);
        const electionId = context.election(options.election);
        const place = evidencePlace(options, context.profile) ?? context.setting("evidence");
        await untilClosingCheckpoint(terminal, electionId, place, options.wait);
        const verification = await verifyElection(terminal, {
          electionId,
          evidence: place,
          logKey: options.logKey,
          asOf: options.asOf,
        });
        const { report, evidence } = verification;
        if (!report.ok || !evidence) {
          for (const line of describeVerification(verification)) terminal.say(line);
          terminal.say("nothing was counted: the evidence does not verify");
          if (context.json) context.show(verificationJson(verification), () => "");
          return ExitCode.failed;
        }
        const closed = evidence.closing !== undefined;
        if (options.asOf !== undefined) terminal.say(`counting the votes as of ${formatTime(options.asOf)}`);
        if (!closed) terminal.say("the election is not closed: this counts the votes sealed so far");
        const asOf = options.asOf === undefined ? undefined : { as_of: formatTime(options.asOf) };
        const count = await countVotes(evidence, shares);
        return context.show({ closed, ...asOf, ...countJson(count) }, () => describeCount(count));
      }),
    );
  addEvidenceOptions(tally, "the evidence store; the profile's unless given");
}

/** An election that was closed a moment ago lacks its last signature, which is no fault of the evidence. */
async function untilClosingCheckpoint(
  terminal: Terminal,
  electionId: ElectionId,
  place: EvidenceConfig,
  waitMs: number,
): Promise<void> {
  await using store = await openEvidence(place);
  const key = await pendingClosingCheckpoint(store, electionId);
  if (key === undefined) return;
  const deadline = performance.now() + waitMs;
  if (waitMs > 0)
    terminal.say(`waiting up to ${waitMs / 1000} s for the closing checkpoint to be published …`);
  while (!(await store.get(key))) {
    if (performance.now() >= deadline) {
      throw new UnreachableError(
        `nothing was counted: the closing checkpoint of ${electionId} is not yet published (${key}): try again`,
      );
    }
    await sleep(POLL_MS);
  }
}

export async function readShares(files: readonly string[]): Promise<TallyShare[]> {
  return Promise.all(
    files.map(async (file) => {
      try {
        return parseTallyShare(await readFile(file));
      } catch (error) {
        throw new UsageError(`${file}: ${messageOf(error)}`, { cause: error });
      }
    }),
  );
}

/** Counts verified records with the trustees' shares. The tally key exists in this process for as long as it takes. */
export async function countVotes(evidence: VerifiedEvidence, shares: readonly TallyShare[]): Promise<Count> {
  const { manifest, tally } = evidence;
  const privateKey = await combineTallyShares(manifest, shares);
  const opener = await ChoiceOpener.create({ manifest, privateKey });
  return { choices: manifest.choices, result: await tally.count(opener) };
}

function countJson({ choices, result }: Count): object {
  return {
    counts: Object.fromEntries(choices.map(({ id }, index) => [id, result.counts[index] ?? 0])),
    spoilt: result.spoilt,
    voters: result.voters,
    records: result.records,
  };
}

function describeCount({ choices, result }: Count): string {
  const rows = choices.map(({ name }, index) => [name, formatCount(result.counts[index] ?? 0)]);
  const spoilt = Object.values(result.spoilt).reduce((sum, votes) => sum + votes, 0);
  return formatTable(
    [
      ["choice", "votes"],
      ...rows,
      ["(spoilt)", formatCount(spoilt)],
      ["all voters", formatCount(result.voters)],
    ],
    [1],
  );
}

import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { SealingState } from "../../gen/ts/psephos/audit/v1/audit_pb.js";
import { type Election, ElectionState } from "../../gen/ts/psephos/vote/v1/election_pb.js";
import { ServiceError } from "../core/errors.ts";
import { checkpointNumberOf } from "../evidence/layout.ts";
import { closeElection, showElection } from "./commands/election.ts";
import { castBallots } from "./commands/replay.ts";
import { publishedSize } from "./commands/status.ts";
import { countVotes, readShares } from "./commands/tally.ts";
import { verifyElection } from "./commands/verify.ts";
import type { CliContext } from "./context.ts";
import { createElection } from "./create-election.ts";
import type { DemoElection } from "./demo-election.ts";
import { ExitCode } from "./exit-code.ts";
import { formatCount } from "./terminal.ts";
import { describeVerification, type Verification } from "./verification.ts";

export interface DemoRun {
  readonly election: DemoElection;
  /** The state folder. */
  readonly home: string;
  /** When it all began, by performance.now(). */
  readonly started: number;
  readonly signal: AbortSignal;
}

interface Cast {
  readonly recorded: number;
  readonly refused: number;
  readonly seconds: number;
}

/** How long the closing checkpoint may take. */
const CLOSING_MS = 120_000;
const POLL_MS = 100;
/** The trustees who open the tally: any two of the three will do. */
const TRUSTEES = [1, 3];

/** Runs the election, from where it is to its result, and tells whether everything about it is right. */
export async function runDemo(context: CliContext, run: DemoRun): Promise<ExitCode> {
  const { terminal } = context;
  const { election, started } = run;
  const trustees = join(run.home, "trustees", election.id);
  const opened = await openElection(context, election, trustees);
  const cast =
    opened.state === ElectionState.OPEN ? await castAll(context, run) : noneToCast(context, opened);
  if (opened.state === ElectionState.OPEN) terminal.say("closing the election …");
  const closed = await closeElection(context, election.id);
  await untilPublished(context, run, Number(closed.votes));

  terminal.say("\nverifying from outside, by the public log and the evidence store alone:");
  const { verifierKey } = await context.digests("operator").getLogKey({ electionId: election.id });
  const verification = await verifyElection(terminal, {
    electionId: election.id,
    logKey: verifierKey,
    publicUrl: context.setting("public"),
    evidence: context.setting("evidence"),
    signal: run.signal,
  });
  for (const line of describeVerification(verification)) terminal.say(line);
  const matches = await openTally(context, election, trustees, verification);

  const refusedAll = cast === undefined || cast.refused === election.secondAttempts;
  const seconds = (performance.now() - started) / 1000;
  if (context.json) {
    terminal.data(
      JSON.stringify({
        election: election.id,
        cast: Number(closed.votes),
        refused: cast?.refused ?? 0,
        log_size: verification.log?.checkpoint.size ?? 0,
        vote_checkpoints: verification.report.checked.checkpoints,
        audit: verification.report.ok ? "ok" : "failed",
        tally_matches: matches,
        votes_per_second: cast ? Math.round(cast.recorded / cast.seconds) : null,
        seconds: Number(seconds.toFixed(1)),
      }),
    );
  }
  if (!refusedAll) terminal.say("\nA VOTER COULD VOTE TWICE: not every second attempt was refused");
  if (!verification.report.ok || !matches || !refusedAll) {
    terminal.say("\nTHE RESULT DOES NOT VERIFY: see above");
    return ExitCode.failed;
  }
  const result = election.isWhole ? "the certified result" : "what was cast";
  terminal.say(
    `\nevery vote is in the log once, and the count is ${result} (${seconds.toFixed(1)} s in all)`,
  );
  return ExitCode.ok;
}

/** The election as it is there, or a new one. */
async function openElection(context: CliContext, demo: DemoElection, trustees: string): Promise<Election> {
  try {
    return await showElection(context, demo.id);
  } catch (error) {
    if (!(error instanceof ServiceError && error.kind === "not-found")) throw error;
  }
  context.terminal.say(
    `creating the election ${demo.id}: ${demo.choices.length} choices; any 2 of 3 trustees can count it`,
  );
  const { id: electionId, title, choices } = demo;
  return createElection(context, { electionId, title, choices, trusteesFolder: trustees });
}

/** Casts what is not cast yet: a ballot that an interrupted run has cast is answered as it was then. */
async function castAll(context: CliContext, { election, signal }: DemoRun): Promise<Cast> {
  const cast = await castBallots(context, election.id, {
    ballots: election.votes(),
    total: election.ballots,
    signal,
  });
  const { recorded, refused, seconds } = cast;
  context.terminal.say(
    `cast ${formatCount(recorded)} ballots in ${seconds.toFixed(1)} s (${formatCount(Math.round(recorded / seconds))}/s); ` +
      `${formatCount(refused)} of ${formatCount(election.secondAttempts)} second attempts were refused`,
  );
  return cast;
}

function noneToCast({ terminal }: CliContext, { electionId, votes }: Election): undefined {
  terminal.say(
    `${electionId} is here already, closed with ${formatCount(Number(votes))} votes: nothing to cast`,
  );
}

/** Until the closed log is signed and public, and its last vote checkpoint in the evidence store. */
async function untilPublished(
  context: CliContext,
  { election, signal }: DemoRun,
  votes: number,
): Promise<void> {
  const electionId = election.id;
  const audit = context.audit("operator");
  const isPublic = async (size: number) => {
    const { head } = await audit.getHead({ electionId });
    if (head?.state !== SealingState.COMPLETE || Number(head.treeSize) !== size) return false;
    const firstNumber = BigInt(checkpointNumberOf(size - 1));
    const { checkpoints } = await audit.listCheckpoints({ electionId, firstNumber, limit: 1 });
    return checkpoints.length > 0;
  };
  // With the manifest's entry and the closing one; events may come to them.
  const least = votes + 2;
  const progress = context.terminal.progress("sealing and signing", least);
  const deadline = performance.now() + CLOSING_MS;
  for (let published = 0; ; await sleep(POLL_MS)) {
    signal.throwIfAborted();
    published = (await publishedSize(context, electionId)) ?? 0;
    progress.update(published);
    if (published >= least && (await isPublic(published))) return progress.end();
    if (performance.now() > deadline) {
      const { head } = await audit.getHead({ electionId });
      const why = head?.haltedBecause || "see the logs of audit-service and publisher";
      throw new Error(`the closing checkpoint was not published within ${CLOSING_MS / 1000} s: ${why}`);
    }
  }
}

/** Counts what was verified, and shows it beside what was cast. */
async function openTally(
  { terminal }: CliContext,
  election: DemoElection,
  trustees: string,
  { evidence }: Verification,
): Promise<boolean> {
  if (!evidence) return false;
  terminal.say(`\ntrustees ${TRUSTEES.join(" and ")} open the tally:`);
  const shares = await readShares(TRUSTEES.map((number) => join(trustees, `share-${number}.json`)));
  const { matches, table } = election.compare(await countVotes(evidence, shares));
  terminal.say(table);
  return matches;
}

import { mkdir, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { LocalStack } from "../../../deploy/local/stack.ts";
import { type Election, ElectionState } from "../../../gen/ts/psephos/vote/v1/election_pb.js";
import { ServiceError } from "../../core/errors.ts";
import { type ElectionId, electionId } from "../../core/ids.ts";
import { VERMONT_BALLOTS, VERMONT_CHOICES, VERMONT_TOTALS, vermontBallots } from "../../demo/vermont-2020.ts";
import { CliContext } from "../context.ts";
import { ExitCode } from "../exit-code.ts";
import type { Profile } from "../profile.ts";
import { formatCount, type Terminal } from "../terminal.ts";
import type { VoteToCast } from "../vote-caster.ts";
import { closeElection, createElection, showElection } from "./election.ts";
import { castBallots } from "./replay.ts";
import { publishedSize } from "./status.ts";
import { compareWithCertified, countVotes } from "./tally.ts";
import { describeVerification, verifyElection } from "./verify.ts";

export interface StartOptions {
  /** The state folder. */
  readonly home: string;
  /** Stop when the job is done instead of staying up. */
  readonly exit: boolean;
  readonly json: boolean;
}

const ELECTION = electionId("vermont-2020");
/** One ballot in so many is followed by a second attempt of the same voter. */
const SECOND_ATTEMPTS = 500;
/** How long the closing checkpoint may take. */
const CLOSING_MS = 120_000;

/**
 * The main job: a whole deployment on this machine, and a real election through it, cast, closed, verified from
 * outside and counted. Resolves to the exit code when asked to stop.
 */
export async function start(terminal: Terminal, options: StartOptions, stop: AbortSignal): Promise<ExitCode> {
  const started = performance.now();
  const home = resolve(options.home);
  const broken = new AbortController();
  const signal = AbortSignal.any([stop, broken.signal]);
  terminal.say("starting Postgres, NATS and the four services …");
  try {
    await using stack = await LocalStack.start({
      folder: home,
      progress: (message) => terminal.say(message),
      onUnexpectedExit: (error) => broken.abort(error),
    });
    signal.throwIfAborted();
    const profile = await writeProfile(stack, home);
    terminal.say(`all services are healthy (${seconds(started)} s); state is in ${options.home}`);
    await using context = new CliContext({ terminal, profile });
    const code = await runElection(context, options, { home, started, signal });
    if (!options.exit) await stayUp(context, options, signal);
    return code;
  } catch (error) {
    // Ctrl-C: everything is stopped by now.
    if (stop.aborted) return ExitCode.ok;
    if (broken.signal.aborted) throw broken.signal.reason;
    throw error;
  }
}

/** Tells the other commands where everything is. */
async function writeProfile(stack: LocalStack, home: string): Promise<Profile> {
  const { addresses, folders, trustDomain } = stack;
  const profile: Profile = {
    trust_domain: trustDomain,
    edge: addresses["vote-service"],
    rest: `https://${addresses.voteHttp}`,
    shard_router: addresses["shard-router"],
    audit: addresses["audit-service"],
    publisher: addresses.publisher,
    public: `http://${addresses.public}`,
    evidence: folders.evidence,
    identities: {
      operator: await stack.identity("operator/local"),
      client: await stack.identity("client/local"),
      auditor: await stack.identity("auditor/local"),
    },
    election: ELECTION,
  };
  await mkdir(home, { recursive: true });
  await writeFile(join(home, "profile.json"), `${JSON.stringify(profile, null, 2)}\n`, { mode: 0o600 });
  return profile;
}

interface Run {
  readonly home: string;
  readonly started: number;
  readonly signal: AbortSignal;
}

async function runElection(context: CliContext, options: StartOptions, run: Run): Promise<ExitCode> {
  const { terminal, profile } = context;
  const { home, started, signal } = run;
  const trustees = join(home, "trustees", ELECTION);
  const election = await openElection(context, trustees);

  const cast = await castVermont(context, election, signal);
  if (election.state !== ElectionState.CLOSED) terminal.say("closing the election …");
  const closed = await closeElection(context, ELECTION);
  const size = Number(closed.votes) + 2;
  await waitForPublished(context, ELECTION, size, signal);

  terminal.say("");
  const verification = await verifyElection(terminal, {
    electionId: ELECTION,
    publicUrl: profile.public,
    evidence: profile.evidence,
  });
  for (const line of describeVerification(verification)) terminal.say(line);

  const shares = [1, 3].map((number) => join(trustees, `share-${number}.json`));
  const tally =
    verification.evidence &&
    compareWithCertified(await countVotes(verification.evidence, shares), VERMONT_TOTALS);
  if (tally) terminal.say(`\n${tally.table}`);
  const ok = verification.report.ok && tally?.matches === true;

  if (options.json) {
    terminal.data(
      JSON.stringify({
        election: ELECTION,
        cast: Number(closed.votes),
        refused: cast.refused,
        log_size: verification.log?.checkpoint.size ?? 0,
        vote_checkpoints: verification.report.checked.checkpoints,
        audit: verification.report.ok ? "ok" : "failed",
        tally_matches: tally?.matches ?? false,
        votes_per_second: cast.seconds > 0 ? Math.round(cast.sent / cast.seconds) : null,
        seconds: Number(seconds(started)),
      }),
    );
  }
  terminal.say(
    ok
      ? `\nevery vote is in the log once, and the count is the certified result (${seconds(started)} s in all)`
      : "\nTHE RESULT DOES NOT VERIFY: see the problems above",
  );
  return ok ? ExitCode.ok : ExitCode.failed;
}

/** The election as it is there, or a new one. */
async function openElection(context: CliContext, trusteesFolder: string): Promise<Election> {
  try {
    return await showElection(context, ELECTION);
  } catch (error) {
    if (!(error instanceof ServiceError && error.kind === "not-found")) throw error;
  }
  context.terminal.say(
    `creating the election ${ELECTION}: ${VERMONT_CHOICES.length} choices, 2 of 3 trustees`,
  );
  return createElection(context, {
    electionId: ELECTION,
    title: "President of the United States, Vermont, 3 November 2020",
    choices: VERMONT_CHOICES,
    trusteesFolder,
  });
}

/** Casts what is not cast yet: a ballot cast before, by a run that was interrupted, is answered as it was then. */
async function castVermont(context: CliContext, election: Election, signal: AbortSignal) {
  if (election.state !== ElectionState.OPEN) {
    context.terminal.say(
      `the election ${ELECTION} is there with ${formatCount(Number(election.votes))} votes and closed: nothing to cast ` +
        "(npm start -- --reset begins anew)",
    );
    return { refused: 0, sent: 0, seconds: 0 };
  }
  const { recorded, refused, seconds } = await castBallots(
    context,
    ELECTION,
    ballots(),
    VERMONT_BALLOTS,
    signal,
  );
  context.terminal.say(
    `cast ${formatCount(recorded)} ballots in ${seconds.toFixed(1)} s (${formatCount(Math.round(recorded / seconds))}/s); ` +
      `${formatCount(refused)} second attempts were refused`,
  );
  return { refused, sent: recorded, seconds };
}

/** Every certified ballot; one in 500 is followed by its voter's attempt to vote again for somebody else. */
function* ballots(): Generator<VoteToCast, void, undefined> {
  let number = 0;
  for (const { voterId, choiceId } of vermontBallots()) {
    const vote = { voterId, choiceId, requestId: `ballot ${voterId}` };
    if (number++ % SECOND_ATTEMPTS > 0) {
      yield vote;
      continue;
    }
    const otherChoice = VERMONT_CHOICES.find(({ id }) => id !== choiceId)?.id ?? choiceId;
    yield {
      ...vote,
      secondAttempt: { voterId, choiceId: otherChoice, requestId: `second ballot ${voterId}` },
    };
  }
}

async function waitForPublished(
  context: CliContext,
  election: ElectionId,
  size: number,
  signal: AbortSignal,
): Promise<void> {
  const progress = context.terminal.progress("sealing and signing", size);
  const deadline = performance.now() + CLOSING_MS;
  while (true) {
    signal.throwIfAborted();
    const published = await publishedSize(context, election);
    progress.update(published ?? 0);
    if (published === size) break;
    if (performance.now() > deadline) {
      const head = await context.audit("operator").getHead({ electionId: election });
      const why = head.head?.haltedBecause || "see the logs of audit-service and publisher";
      throw new Error(`the closing checkpoint was not published within ${CLOSING_MS / 1000} s: ${why}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  progress.end();
}

async function stayUp(
  { terminal, profile }: CliContext,
  options: StartOptions,
  signal: AbortSignal,
): Promise<void> {
  terminal.say(
    [
      "",
      `public endpoint   ${profile.public}/${ELECTION}/checkpoint`,
      `gRPC edge         ${profile.edge} (mutual TLS; identities in ${options.home}/tls)`,
      `REST edge         ${profile.rest}`,
      "",
      "try next, in another terminal:",
      `  curl ${profile.public}/${ELECTION}/checkpoint`,
      "  npm run -s psephos -- verify",
      "  npm run -s psephos -- receipt 12345",
      "  npm run -s psephos -- --help",
      "",
      "Ctrl-C stops everything; the state stays",
    ].join("\n"),
  );
  await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
  signal.throwIfAborted();
}

function seconds(since: number): string {
  return ((performance.now() - since) / 1000).toFixed(1);
}

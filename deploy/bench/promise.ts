// What promising costs VoteService: two elections of one deployment, one with promises and one without, cast in turns; and the
// signing alone, by the size of the batch that one signature serves.
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import type { Manifest } from "../../internal/ballot/manifest.ts";
import { VoteCaster } from "../../internal/cli/vote-caster.ts";
import { electionId } from "../../internal/core/ids.ts";
import { promiseFile } from "../../internal/receipt/promise.ts";
import { ALGORITHM_ED25519, verifierKey } from "../../internal/tlog/note-verifier.ts";
import { PromiseKey } from "../../internal/vote/promise-key.ts";
import { LocalStack } from "../local/stack.ts";
import { TemporaryFolder } from "../local/temporary-folder.ts";
import { createBenchElection, voteClient } from "./bench-election.ts";
import { median, seconds } from "./measure.ts";
import { rounded, type Section, say } from "./section.ts";

const ROUNDS = 7;
/** Of an election, a round. */
const VOTES = 20_000;
const BATCHES = [1, 10, 100, 1_000];
/** Votes that each size of batch signs, a round: a tenth of a second for the smallest. */
const SIGNED = 2_000;

interface Cast {
  readonly votesPerSecond: number;
  /** Of VoteService's process, a vote. */
  readonly cpuMicros: number;
  /** How many votes an Append carried, on average: those that share a signature. */
  readonly batch: number;
}

interface Round {
  readonly off: Cast;
  readonly on: Cast;
}

interface Signing {
  readonly batch: number;
  /** A vote. */
  readonly micros: number;
  /** Of a promise as a file. */
  readonly bytes: number;
}

export const promise: Section = {
  name: "promise",
  heading: "Promises",
  async measure() {
    const signing = BATCHES.map(measureSigning);
    const rounds = await measureCasting();
    return { markdown: report(rounds, signing), json: { rounds, signing } };
  },
};

function report(rounds: readonly Round[], signing: readonly Signing[]): string {
  const row = (what: string, of: (round: Round) => Cast) => {
    const casts = rounds.map(of);
    const [rate, cpu, batch] = [
      median(casts.map(({ votesPerSecond }) => votesPerSecond)),
      median(casts.map(({ cpuMicros }) => cpuMicros)),
      median(casts.map((cast) => cast.batch)),
    ];
    return `| ${what} | ${rounded(rate)} | ${cpu.toFixed(0)} | ${batch.toFixed(0)} |`;
  };
  const ratios = (of: (cast: Cast) => number) => {
    const all = rounds.map(({ on, off }) => of(on) / of(off));
    return `**${median(all).toFixed(2)}** (${Math.min(...all).toFixed(2)} – ${Math.max(...all).toFixed(2)})`;
  };
  return `Votes cast over eight streams through the whole deployment, the client on the same machine, in ${ROUNDS} rounds: ${VOTES.toLocaleString("en-US")} votes of an
election without promises, and as many of one with them. Medians; the CPU is all of VoteService's process.

| election | votes/s | CPU of VoteService, µs a vote | votes a signature |
|---|---|---|---|
${row("without promises", ({ off }) => off)}
${row("with promises", ({ on }) => on)}

With promises, within a round, votes/s are ${ratios(({ votesPerSecond }) => votesPerSecond)} times, and CPU a vote ${ratios(({ cpuMicros }) => cpuMicros)} times, what they are
without. Signing alone, tree and paths included, in a process of its own:

| votes a signature | µs a vote | bytes a promise, as a file |
|---|---|---|
${signing.map(({ batch, micros, bytes }) => `| ${batch} | ${micros.toFixed(1)} | ${bytes} |`).join("\n")}`;
}

/** The elections in turns, so that whatever else the machine does, and all that the deployment has grown by, slows both. */
async function measureCasting(): Promise<Round[]> {
  await using resources = new AsyncDisposableStack();
  const folder = resources.use(await TemporaryFolder.create()).path;
  const stack = resources.use(await LocalStack.start({ folder: join(folder, "state") }));
  const client = await voteClient(stack, resources);
  const off = await createBenchElection(stack, resources, electionId("promises-off"));
  const on = await createBenchElection(stack, resources, electionId("promises-on"), { promises: true });
  const cast = (manifest: Manifest, round: number) => measureCast(stack, client, manifest, round);
  // Once before: compiled, connected, and caches filled.
  await cast(off, 0);
  await cast(on, 0);
  const rounds: Round[] = [];
  for (let round = 1; round <= ROUNDS; round++) {
    say(`round ${round} of ${ROUNDS}`);
    rounds.push({ off: await cast(off, round), on: await cast(on, round) });
  }
  return rounds;
}

async function measureCast(
  stack: LocalStack,
  client: Awaited<ReturnType<typeof voteClient>>,
  manifest: Manifest,
  round: number,
): Promise<Cast> {
  const caster = new VoteCaster({
    client,
    electionId: manifest.electionId,
    signal: new AbortController().signal,
  });
  const before = await readMetrics(stack);
  const taken = await seconds(async () => {
    await caster.cast(votesOf(round));
  });
  const after = await readMetrics(stack);
  if (caster.totals.recorded !== VOTES) throw new Error("not every vote was recorded");
  return {
    votesPerSecond: VOTES / taken,
    cpuMicros: ((after.cpuSeconds - before.cpuSeconds) * 1_000_000) / VOTES,
    batch: (after.votes - before.votes) / (after.batches - before.batches),
  };
}

function* votesOf(round: number) {
  for (let vote = 0; vote < VOTES; vote++) {
    yield { voterId: `voter ${round} ${vote}`, choiceId: "ada", requestId: `request ${vote}` };
  }
}

/** Of VoteService, since it started. */
async function readMetrics({ addresses }: LocalStack) {
  const response = await fetch(`http://${addresses.metrics["vote-service"]}/metrics`);
  const text = await response.text();
  const value = (name: string) => {
    const [, number] = new RegExp(`^${name}(?:\\{.*\\})? (\\S+)$`, "m").exec(text) ?? [];
    if (number === undefined) throw new Error(`vote-service has no metric ${name}`);
    return Number(number);
  };
  return {
    cpuSeconds: value("process_cpu_seconds_total"),
    votes: value("psephos_vote_append_batch_votes_sum"),
    batches: value("psephos_vote_append_batch_votes_count"),
  };
}

function measureSigning(batch: number): Signing {
  const key = new PromiseKey(randomBytes(32));
  const name = "psephos.local/promises-alone";
  const signer = key.signerFor({
    electionId: electionId("promises-alone"),
    title: "A benchmark",
    choices: [{ id: "ada", name: "Ada" }],
    shards: 16,
    revoting: "forbidden",
    opensAt: 0,
    closesAt: null,
    tallyKey: randomBytes(32),
    trustees: { shares: 3, threshold: 2 },
    logKey: verifierKey(name, ALGORITHM_ED25519, new PromiseKey(randomBytes(32)).publicKey),
    promises: { key: verifierKey(`${name}/promise`, ALGORITHM_ED25519, key.publicKey), delaySeconds: 60 },
  });
  if (!signer) throw new Error("the manifest names another key");
  const votes = Array.from({ length: batch }, (_, i) => ({ voteId: BigInt(i + 1), hash: randomBytes(32) }));
  const sign = () => signer.promise(votes, Date.now() * 1000);
  const rounds: number[] = [];
  for (let round = 0; round <= ROUNDS; round++) {
    const started = performance.now();
    for (let signed = 0; signed < SIGNED; signed += batch) sign();
    rounds.push(((performance.now() - started) * 1000) / SIGNED);
  }
  const [example] = sign();
  // The first round is not counted: it is compiled in it.
  return { batch, micros: median(rounds.slice(1)), bytes: example ? promiseFile(example).length : 0 };
}

// How long a vote takes from the call to a signed checkpoint that the public sees, under a steady load of the whole
// deployment on this machine. Each delay is counted from the moment that the vote was due, not from when a busy client
// got round to sending it, so that no stall hides the votes that waited behind it (coordinated omission).
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { decodeEntry } from "../../internal/ballot/entry.ts";
import { electionId, voteIdOf } from "../../internal/core/ids.ts";
import { openCheckpoint } from "../../internal/tlog/checkpoint.ts";
import { NoteVerifier } from "../../internal/tlog/note-verifier.ts";
import { readEntries } from "../../internal/tlog/read-entries.ts";
import { httpSource } from "../../internal/verify/http-source.ts";
import { LocalStack } from "../local/stack.ts";
import { TemporaryFolder } from "../local/temporary-folder.ts";
import { BENCH_SHARDS, createBenchElection, voteClient } from "./bench-election.ts";
import { type Section, say } from "./section.ts";

interface CheckpointDelay {
  readonly votesPerSecond: number;
  readonly votes: number;
  /** From when the vote was due to its answer, and to the checkpoint that covers it; milliseconds. */
  readonly answered: Percentiles;
  readonly published: Percentiles;
}

interface Percentiles {
  readonly p50: number;
  readonly p99: number;
  readonly most: number;
}

/** Votes a second, from a quiet afternoon to most of what two cores take. */
const LOADS = [500, 2_000, 5_000];
const SECONDS = 20;

export const checkpointDelay: Section = {
  name: "checkpoint-delay",
  heading: "From a vote to its signed checkpoint",
  async measure() {
    const results: CheckpointDelay[] = [];
    for (const load of LOADS) {
      say(`${load} votes/s`);
      results.push(await measureCheckpointDelay(load, SECONDS));
    }
    return { markdown: report(results), json: results };
  },
};

function report(results: readonly CheckpointDelay[]): string {
  const row = ({ votesPerSecond, answered, published }: CheckpointDelay) =>
    `| ${[votesPerSecond.toLocaleString("en-US"), ...[answered, published].map(inMs)].join(" | ")} |`;
  const inMs = ({ p50, p99, most }: Percentiles) => [p50, p99, most].map((ms) => ms.toFixed(0)).join(" / ");
  return `Votes over one stream at a steady rate for ${SECONDS} s, with the whole deployment and the client on this machine: until
the answer, and until the public sees a signed checkpoint that covers the vote. Both from when a vote was due, so that votes
behind a stall count as late (no coordinated omission). A checkpoint comes half a second after the first vote it covers,
unless told otherwise, so that 500 ms and what sealing takes is the most to expect.

| votes/s | answered p50 / p99 / most, ms | published p50 / p99 / most, ms |
|---|---|---|
${results.map(row).join("\n")}`;
}

const ID = electionId("checkpoint-delay");
/** Votes are due in ticks of this length, all of a tick at its beginning. */
const TICK_MS = 5;
/** A public reader asks for the checkpoint this often, so that a delay is at most so much too long. */
const POLL_MS = 5;
/** Connections, caches and compiled code get this long before anything counts. */
const WARM_UP_SECONDS = 5;
/** A log that takes longer to publish the last vote has not kept up. */
const DRAIN_MS = 30_000;

/** Casts so many votes a second for so many seconds, over streams, with everything on. */
async function measureCheckpointDelay(votesPerSecond: number, seconds: number): Promise<CheckpointDelay> {
  await using resources = new AsyncDisposableStack();
  const folder = resources.use(await TemporaryFolder.create()).path;
  const stack = resources.use(await LocalStack.start({ folder: join(folder, "state") }));
  const { logKey } = await createBenchElection(stack, resources, ID);
  const source = httpSource(`http://${stack.addresses.public}`, ID);

  const watching = new AbortController();
  const sightings = watchCheckpoint(source, logKey, watching.signal);
  const votes = await castSteadily(stack, resources, votesPerSecond, WARM_UP_SECONDS + seconds);
  const deadline = performance.now() + DRAIN_MS;
  while ((sightings.list.at(-1)?.size ?? 0) <= votes.length) {
    if (performance.now() > deadline) throw new Error(`not all votes were published in ${DRAIN_MS / 1000} s`);
    await sleep(POLL_MS);
  }
  watching.abort();
  await sightings.ended;

  const indexes = await logIndexes(source, sightings.list.at(-1)?.size ?? 0);
  const counted = votes.slice(WARM_UP_SECONDS * votesPerSecond);
  const seen = counted.map(({ id, due }) => {
    const index = indexes.get(id);
    const sighting = sightings.list.find(({ size }) => index !== undefined && size > index);
    if (!sighting) throw new Error("an acknowledged vote is not in the published log");
    return sighting.at - due;
  });
  return {
    votesPerSecond,
    votes: counted.length,
    answered: percentiles(counted.map(({ due, answered }) => answered - due)),
    published: percentiles(seen),
  };
}

interface TimedVote {
  readonly id: number;
  readonly due: number;
  readonly answered: number;
}

/** An open loop: what is due is sent, whatever is still unanswered. */
async function castSteadily(
  stack: LocalStack,
  resources: AsyncDisposableStack,
  votesPerSecond: number,
  seconds: number,
): Promise<TimedVote[]> {
  const client = await voteClient(stack, resources);
  const total = votesPerSecond * seconds;
  const started = performance.now();
  const dueAt = (vote: number) => {
    const exact = (vote * 1000) / votesPerSecond;
    return started + exact - (exact % TICK_MS);
  };
  async function* requests() {
    for (let vote = 0; vote < total; vote++) {
      const wait = dueAt(vote) - performance.now();
      if (wait > 0) await sleep(wait);
      yield {
        id: BigInt(vote),
        vote: {
          electionId: ID,
          voterId: `voter ${vote}`,
          requestId: `request ${vote}`,
          choice: { case: "candidateId" as const, value: "ada" },
        },
      };
    }
  }
  const votes: TimedVote[] = [];
  for await (const { id, outcome } of client.castVotes(requests())) {
    if (outcome.case !== "vote") throw new Error("a vote was refused: the load is more than it can take");
    const { voteId } = outcome.value;
    votes.push({ id: Number(voteId), due: dueAt(Number(id)), answered: performance.now() });
  }
  return votes.sort((a, b) => a.due - b.due);
}

/** When a reader first saw each size. */
function watchCheckpoint(source: ReturnType<typeof httpSource>, logKey: string, signal: AbortSignal) {
  const log = NoteVerifier.parse(logKey);
  const list: { size: number; at: number }[] = [];
  const watch = async () => {
    while (!signal.aborted) {
      const note = await source("checkpoint");
      const size = note ? openCheckpoint({ note, log }).checkpoint.size : 0;
      if (size > (list.at(-1)?.size ?? 0)) list.push({ size, at: performance.now() });
      await sleep(POLL_MS);
    }
  };
  return { list, ended: watch() };
}

/** Where in the log each vote is. */
async function logIndexes(
  source: ReturnType<typeof httpSource>,
  size: number,
): Promise<ReadonlyMap<number, number>> {
  const indexes = new Map<number, number>();
  for await (const { first, entries } of readEntries(source, 0, size)) {
    entries.forEach((bytes, offset) => {
      const entry = decodeEntry(bytes);
      if (entry.type === "vote")
        indexes.set(voteIdOf(entry.shard, entry.sequence, BENCH_SHARDS), first + offset);
    });
  }
  return indexes;
}

function percentiles(milliseconds: readonly number[]): Percentiles {
  const sorted = milliseconds.toSorted((a, b) => a - b);
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
  return { p50: at(0.5), p99: at(0.99), most: at(1) };
}

// Shards on two Postgres instances. One that is away takes its own shards' votes with it, and no others.
import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { manifestHash } from "../ballot/manifest.ts";
import { shardOf, VoterKey } from "../ballot/voter-key.ts";
import type { VoteToCast } from "../cli/vote-caster.ts";
import { fromBase64 } from "../core/bytes.ts";
import { ServiceError } from "../core/errors.ts";
import { type TestElection, TestStack, until, voteOf } from "./election-fixture.ts";

/** Which shards are on which of the two. */
const PLACEMENT = { "0-7": "postgres-0", "8-15": "postgres-1" };

/**
 * Nobody waits for a time limit of a call (5 s) or a vote (10 s) to hear of a server that refuses connections: it takes
 * VoteService's four attempts, 1.3 s, and whatever the machine is busy with.
 */
const ANSWERED_WITHIN_MS = 4_000;

let stack: TestStack;

beforeAll(async () => {
  stack = await TestStack.start({
    postgresInstances: 2,
    configure: {
      "shard-router": (config) => ({ ...config, placement: { ...config.placement, shards: PLACEMENT } }),
    },
  });
});
afterAll(() => stack?.[Symbol.asyncDispose]());

/** The instance that has a voter's shard. */
async function instances(election: TestElection): Promise<(ballot: VoteToCast) => 0 | 1> {
  const secret = await readFile(stack.stack.folders.voterSecretFile, "utf8");
  const key = VoterKey.derive(fromBase64(secret.trim()), manifestHash(election.manifest));
  return ({ voterId }) => (shardOf(key.pseudonym(voterId), election.manifest.shards) < 8 ? 0 : 1);
}

interface Attempt {
  readonly ballot: VoteToCast;
  /** Undefined when the vote is recorded. */
  readonly refusal: ServiceError | undefined;
  readonly milliseconds: number;
}

async function castAll(election: TestElection, ballots: readonly VoteToCast[]): Promise<Attempt[]> {
  const client = await election.voter();
  const began = performance.now();
  return await Promise.all(
    ballots.map(async (ballot) => {
      const refusal = await client.castVote(voteOf(election, ballot)).then(
        () => undefined,
        (error: unknown) => {
          if (error instanceof ServiceError) return error;
          throw error;
        },
      );
      return { ballot, refusal, milliseconds: performance.now() - began };
    }),
  );
}

function slowest(attempts: readonly Attempt[]): number {
  return Math.max(...attempts.map(({ milliseconds }) => milliseconds));
}

test.each([
  ["the control instance", 0],
  ["another instance", 1],
])(
  "%s is stopped: its shards' votes are UNAVAILABLE at once, and the others are recorded",
  async (_name, away) => {
    const election = await stack.createElection(`instances-${away}`);
    const instanceOf = await instances(election);
    const postgres = stack.stack.postgres[away];
    await election.cast(election.ballots(200));

    await postgres?.stop();
    const refused: VoteToCast[] = [];
    // Twice: when the router finds out, and when it knows.
    for (const moment of ["at first", "later"]) {
      const attempts = await castAll(election, election.ballots(300));
      const [there, gone] = [
        attempts.filter(({ ballot }) => instanceOf(ballot) !== away),
        attempts.filter(({ ballot }) => instanceOf(ballot) === away),
      ];
      expect(gone.length).toBeGreaterThan(80);
      expect(there.filter(({ refusal }) => refusal !== undefined)).toEqual([]);
      for (const { refusal } of gone) {
        expect(refusal).toMatchObject({ kind: "unavailable", reason: "SHARD_UNAVAILABLE" });
        expect(refusal?.retryDelayMs).toBeGreaterThan(0);
      }
      const times = { there: slowest(there), gone: slowest(gone) };
      console.log(moment, times);
      expect(times.gone).toBeLessThan(ANSWERED_WITHIN_MS);
      refused.push(...gone.map(({ ballot }) => ballot));
    }

    await postgres?.start();
    const totals = await election.cast([...refused, ...election.ballots(200)]);
    expect(totals).toMatchObject({ recorded: refused.length + 200, refused: 0 });
    await election.drain();
    await election.expectExactly();
  },
);

test("services that start while the control instance is down record the other one's votes, and none of a closed election", async () => {
  const [election, closed] = [await stack.createElection("restarted"), await stack.createElection("closed")];
  const instanceOf = await instances(election);
  await election.cast(election.ballots(100));
  await closed.cast(closed.ballots(100));
  await closed.drain();

  const [control] = stack.stack.postgres;
  await control?.stop();
  const { services } = stack.stack;
  await Promise.all([services["shard-router"].restart(), services["vote-service"].restart()]);
  const attempts = await castAll(election, election.ballots(300));
  const refused = attempts.filter(({ refusal }) => refusal !== undefined);
  expect(new Set(refused.map(({ ballot }) => instanceOf(ballot)))).toEqual(new Set([0]));
  expect(new Set(refused.map(({ refusal }) => refusal?.reason))).toEqual(new Set(["SHARD_UNAVAILABLE"]));
  expect(attempts.length - refused.length).toBeGreaterThan(80);
  // One for a shard of the control instance may be answered that its shard is away.
  await until("votes of the closed election are refused as such", () => isClosed(closed));

  await control?.start();
  await election.cast(refused.map(({ ballot }) => ballot));
  await election.drain();
  await election.expectExactly();
  await closed.expectExactly();
});

test("an election that cannot be closed everywhere takes no vote, and is closed when that is possible", async () => {
  const election = await stack.createElection("closing");
  await election.cast(election.ballots(100));
  const [, postgres] = stack.stack.postgres;
  await postgres?.stop();
  // The mesh repeats the call for some seconds, and whoever called may repeat it for as long as it takes.
  const closing = election.elections.closeElection({ electionId: election.id }).catch(() => {});
  await until("votes are refused", () => isClosed(election));
  await postgres?.start();
  await closing;
  await election.drain();
  await election.expectExactly();
});

/** Whether a vote is refused because the election is closed. */
async function isClosed(election: TestElection): Promise<boolean> {
  const [attempt] = await castAll(election, [election.ballot()]);
  return attempt?.refusal?.reason === "CLOSED";
}

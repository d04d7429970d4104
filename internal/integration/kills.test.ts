// SIGKILL, as a power failure, in the middle of the votes.
import { afterAll, beforeAll, expect, test } from "vitest";
import type { ServerProcess } from "../../deploy/local/process.ts";
import type { LocalStack } from "../../deploy/local/stack.ts";
import { TestStack } from "./election-fixture.ts";

let stack: TestStack;

beforeAll(async () => {
  stack = await TestStack.start();
});
afterAll(() => stack?.[Symbol.asyncDispose]());

interface Victim {
  readonly name: string;
  readonly find: (stack: LocalStack) => ServerProcess | undefined;
  /** Votes under way on each stream: many where the kill itself holds the next ones back. */
  readonly window: number;
  /** Whether those who cast must send votes again. What is behind the answer must not be noticed at all. */
  readonly noticed: boolean | undefined;
}

const VICTIMS: readonly Victim[] = [
  { name: "vote-service", find: (at) => at.services["vote-service"], window: 50, noticed: true },
  // These two may be back before VoteService has given up repeating.
  { name: "shard-router", find: (at) => at.services["shard-router"], window: 50, noticed: undefined },
  { name: "postgres", find: (at) => at.postgres[0], window: 50, noticed: undefined },
  { name: "nats", find: (at) => at.nats, window: 4, noticed: false },
  { name: "audit-service", find: (at) => at.services["audit-service"], window: 4, noticed: false },
  { name: "publisher", find: (at) => at.services.publisher, window: 4, noticed: false },
];

test.each(VICTIMS)("$name is killed: the log ends with exactly the acknowledged votes", async (victim) => {
  const election = await stack.createElection(`kill-${victim.name}`);
  const server = victim.find(stack.stack);
  if (server === undefined) throw new Error(`there is no ${victim.name}`);
  const casting = await election.startCasting({ window: victim.window });
  for (let round = 0; round < 2; round++) {
    await casting.acknowledged(200);
    await server.kill();
    await server.start();
  }
  await casting.acknowledged(200);
  const { retried } = await casting.stop();
  if (victim.noticed !== undefined) expect(retried > 0).toBe(victim.noticed);
  await election.drain();
  await election.expectExactly();
});

test("everything is killed at once: the log ends with exactly the acknowledged votes", async () => {
  const election = await stack.createElection("kill-all");
  const { services, postgres, nats } = stack.stack;
  const casting = await election.startCasting({ window: 50 });
  await casting.acknowledged(500);
  await Promise.all([...Object.values(services), ...postgres, nats].map((server) => server.kill()));
  for (const layer of [
    [...postgres, nats],
    [services["shard-router"], services.publisher],
    [services["vote-service"], services["audit-service"]],
  ]) {
    await Promise.all(layer.map((server) => server.start()));
  }
  await casting.acknowledged(200);
  await casting.stop();
  await election.drain();
  await election.expectExactly();
});

// NATS is transport only: without it, or after the loss of all its data, the audit reads the shards.
import { afterAll, beforeAll, expect, test } from "vitest";
import { TestStack, until } from "./election-fixture.ts";

let stack: TestStack;

beforeAll(async () => {
  stack = await TestStack.start();
});
afterAll(() => stack?.[Symbol.asyncDispose]());

/** Records that AuditService read from the shards because the stream did not bring them. */
function fetchedRecords(): Promise<number> {
  return stack.metric("audit-service", "psephos_audit_fetched_records_total");
}

/** Whether ShardRouter has no record left to publish. */
async function isPublished(): Promise<boolean> {
  const waiting = await stack.metric("shard-router", "psephos_shard_unpublished_records");
  return waiting + (await stack.metric("shard-router", "psephos_shard_behind_shards")) === 0;
}

test("NATS is stopped for a while: votes are sealed meanwhile, from the shards, and after it from the stream", async () => {
  const { nats } = stack.stack;
  const election = await stack.createElection("stream-stopped");
  const casting = await election.startCasting();
  await casting.acknowledged(200);
  const before = await fetchedRecords();

  await nats.stop();
  await casting.acknowledged(200);
  const { size } = election.ledger;
  await until("what was cast without NATS is public", async () => (await election.publishedSize()) > size);
  expect(await fetchedRecords()).toBeGreaterThan(before);

  await nats.start();
  await casting.acknowledged(200);
  await casting.stop();
  await election.drain();
  await election.expectExactly();
});

test("NATS is killed in the middle of the votes and its data wiped: nothing is lost", async () => {
  const { nats } = stack.stack;
  const election = await stack.createElection("stream-wiped");
  const casting = await election.startCasting({ window: 50 });
  for (let round = 0; round < 2; round++) {
    await casting.acknowledged(500);
    await nats.kill();
    await nats.wipe();
    await nats.start();
  }
  await casting.acknowledged(500);
  await casting.stop();
  await election.drain();
  await election.expectExactly();
});

test("what the stream had and nobody had consumed when it was wiped is read from the shards", async () => {
  const { nats, services } = stack.stack;
  const election = await stack.createElection("stream-lost");
  const casting = await election.startCasting();
  await casting.acknowledged(100);
  const before = await fetchedRecords();

  const { pid } = services["audit-service"];
  if (pid === undefined) throw new Error("audit-service is not there");
  process.kill(pid, "SIGSTOP");
  try {
    await casting.acknowledged(1_000);
    await casting.stop();
    await until("the stream has all records", isPublished);
    await nats.kill();
    await nats.wipe();
    await nats.start();
  } finally {
    process.kill(pid, "SIGCONT");
  }

  await election.drain();
  await election.expectExactly();
  // All but the few messages of a few votes each that were on their way into the process when it was frozen.
  expect((await fetchedRecords()) - before).toBeGreaterThan(500);
});

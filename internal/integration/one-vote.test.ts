// The one-vote rule and idempotence, as the callers of a whole deployment meet them.
import { afterAll, beforeAll, expect, test } from "vitest";
import type { CastVoteResponse } from "../../gen/ts/psephos/vote/v1/vote_pb.js";
import { ServiceError } from "../core/errors.ts";
import { TestTcpProxy } from "../shard/test-tcp-proxy.ts";
import { refusalOf, type TestElection, TestStack, until, voteOf } from "./election-fixture.ts";
import type { CastingClient } from "./ledger.ts";

let stack: TestStack;

beforeAll(async () => {
  stack = await TestStack.start();
});
afterAll(() => stack?.[Symbol.asyncDispose]());

const ATTEMPTS = 200;

/** Attempts of one voter, all on their way at once, over eight connections. */
async function attempt(
  election: TestElection,
  requestOf: (index: number) => string,
): Promise<{ recorded: CastVoteResponse[]; refused: ServiceError[] }> {
  const clients = await Promise.all(Array.from({ length: 8 }, () => election.voter()));
  const ballot = election.ballot();
  const attempts = Array.from({ length: ATTEMPTS }, (_, index) => {
    const client = clients[index % clients.length] as CastingClient; // within its length
    return client.castVote(voteOf(election, { ...ballot, requestId: requestOf(index) }));
  });
  const recorded: CastVoteResponse[] = [];
  const refused: ServiceError[] = [];
  for (const result of await Promise.allSettled(attempts)) {
    if (result.status === "fulfilled") recorded.push(result.value);
    else if (result.reason instanceof ServiceError) refused.push(result.reason);
    else throw result.reason;
  }
  return { recorded, refused };
}

/** A repetition is promised again, and is the same in everything else. */
function withoutPromise(answer: CastVoteResponse | undefined) {
  if (!answer?.promise) throw new Error("it is not recorded and promised");
  return { ...answer, promise: undefined };
}

test("of 200 concurrent attempts by one voter, one is recorded", async () => {
  const election = await stack.createElection("one-vote");
  const { recorded, refused } = await attempt(election, (index) => `attempt ${index}`);
  expect(recorded).toHaveLength(1);
  expect(refused).toHaveLength(ATTEMPTS - 1);
  const answers = new Set(refused.map(({ kind, reason }) => `${kind} ${reason}`));
  expect([...answers]).toEqual(["already-exists ALREADY_VOTED"]);
  await election.drain();
  await election.expectExactly();
});

test("200 concurrent repetitions of one request are one vote with one answer", async () => {
  const election = await stack.createElection("one-request");
  const { recorded, refused } = await attempt(election, () => "the same");
  expect(refused).toEqual([]);
  expect(recorded).toHaveLength(ATTEMPTS);
  for (const answer of recorded) expect(withoutPromise(answer)).toEqual(withoutPromise(recorded[0]));
  await election.drain();
  await election.expectExactly();
});

test("votes whose answers were lost are the same votes when they are repeated", async () => {
  const election = await stack.createElection("lost-answer");
  const [, port] = stack.stack.addresses["vote-service"].split(":");
  await using proxy = await TestTcpProxy.to(Number(port));
  const cutOff = await election.voter(`127.0.0.1:${proxy.port}`);
  await cutOff.castVote(voteOf(election, election.ballot())); // The connection is there.

  const ballots = election.ballots(50);
  const votes = ballots.map((ballot) => voteOf(election, ballot));
  proxy.swallowAnswers();
  const answers = Promise.allSettled(votes.map((vote) => cutOff.castVote(vote)));
  await until("the votes are recorded", async () => (await election.recorded()) === 51);
  proxy.refusing = true;
  proxy.cut();
  const lost = (await answers).map((answer) => answer.status === "rejected" && answer.reason.kind);
  expect(lost).toEqual(votes.map(() => "unavailable"));

  const client = await election.voter();
  const again = await Promise.all(votes.map((vote) => client.castVote(vote)));
  expect(again.map(({ revision }) => revision)).toEqual(votes.map(() => 1));
  expect(await election.recorded()).toBe(51);
  const changed = await refusalOf(client.castVote({ ...votes[0], requestId: "another" }));
  expect([changed.kind, changed.reason]).toEqual(["already-exists", "ALREADY_VOTED"]);
  await election.drain();
  await election.expectExactly();
});

test("last-counts keeps every revision and counts the last", async () => {
  const election = await stack.createElection("last-counts", { revoting: "last-counts" });
  const client = await election.voter();
  const { voterId } = election.ballot();
  const revisions = [];
  for (const choiceId of ["ada", "eve", "bob"]) {
    const vote = voteOf(election, { voterId, choiceId, requestId: `for ${choiceId}` });
    const answer = await client.castVote(vote);
    revisions.push(answer.revision);
    expect(withoutPromise(await client.castVote(vote))).toEqual(withoutPromise(answer));
  }
  expect(revisions).toEqual([1, 2, 3]);
  expect(election.ledger.counts(["ada", "bob", "eve"])).toEqual([0, 1, 0]);
  await election.cast(election.ballots(50));
  await election.drain();
  await election.expectExactly();
});

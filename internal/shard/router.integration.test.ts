// The write path over two real Postgres servers, which all tests share: each has elections of its own.
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { Client } from "pg";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import {
  AppendOutcome,
  AppendRequestSchema,
  CloseElectionRequestSchema,
  ConfirmSealedRequestSchema,
  CreateElectionRequestSchema,
  ElectionState,
  GetElectionRequestSchema,
  HeadsRequestSchema,
  ReadChainRequestSchema,
} from "../../gen/ts/psephos/shard/v1/shard_pb.js";
import { ChainVerifier, genesisHeads } from "../ballot/chain.ts";
import { encodeManifest, type Manifest } from "../ballot/manifest.ts";
import { testManifest } from "../ballot/test-manifest.ts";
import { toHex } from "../core/bytes.ts";
import { type Clock, systemClock } from "../core/clock.ts";
import { electionId, sequence, shardId } from "../core/ids.ts";
import { asHash, sha256 } from "../core/sha256.ts";
import { TestPostgres } from "../postgres/test-postgres.ts";
import { type TestPublisher, TestRouter, type TestRouterOptions, testContext } from "./test-router.ts";
import { TestTcpProxy } from "./test-tcp-proxy.ts";
import { testVote } from "./test-votes.ts";

/** Asks until the answer is as expected, for longer than two busy cores ever take. */
const eventually = <T>(ask: () => T) => expect.poll(ask, { timeout: 10_000 });

let postgres: TestPostgres;
let routers: readonly [TestRouter, TestRouter];
let elections = 0;

beforeAll(async () => {
  postgres = await TestPostgres.start(2);
  routers = [await TestRouter.start(postgres), await TestRouter.start(postgres)];
});

afterAll(async () => {
  for (const router of routers) await router[Symbol.asyncDispose]();
  await postgres[Symbol.asyncDispose]();
});

/** A router that lives as long as the test. */
async function startRouter(options?: TestRouterOptions): Promise<TestRouter> {
  const router = await TestRouter.start(postgres, options);
  onTestFinished(() => router[Symbol.asyncDispose]());
  return router;
}

async function createElection({ router }: TestRouter, overrides: Partial<Manifest> = {}): Promise<Manifest> {
  const manifest = testManifest({ electionId: electionId(`e-${++elections}`), ...overrides });
  await router.createElection(create(CreateElectionRequestSchema, { manifest: encodeManifest(manifest) }));
  return manifest;
}

const closeElection = ({ router }: TestRouter, { electionId }: Manifest) =>
  router.closeElection(create(CloseElectionRequestSchema, { electionId }));

const headsOf = ({ router }: TestRouter, { electionId }: Manifest) =>
  router.heads(create(HeadsRequestSchema, { electionId }));

const confirmSealed = (
  { router }: TestRouter,
  { electionId }: Manifest,
  shards: MessageInitShape<typeof ConfirmSealedRequestSchema>["shards"],
) => router.confirmSealed(create(ConfirmSealedRequestSchema, { electionId, ...(shards ? { shards } : {}) }));

async function* readChain(
  { router }: TestRouter,
  { electionId }: Manifest,
  range: Omit<MessageInitShape<typeof ReadChainRequestSchema>, "electionId" | "$typeName">,
) {
  for await (const { run } of router.readChain(create(ReadChainRequestSchema, { electionId, ...range }))) {
    for (const [index, record] of run.records.entries()) {
      yield { ...record, sequence: Number(run.firstSequence) + index };
    }
  }
}

/** Recomputes every chain of an election from its genesis. Returns `<election>/<shard>/<sequence>` to hash. */
async function verifyChains(router: TestRouter, manifest: Manifest): Promise<Map<string, string>> {
  const heads = genesisHeads(sha256(encodeManifest(manifest)), manifest.shards);
  const verifier = new ChainVerifier({ heads });
  const records = new Map<string, string>();
  for (let shard = 0; shard < manifest.shards; shard++) {
    for await (const record of readChain(router, manifest, { shard, firstSequence: 1n })) {
      verifier.accept({
        shard: shardId(shard),
        sequence: sequence(record.sequence),
        voterPseudonym: record.voterPseudonym,
        revision: record.revision,
        sealedChoice: record.sealedChoice,
        castAt: Number(record.castAtMicros),
        hash: asHash(record.hash),
      });
      records.set(`${manifest.electionId}/${shard}/${record.sequence}`, toHex(record.hash));
    }
  }
  const stored = await headsOf(router, manifest);
  const seen = (head: { sequence: number | bigint; hash: Uint8Array }) => [
    Number(head.sequence),
    toHex(head.hash),
  ];
  expect(stored.heads.map(seen)).toEqual(verifier.heads.map(seen));
  return records;
}

/** Resolves when a publisher has every record of an election, and checks that it has them as they are. */
async function expectPublished(
  publishers: readonly TestPublisher[],
  records: Map<string, string>,
): Promise<void> {
  const missing = () =>
    [...records.keys()].filter((key) => !publishers.some((each) => each.records.has(key)));
  await eventually(() => missing().length).toBe(0);
  for (const publisher of publishers) {
    for (const [key, hash] of publisher.records) expect(records.get(key) ?? hash).toBe(hash);
  }
}

/** How many records of an election a router has published. */
const publishedOf = ({ publisher }: TestRouter, { electionId }: Manifest) =>
  [...publisher.records.keys()].filter((key) => key.startsWith(`${electionId}/`)).length;

const voters = (count: number, prefix = "v") =>
  Array.from({ length: count }, (_, index) => `${prefix}-${index}`);
const count = (outcomes: readonly string[], outcome: string) =>
  outcomes.filter((each) => each === outcome).length;

describe("elections", () => {
  test("are created once, and again only as they are", async () => {
    const [router] = routers;
    const manifest = await createElection(router);
    const request = (manifest: Manifest) =>
      create(CreateElectionRequestSchema, { manifest: encodeManifest(manifest) });
    const [again, atOnce] = await Promise.all([
      router.router.createElection(request(manifest)),
      router.router.createElection(request(manifest)),
    ]);
    expect(again).toEqual(atOnce);
    expect(again.election).toMatchObject({ electionId: manifest.electionId, state: ElectionState.OPEN });
    const other = request({ ...manifest, title: "Another" });
    await expect(router.router.createElection(other)).rejects.toMatchObject({
      kind: "already-exists",
      reason: "ELECTION_EXISTS",
    });
    const { elections } = await router.router.listElections();
    expect(elections.filter((each) => each.electionId === manifest.electionId)).toEqual([again.election]);
    const { heads, state } = await headsOf(router, manifest);
    expect(state).toBe(ElectionState.OPEN);
    expect(heads.map((head) => [head.shard, head.sequence, toHex(head.hash)])).toEqual(
      genesisHeads(sha256(encodeManifest(manifest)), 16).map((head) => [head.shard, 0n, toHex(head.hash)]),
    );
  });

  test("say what is broken of their instances, a hundred rules of each, and nothing of one nobody has looked at", async () => {
    const names = postgres.servers.map((_, index) => `pg${index}`);
    const [first = "", second = ""] = names;
    const rules = Array.from({ length: 200 }, (_, number) => `the constraint ${number} of records`);
    const brokenGuards = new Map([[first, []]]) as Map<string, readonly string[]>;
    const router = await startRouter({ brokenGuards });
    const manifest = await createElection(router);
    expect((await headsOf(router, manifest)).guards).toEqual([{ instance: first, broken: [] }]);
    brokenGuards.set(second, rules).set("another", rules);
    expect((await headsOf(router, manifest)).guards).toEqual([
      { instance: first, broken: [] },
      { instance: second, broken: rules.slice(0, 100) },
    ]);
  });

  test("that do not exist, or whose manifest is no manifest, are refused", async () => {
    const [{ router }] = routers;
    const unknown = { electionId: "nobody" };
    const notFound = { kind: "not-found", reason: "UNKNOWN_ELECTION" };
    await expect(router.getElection(create(GetElectionRequestSchema, unknown))).rejects.toMatchObject(
      notFound,
    );
    await expect(router.append(create(AppendRequestSchema, unknown), testContext())).rejects.toMatchObject(
      notFound,
    );
    await expect(router.closeElection(create(CloseElectionRequestSchema, unknown))).rejects.toMatchObject(
      notFound,
    );
    await expect(router.heads(create(HeadsRequestSchema, { electionId: "No!" }))).rejects.toMatchObject({
      kind: "invalid-argument",
      fields: [{ field: "election_id" }],
    });
    const manifest = new TextEncoder().encode("{}");
    await expect(
      router.createElection(create(CreateElectionRequestSchema, { manifest })),
    ).rejects.toMatchObject({ kind: "invalid-argument", reason: "INVALID_MANIFEST" });
  });
});

describe("append", () => {
  test("of 200 requests of one voter at once, over two routers, one is recorded", async () => {
    const manifest = await createElection(routers[0]);
    const attempts = Array.from({ length: 200 }, (_, index) => {
      const router = index % 2 === 0 ? routers[0] : routers[1];
      return router.append(manifest, [testVote(manifest, "the voter", `request ${index}`)]);
    });
    const outcomes = (await Promise.all(attempts)).flat().map(({ outcome }) => AppendOutcome[outcome]);
    expect(count(outcomes, "RECORDED")).toBe(1);
    expect(count(outcomes, "ALREADY_VOTED")).toBe(199);
    expect(await verifyChains(routers[0], manifest)).toHaveProperty("size", 1);
  });

  test("where the last vote counts, all of them are, each its own revision", async () => {
    const manifest = await createElection(routers[0], { revoting: "last-counts" });
    const attempts = Array.from({ length: 100 }, (_, index) => {
      const router = index % 2 === 0 ? routers[0] : routers[1];
      return router.append(manifest, [testVote(manifest, "the voter", `request ${index}`)]);
    });
    const results = (await Promise.all(attempts)).flat();
    const revisions = results.map(({ revision }) => revision ?? 0).sort((a, b) => a - b);
    expect(revisions).toEqual(Array.from({ length: 100 }, (_, index) => index + 1));
    const repeated = await routers[1].append(manifest, [testVote(manifest, "the voter", "request 7")]);
    expect(repeated).toEqual([results[7]]);
    expect(await verifyChains(routers[0], manifest)).toHaveProperty("size", 100);
  });

  test("the same batch through two routers at once is recorded once and answered twice alike", async () => {
    const manifest = await createElection(routers[0]);
    const votes = voters(300).map((voter) => testVote(manifest, voter));
    const answers = await Promise.all(routers.map((router) => router.append(manifest, votes)));
    expect(answers[0]).toEqual(answers[1]);
    expect(new Set(answers[0]?.map(({ voteId }) => voteId)).size).toBe(300);
    expect(await routers[0].append(manifest, votes)).toEqual(answers[0]);
    expect(await verifyChains(routers[1], manifest)).toHaveProperty("size", 300);
  });

  test("two routers at full tilt make dense chains, and publish every record", async () => {
    const manifest = await createElection(routers[0]);
    // What a busy machine cannot do in time is UNAVAILABLE, and when it is repeated the same vote.
    const cast = (router: TestRouter, batch: readonly string[]) =>
      eventually(() => router.vote(manifest, batch)).toEqual(batch.map(() => "RECORDED"));
    await Promise.all(
      routers.flatMap((router, r) =>
        Array.from({ length: 12 }, (_, batch) => cast(router, voters(150, `r${r}-b${batch}`))),
      ),
    );
    const records = await verifyChains(routers[0], manifest);
    expect(records.size).toBe(2 * 12 * 150);
    await expectPublished(
      routers.map(({ publisher }) => publisher),
      records,
    );
  });

  test("refuses what is malformed, naming the field, and what is too much", async () => {
    const [router] = routers;
    const manifest = await createElection(router);
    const good = testVote(manifest, "a");
    await expect(
      router.append(manifest, [
        good,
        { ...good, voterPseudonym: new Uint8Array(31), requestToken: new Uint8Array() },
      ]),
    ).rejects.toMatchObject({
      kind: "invalid-argument",
      fields: [{ field: "votes[1].voter_pseudonym" }, { field: "votes[1].request_token" }],
    });
    await expect(router.append(manifest, new Array(1_001).fill(good))).rejects.toMatchObject({
      kind: "resource-exhausted",
      reason: "BATCH_TOO_LARGE",
    });
    expect(await router.append(manifest, [])).toEqual([]);
    expect(await verifyChains(router, manifest)).toHaveProperty("size", 0);
  });
});

test("a router that runs on while elections are renumbered appends to no other election's chain", async () => {
  // It stands for a restore: each instance's tables know the two by each other's numbers.
  const router = await startRouter();
  const [one, other] = [await createElection(router), await createElection(router)];
  for (const manifest of [one, other]) expect(await router.vote(manifest, ["a"])).toEqual(["RECORDED"]);
  for (const index of postgres.servers.keys()) await swapNumbers(one, other, index);

  expect(await router.vote(one, voters(40))).toEqual(voters(40).map(() => "UNAVAILABLE"));
  for (const manifest of [one, other]) {
    await eventually(() => router.vote(manifest, voters(40))).toEqual(voters(40).map(() => "RECORDED"));
    expect(await verifyChains(router, manifest)).toHaveProperty("size", 41);
  }
});

async function swapNumbers(one: Manifest, other: Manifest, index: number): Promise<void> {
  const ids = [one.electionId, other.electionId];
  const numbers = await postgres.query<{ election: number }>(
    "postgres",
    "SELECT election FROM election_copies WHERE election_id = ANY($1) ORDER BY election",
    [ids],
    index,
  );
  const [a, b] = numbers.map(({ election }) => election);
  const run = (text: string, values: unknown[]) => postgres.query("postgres", text, values, index);
  for (const table of ["shard_heads", "records"]) {
    await run(`UPDATE ${table} SET election = -election WHERE election IN ($1, $2)`, [a, b]);
    await run(`UPDATE ${table} SET election = $1::integer + $2::integer + election WHERE election < 0`, [
      a,
      b,
    ]);
  }
  for (const table of ["elections", "election_copies"]) {
    await run(
      `UPDATE ${table} SET election_id = 'x-' || election_id, manifest = CASE election_id WHEN $1 THEN $3::bytea ELSE $4::bytea END
       WHERE election_id IN ($1, $2)`,
      [...ids, Buffer.from(encodeManifest(other)), Buffer.from(encodeManifest(one))],
    );
    await run(
      `UPDATE ${table} SET election_id = CASE election_id WHEN 'x-' || $1::text THEN $2::text ELSE $1 END
       WHERE election_id LIKE 'x-%'`,
      ids,
    );
  }
}

describe("a commit whose answer never came", () => {
  /** A clock that says when a group is being decided: its heads are locked and nothing is written yet. */
  class DecisionClock implements Clock {
    onDecision: (() => void) | undefined;
    readonly sleep = systemClock.sleep;
    nowMicros(): number {
      const tell = this.onDecision;
      this.onDecision = undefined;
      tell?.();
      return systemClock.nowMicros();
    }
  }

  async function startBehindProxy() {
    const proxy = await TestTcpProxy.to(postgres.server(0).port);
    onTestFinished(() => proxy[Symbol.asyncDispose]());
    const clock = new DecisionClock();
    const router = await startRouter({ clock, ports: [proxy.port] });
    const manifest = await createElection(router, { shards: 1 });
    await router.vote(manifest, ["first"]);
    return { proxy, clock, router, manifest };
  }

  const recordsIn = async (manifest: Manifest) => {
    const [row] = await postgres.query<{ count: number }>(
      "psephos_router",
      "SELECT count(*)::int FROM records JOIN elections USING (election) WHERE election_id = $1",
      [manifest.electionId],
    );
    return row?.count;
  };

  test("was not committed: it is tried again", async () => {
    const { proxy, clock, router, manifest } = await startBehindProxy();
    clock.onDecision = () => proxy.cut();
    expect(await router.vote(manifest, voters(50))).toEqual(voters(50).map(() => "RECORDED"));
    const records = await verifyChains(router, manifest);
    expect(records.size).toBe(51);
    await expectPublished([router.publisher], records);
  });

  test("was committed: the votes are found by their tokens, answered as recorded, and published", async () => {
    const { proxy, clock, router, manifest } = await startBehindProxy();
    clock.onDecision = () => proxy.swallowAnswers();
    const answers = router.vote(manifest, voters(50));
    await eventually(() => recordsIn(manifest)).toBe(51);
    proxy.cut();
    expect(await answers).toEqual(voters(50).map(() => "RECORDED"));
    const records = await verifyChains(router, manifest);
    expect(records.size).toBe(51);
    await expectPublished([router.publisher], records);
  });

  test("is still under way: the next attempt waits for it, and so does the relay", async () => {
    const { proxy, clock, router, manifest } = await startBehindProxy();
    // Somebody who is not supposed to be there makes the insertion wait, after the heads are locked.
    const vote = testVote(manifest, "v-7");
    const other = new Client({
      ...(await postgres.server(0).clientConfig("postgres")),
      options: "-c search_path=psephos",
    });
    onTestFinished(() => other.end());
    await other.connect();
    await other.query("BEGIN");
    await other.query(
      `INSERT INTO records (election, shard, sequence, voter_pseudonym, revision, request_token, sealed_choice, cast_at, record_hash)
       SELECT election, 0, 1000, $1, 1, $2, $3, 1, $1 FROM elections WHERE election_id = $4`,
      [vote.voterPseudonym, vote.requestToken, vote.sealedChoice, manifest.electionId],
    );
    clock.onDecision = () => proxy.swallowAnswers();
    const answers = router.vote(manifest, voters(50));
    const waiting = async (what: string) => {
      const rows = await postgres.query<{ query: string }>(
        "postgres",
        "SELECT query FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND usename = 'psephos_router'",
      );
      return rows.filter(({ query }) => query.includes(what)).length;
    };
    await eventually(() => waiting("INSERT INTO records")).toBe(1);
    await systemClock.sleep(100); // The COMMIT behind it is on its way.
    proxy.cut();
    await eventually(() => waiting("FOR NO KEY UPDATE")).toBe(1);
    await eventually(() => waiting("FOR SHARE")).toBe(1);
    await other.query("ROLLBACK");

    expect(await answers).toEqual(voters(50).map(() => "RECORDED"));
    const records = await verifyChains(router, manifest);
    expect(records.size).toBe(51);
    await expectPublished([router.publisher], records);
  });

  test("was committed, and then the instance is away: UNAVAILABLE, and the caller's repetition is exact", async () => {
    const { proxy, clock, router, manifest } = await startBehindProxy();
    clock.onDecision = () => proxy.swallowAnswers();
    const answers = router.vote(manifest, voters(50));
    await eventually(() => recordsIn(manifest)).toBe(51);
    proxy.refusing = true;
    proxy.cut();
    expect(await answers).toEqual(voters(50).map(() => "UNAVAILABLE"));
    proxy.refusing = false;
    await eventually(() => router.vote(manifest, voters(50))).not.toContain("UNAVAILABLE");
    const records = await verifyChains(router, manifest);
    expect(records.size).toBe(51);
    await expectPublished([router.publisher], records);
  });
});

test("a shard whose head and records do not belong together fails alone", async () => {
  const [router] = routers;
  const manifest = await createElection(router);
  await router.vote(manifest, voters(200));
  // As after a restore that brought back an old head: shard 4 would give a sequence a second time.
  await postgres.query(
    "postgres",
    `SET session_replication_role = replica;
     UPDATE shard_heads SET sequence = sequence - 1 WHERE shard = 4
       AND election = (SELECT election FROM elections WHERE election_id = '${manifest.electionId}')`,
  );
  const votes = voters(200, "w").map((voter) => testVote(manifest, voter));
  const results = await router.append(manifest, votes);
  for (const [index, { shard }] of votes.entries()) {
    const expected = shard === 4 ? AppendOutcome.UNAVAILABLE : AppendOutcome.RECORDED;
    expect(results[index]?.outcome).toBe(expected);
  }
});

describe("closing", () => {
  test("against votes that keep coming: what was recorded is below the final heads, and nothing comes after", async () => {
    const manifest = await createElection(routers[0]);
    let recorded = 0;
    const vote = async (router: TestRouter, name: string) => {
      for (let batch = 0; ; batch++) {
        const outcomes = await router.vote(manifest, voters(40, `${name}-${batch}`));
        recorded += count(outcomes, "RECORDED");
        expect(count(outcomes, "RECORDED") + count(outcomes, "CLOSED")).toBe(40);
        if (!outcomes.includes("RECORDED")) return;
      }
    };
    const voting = [vote(routers[0], "a"), vote(routers[1], "b"), vote(routers[1], "c")];
    await eventually(() => recorded).toBeGreaterThan(300);
    const [closed] = await Promise.all([
      closeElection(routers[1], manifest),
      closeElection(routers[0], manifest),
    ]);
    expect(closed.election.state).toBe(ElectionState.CLOSED);
    const { heads, state } = await headsOf(routers[0], manifest);
    await Promise.all(voting);

    expect(state).toBe(ElectionState.CLOSED);
    expect(heads.every(({ closed }) => closed)).toBe(true);
    expect(heads.reduce((sum, { sequence }) => sum + Number(sequence), 0)).toBe(recorded);
    expect(await verifyChains(routers[0], manifest)).toHaveProperty("size", recorded);
    // A retry of what was recorded still gets its answer.
    expect(await routers[0].vote(manifest, ["a-0-0", "late"])).toEqual(["RECORDED", "CLOSED"]);
    await expect(closeElection(routers[0], manifest)).resolves.toMatchObject({
      election: { state: ElectionState.CLOSED },
    });
  });
});

describe("an instance that is stopped", () => {
  test("takes its shards along and no others, fails at once, and comes back", async () => {
    const router = await startRouter();
    const manifest = await createElection(router);
    const onPg1 = voters(400).filter((voter) => testVote(manifest, voter).shard % 2 === 1);
    const onPg0 = voters(400).filter((voter) => testVote(manifest, voter).shard % 2 === 0);
    await router.vote(manifest, voters(20, "before"));

    await postgres.server(1).stop();
    const both = await router.vote(manifest, [...onPg0.slice(0, 50), ...onPg1.slice(0, 50)]);
    expect(both.slice(0, 50)).toEqual(onPg0.slice(0, 50).map(() => "RECORDED"));
    expect(both.slice(50)).toEqual(onPg1.slice(0, 50).map(() => "UNAVAILABLE"));
    const began = performance.now();
    for (const voter of onPg1.slice(50, 150))
      expect(await router.vote(manifest, [voter])).toEqual(["UNAVAILABLE"]);
    expect(performance.now() - began).toBeLessThan(5_000); // No vote but one may have waited out a time limit, of 3 s.

    const { heads, state } = await headsOf(router, manifest);
    expect(heads.map(({ shard }) => shard)).toEqual([0, 2, 4, 6, 8, 10, 12, 14]);
    expect(state).toBe(ElectionState.OPEN);
    await expect(readChain(router, manifest, { shard: 1, firstSequence: 1n }).next()).rejects.toMatchObject({
      kind: "unavailable",
    });

    // Neither of these can be done by halves; both are completed later.
    const half = testManifest({ electionId: electionId(`e-${++elections}`) });
    const request = create(CreateElectionRequestSchema, { manifest: encodeManifest(half) });
    await expect(router.router.createElection(request)).rejects.toMatchObject({ kind: "unavailable" });
    const get = create(GetElectionRequestSchema, { electionId: half.electionId });
    await expect(router.router.getElection(get)).rejects.toMatchObject({ kind: "not-found" });
    await expect(closeElection(router, manifest)).rejects.toMatchObject({ kind: "unavailable" });
    expect((await headsOf(router, manifest)).state).toBe(ElectionState.CLOSING);

    await postgres.server(1).start();
    await eventually(() => router.vote(manifest, onPg1.slice(0, 50))).not.toContain("UNAVAILABLE");
    expect(await router.vote(manifest, onPg0.slice(50, 51))).toEqual(["CLOSED"]);
    await router.router.createElection(request);
    expect(await router.vote(half, ["a", "b", "c"])).toEqual(["RECORDED", "RECORDED", "RECORDED"]);
    const { election } = await closeElection(router, manifest);
    expect(election.state).toBe(ElectionState.CLOSED);
    await expectPublished([router.publisher], await verifyChains(router, manifest));
  });

  test("or hangs: the others' votes are answered soon, and its own are exact when they are repeated", async () => {
    const proxy = await TestTcpProxy.to(postgres.server(1).port);
    onTestFinished(() => proxy[Symbol.asyncDispose]());
    const router = await startRouter({ ports: [postgres.server(0).port, proxy.port] });
    const manifest = await createElection(router);
    const all = voters(60);
    const isOn = (instance: number) => (voter: string) => testVote(manifest, voter).shard % 2 === instance;
    proxy.swallowAnswers();
    const began = performance.now();
    const [answers, { heads }] = await Promise.all([router.vote(manifest, all), headsOf(router, manifest)]);
    expect(performance.now() - began).toBeLessThan(3_000);
    expect(heads.map(({ shard }) => shard)).toEqual([0, 2, 4, 6, 8, 10, 12, 14]);
    all.forEach((voter, index) => {
      expect(answers[index]).toBe(isOn(0)(voter) ? "RECORDED" : "UNAVAILABLE");
    });
    proxy.cut();
    const repeated = all.filter(isOn(1));
    await eventually(() => router.vote(manifest, repeated)).toEqual(repeated.map(() => "RECORDED"));
    await expectPublished([router.publisher], await verifyChains(router, manifest));
  });

  test("may be the control instance: elections go on, also where it was away from the start", async () => {
    const router = await startRouter();
    const manifest = await createElection(router);
    const over = await createElection(router);
    const half = await createElection(router);
    const onPg1 = voters(100).filter((voter) => testVote(manifest, voter).shard % 2 === 1);
    const onPg0 = voters(100).filter((voter) => testVote(manifest, voter).shard % 2 === 0);
    await router.vote(manifest, onPg1.slice(0, 1));
    await router.vote(over, onPg1.slice(0, 1));
    await closeElection(router, over);
    await postgres.server(0).stop();
    expect(await router.vote(manifest, onPg1.slice(1, 9))).toEqual(onPg1.slice(1, 9).map(() => "RECORDED"));
    expect((await headsOf(router, manifest)).heads).toHaveLength(8);

    const late = await startRouter();
    expect(await late.vote(manifest, [...onPg1.slice(9, 20), ...onPg0.slice(0, 2)])).toEqual([
      ...onPg1.slice(9, 20).map(() => "RECORDED"),
      ...onPg0.slice(0, 2).map(() => "UNAVAILABLE"),
    ]);
    const get = ({ electionId }: Pick<Manifest, "electionId">) =>
      late.router.getElection(create(GetElectionRequestSchema, { electionId }));
    expect((await get(manifest)).election).toMatchObject({
      state: ElectionState.OPEN,
      manifest: Buffer.from(encodeManifest(manifest)),
    });
    // What it did not see is on the stream, too: the relay reads what it cannot know to be sealed.
    const seen = (await headsOf(late, manifest)).heads.reduce(
      (sum, { sequence }) => sum + Number(sequence),
      0,
    );
    await eventually(() => publishedOf(late, manifest)).toBe(seen);

    // No copy opens an election that is closed, and its votes are still known.
    expect((await get(over)).election?.state).toBe(ElectionState.CLOSING);
    expect(await late.vote(over, onPg1.slice(0, 3))).toEqual(["RECORDED", "CLOSED", "CLOSED"]);
    // Nobody can say whether there is one that has no copy, nor close one.
    const unknown = { electionId: electionId("nobody-knows") };
    await expect(get(unknown)).rejects.toMatchObject({ kind: "unavailable" });
    await expect(closeElection(late, half)).rejects.toMatchObject({ kind: "unavailable" });
    expect(await late.vote(half, onPg1.slice(0, 1))).toEqual(["RECORDED"]);

    await postgres.server(0).start();
    await eventually(() => late.vote(manifest, onPg0.slice(0, 2))).toEqual(["RECORDED", "RECORDED"]);
    await expect(get(unknown)).rejects.toMatchObject({ kind: "not-found" });
    expect((await get(over)).election?.state).toBe(ElectionState.CLOSED);
    await expectPublished([late.publisher], await verifyChains(late, manifest));
    expect(await verifyChains(late, over)).toHaveProperty("size", 1);
  });

  test("may be one that has no copy of an election: it gets it when the election is next needed", async () => {
    const manifest = await createElection(routers[0]);
    const copies = async () => {
      const text = "SELECT election_id FROM election_copies WHERE election_id = $1";
      const found = [0, 1].map((index) =>
        postgres.query("psephos_router", text, [manifest.electionId], index),
      );
      return (await Promise.all(found)).map((rows) => rows.length);
    };
    expect(await copies()).toEqual([1, 1]);
    const forget = async () => {
      for (const index of [0, 1]) await postgres.query("postgres", "DELETE FROM election_copies", [], index);
    };
    await forget();
    const router = await startRouter();
    await router.vote(manifest, ["a"]);
    await eventually(copies).toEqual([1, 1]);
    await forget();
    await router.router.createElection(
      create(CreateElectionRequestSchema, { manifest: encodeManifest(manifest) }),
    );
    expect(await copies()).toEqual([1, 1]);
  });
});

describe("the relay", () => {
  test("holds little while the stream is away, and publishes everything when it is back", async () => {
    const router = await startRouter({ limits: { queuedRecords: 100 } });
    const manifest = await createElection(router);
    await router.vote(manifest, voters(10, "before"));
    router.publisher.away = true;
    for (let batch = 0; batch < 6; batch++) await router.vote(manifest, voters(150, `b${batch}`));
    router.publisher.away = false;
    await router.vote(manifest, voters(10, "after"));
    await expectPublished([router.publisher], await verifyChains(router, manifest));
  });

  test("starts with what is not confirmed as sealed, whoever left it", async () => {
    const gone = await startRouter();
    const manifest = await createElection(gone, { shards: 2 });
    gone.publisher.away = true;
    await gone.vote(manifest, voters(3_000).slice(0, 1_000));
    await gone.vote(manifest, voters(3_000).slice(1_000, 2_000));
    const { heads } = await headsOf(gone, manifest);
    await gone[Symbol.asyncDispose]();

    const router = await startRouter();
    const records = await verifyChains(router, manifest);
    await expectPublished([router.publisher], records);
    await confirmSealed(router, manifest, [
      { shard: 0, sequence: heads[0]?.sequence ?? 0n },
      { shard: 1, sequence: 10n },
    ]);

    const next = await startRouter();
    const unsealed = [...records].filter(([key]) => {
      const [, shard, sequence] = key.split("/");
      return shard === "1" && Number(sequence) > 10;
    });
    await expectPublished([next.publisher], new Map(unsealed));
    const mine = [...next.publisher.records.keys()].filter((key) =>
      key.startsWith(`${manifest.electionId}/`),
    );
    expect(mine).toHaveLength(unsealed.length);
  });
});

describe("sealed sequences", () => {
  test("move forward, and beyond a chain's end they say that votes were lost", async () => {
    const [router] = routers;
    const manifest = await createElection(router, { shards: 2 });
    await router.vote(manifest, voters(40));
    await confirmSealed(router, manifest, [
      { shard: 1, sequence: 3n },
      { shard: 1, sequence: 5n },
      { shard: 1, sequence: 4n },
    ]);
    await confirmSealed(router, manifest, [{ shard: 1, sequence: 1n }]);
    const { heads } = await headsOf(router, manifest);
    expect(heads.map(({ sealedSequence }) => sealedSequence)).toEqual([0n, 5n]);
    await expect(confirmSealed(router, manifest, [{ shard: 0, sequence: 1_000n }])).rejects.toMatchObject({
      kind: "data-loss",
      reason: "SEALED_BEYOND_HEAD",
    });
    await expect(confirmSealed(router, manifest, [{ shard: 2, sequence: 1n }])).rejects.toMatchObject({
      fields: [{ field: "shards[0].shard" }],
    });
  });
});

describe("reading a chain", () => {
  test("gives the range that was asked for, in pages, and notices a missing record", async () => {
    const [router] = routers;
    const manifest = await createElection(router, { shards: 1 });
    await router.vote(manifest, voters(1_000));
    await router.vote(manifest, voters(1_200).slice(1_000));
    const range = async (firstSequence: bigint, limit?: bigint) => {
      const sequences: number[] = [];
      const records = readChain(router, manifest, {
        firstSequence,
        ...(limit === undefined ? {} : { limit }),
      });
      for await (const { sequence } of records) sequences.push(sequence);
      return [sequences.length, sequences.at(0), sequences.at(-1)];
    };
    expect(await range(1n)).toEqual([1_200, 1, 1_200]);
    expect(await range(600n, 550n)).toEqual([550, 600, 1_149]);
    expect(await range(1_100n, 500n)).toEqual([101, 1_100, 1_200]);
    expect(await range(1_201n)).toEqual([0, undefined, undefined]);
    await expect(range(0n)).rejects.toMatchObject({ fields: [{ field: "first_sequence" }] });
    await expect(range(2n ** 63n)).rejects.toMatchObject({ fields: [{ field: "first_sequence" }] });

    const pages: number[] = [];
    const request = create(ReadChainRequestSchema, { electionId: manifest.electionId, firstSequence: 1n });
    for await (const { run } of router.router.readChain(request)) pages.push(run.records.length);
    expect(pages).toEqual([500, 500, 200]);

    const elsewhere = async (change: string) => {
      const election = `(SELECT election FROM elections WHERE election_id = '${manifest.electionId}')`;
      await postgres.query(
        "postgres",
        `SET session_replication_role = replica; ${change} AND election = ${election}`,
      );
    };
    for (const astray of [1_202, 900_000]) {
      await elsewhere(`INSERT INTO records SELECT ${astray}, cast_at, election, revision + 1, shard, voter_pseudonym,
        request_token, sealed_choice, record_hash FROM records WHERE sequence = 3`);
      await expect(range(1_100n)).rejects.toMatchObject({
        kind: "data-loss",
        message: `shard 0: a row at sequence ${astray} is outside of the chain`,
      });
      expect(await range(1_100n, 101n)).toEqual([101, 1_100, 1_200]); // Whoever asks for less is not kept from it.
      await elsewhere("DELETE FROM records WHERE sequence > 1200");
    }
    const flip = "UPDATE shard_heads SET hash = set_byte(hash, 0, get_byte(hash, 0) # 1) WHERE shard = 0";
    await elsewhere(flip);
    await expect(range(1_201n)).rejects.toMatchObject({
      kind: "data-loss",
      message: "shard 0: the head has another hash than the last record",
    });
    await elsewhere(flip);
    expect(await range(1_201n)).toEqual([0, undefined, undefined]);

    await postgres.query(
      "postgres",
      `DELETE FROM records WHERE sequence = 700
         AND election = (SELECT election FROM elections WHERE election_id = '${manifest.electionId}')`,
    );
    await expect(range(1n)).rejects.toMatchObject({
      kind: "data-loss",
      message: expect.stringContaining("record 700"),
    });
    expect(await range(701n)).toEqual([500, 701, 1_200]);
  });
});

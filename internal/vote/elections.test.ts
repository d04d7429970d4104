import { setTimeout as delay } from "node:timers/promises";
import { beforeEach, describe, expect, test } from "vitest";
import { testManifest } from "../ballot/test-manifest.ts";
import { systemClock } from "../core/clock.ts";
import { ServiceError } from "../core/errors.ts";
import { electionId } from "../core/ids.ts";
import { createLogger } from "../telemetry/logger.ts";
import { ElectionDirectory } from "./elections.ts";
import { TestShardRouter } from "./test-shard-router.ts";

const ID = electionId("test-1");

let router: TestShardRouter;
let elections: ElectionDirectory;
let log: string[];

beforeEach(() => {
  router = new TestShardRouter();
  log = [];
  elections = new ElectionDirectory({
    router,
    voterSecret: new Uint8Array(32).fill(7),
    clock: systemClock,
    logger: createLogger({
      service: "test",
      level: "debug",
      destination: { write: (line) => log.push(line) },
    }),
  });
});

const kindOf = (answer: Promise<unknown>) =>
  answer.then(
    () => "known",
    (error: unknown) => (error instanceof ServiceError ? error.kind : error),
  );
const outage = () => {
  throw new ServiceError("unavailable", "shard-router cannot be reached");
};

describe("an election that exists", () => {
  beforeEach(() => void router.add(testManifest()));

  test("is read once, and known from then on without waiting", async () => {
    expect(elections.fresh(ID)).toBeUndefined();
    const found = await Promise.all(Array.from({ length: 100 }, () => elections.get(ID)));
    expect(new Set(found).size).toBe(1);
    expect(elections.fresh(ID)).toBe(found[0]);
    expect([...(found[0]?.choices ?? [])]).toEqual([
      ["a", 0],
      ["b", 1],
      ["c", 2],
    ]);
    expect(router.reads).toBe(1);
  });

  test("is seen to be closed within a second, while votes go on coming, and keeps its keys", async () => {
    const before = await elections.get(ID);
    router.close(ID);
    const closedAt = performance.now();
    while ((await elections.get(ID)).closingSince === null) await delay(10);
    expect(performance.now() - closedAt).toBeLessThan(2_000); // and a second for a machine that is busy
    const after = await elections.get(ID);
    expect(after.voterKey).toBe(before.voterKey);
    expect(after.sealer).toBe(before.sealer);
    // Since when it is known stays what it was.
    await delay(950);
    expect((await elections.get(ID)).closingSince).toBe(after.closingSince);
  });

  test("is asked for again after a pause before its state is believed", async () => {
    await elections.get(ID);
    router.close(ID);
    await delay(950);
    expect(elections.fresh(ID)).toBeUndefined();
    expect((await elections.get(ID)).closingSince).not.toBeNull();
  });

  test("is read a few times a second at most, however many votes come", async () => {
    const until = performance.now() + 1_000;
    while (performance.now() < until) {
      await elections.get(ID);
      await delay(1);
    }
    expect(router.reads).toBeLessThanOrEqual(4);
  });

  test("stays known in an outage, and votes do not wait for one lookup each", async () => {
    const before = await elections.get(ID);
    router.onCall = outage;
    await delay(950);
    for (let i = 0; i < 50; i++) expect(await elections.get(ID)).toBe(before);
    expect(router.reads).toBeLessThanOrEqual(4);
    router.onCall = () => {};
    await delay(110);
    router.close(ID);
    expect((await elections.get(ID)).closingSince).not.toBeNull();
  });

  test("is known at once when ShardRouter has just spoken of it", async () => {
    await elections.get(ID);
    const { election } = await router.closeElection({ electionId: ID });
    if (election === undefined) throw new Error("no election");
    await elections.learn(election);
    expect(elections.fresh(ID)?.closingSince).toEqual(expect.any(Number));
  });
});

describe("an election that is not known", () => {
  test("is NOT_FOUND, and not asked for again for a moment", async () => {
    expect(await kindOf(elections.get(ID))).toBe("not-found");
    for (let i = 0; i < 50; i++) expect(await kindOf(elections.get(ID))).toBe("not-found");
    expect(router.reads).toBe(1);
  });

  test("is found soon after it was created elsewhere", async () => {
    expect(await kindOf(elections.get(ID))).toBe("not-found");
    router.add(testManifest());
    await delay(1_010);
    expect(await kindOf(elections.get(ID))).toBe("known");
  });

  test("is UNAVAILABLE while ShardRouter is, and what was asked for is not logged", async () => {
    router.onCall = outage;
    for (let i = 0; i < 50; i++) expect(await kindOf(elections.get(ID))).toBe("unavailable");
    expect(router.reads).toBeLessThanOrEqual(4);
    expect(log.length).toBe(router.reads);
    expect(log.join()).not.toContain(ID);
  });

  test("does not occupy ShardRouter without limit", async () => {
    let release = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    router.onCall = () => held;
    const kinds = Array.from({ length: 150 }, (_, i) => kindOf(elections.get(electionId(`guess-${i}`))));
    await delay(5);
    expect(router.reads).toBe(100);
    release();
    const counts = Map.groupBy(await Promise.all(kinds), (kind) => kind);
    expect(counts.get("not-found")).toHaveLength(100);
    expect(counts.get("resource-exhausted")).toHaveLength(50);
  });
});

test("a stored manifest that cannot be read is nobody's bad request", async () => {
  const broken = new ElectionDirectory({
    router: {
      getElection: async () => {
        router.add(testManifest());
        const response = await router.getElection({ electionId: ID });
        if (response.election) response.election.manifest = new TextEncoder().encode("{}");
        return response;
      },
    },
    voterSecret: new Uint8Array(32),
    clock: systemClock,
    logger: createLogger({ service: "test", level: "silent" }),
  });
  expect(await kindOf(broken.get(ID))).toBe("internal");
});

test("two deployments know one voter by different pseudonyms", async () => {
  router.add(testManifest());
  const other = new ElectionDirectory({
    router,
    voterSecret: new Uint8Array(32).fill(8),
    clock: systemClock,
    logger: createLogger({ service: "test", level: "silent" }),
  });
  const [one, two] = await Promise.all([elections.get(ID), other.get(ID)]);
  expect(one.voterKey.pseudonym("voter")).not.toEqual(two.voterKey.pseudonym("voter"));
});

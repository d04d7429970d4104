import { rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { toHex } from "../core/bytes.ts";
import { AuditFixture, hastyClock, silentLogger } from "./audit-fixture.ts";
import type { ElectionLog } from "./election-log.ts";
import { HaltError } from "./halt.ts";
import { keepTiles, makeMissingTiles, markComplete } from "./keep-tiles.ts";

function optionsOf(fixture: AuditFixture, signal = new AbortController().signal) {
  const { election, stores } = fixture;
  return { election, stores, clock: hastyClock, logger: silentLogger, signal };
}

async function commit(fixture: AuditFixture, log: ElectionLog, votes: number): Promise<void> {
  const records = fixture.shards.cast(votes).flat();
  await log.commit(records.map((record) => ({ type: "vote", record })));
}

/** Every object of the tile store. */
async function tilesOf({ tiles }: AuditFixture): Promise<Map<string, string>> {
  const all = new Map<string, string>();
  for await (const key of tiles.list("")) all.set(key, toHex((await tiles.get(key)) ?? new Uint8Array()));
  return all;
}

/** All at once, as nobody can delete a folder that is being filled. */
async function wipe({ directory }: AuditFixture): Promise<void> {
  await rename(join(directory, "tiles"), join(directory, "wiped"));
}

describe("a tile folder that is wiped while its log grows", () => {
  async function grown(): Promise<{ fixture: AuditFixture; log: ElectionLog }> {
    const fixture = await AuditFixture.create();
    const log = await fixture.open();
    await markComplete(fixture.tiles, fixture.election.electionId);
    await log.commit([{ type: "manifest", manifestHash: fixture.election.manifestHash }]);
    for (const votes of [90, 600, 9_309, 700]) await commit(fixture, log, votes);
    return { fixture, log };
  }

  test("takes the tiles of further commits, and gets every other one again, byte for byte", async () => {
    const { fixture, log } = await grown();
    await using _ = fixture;
    const before = await tilesOf(fixture);
    await wipe(fixture);
    await commit(fixture, log, 30);
    await makeMissingTiles(optionsOf(fixture));
    await commit(fixture, log, 2_000);
    const after = await tilesOf(fixture);
    for (const [key, bytes] of before) expect(after.get(key) === bytes, key).toBe(true);
    await fixture.verify();
    expect((await fixture.open()).head.treeSize).toBe(12_730);
  });

  test("gets them also when nobody noticed until the log was opened again, a block later", async () => {
    const { fixture, log } = await grown();
    await using _ = fixture;
    await wipe(fixture);
    await commit(fixture, log, 9_300);
    await commit(fixture, log, 40);
    await fixture.open();
    await expect(fixture.verify()).rejects.toThrow(/tile/);
    await makeMissingTiles(optionsOf(fixture));
    await fixture.verify();
  });

  test("gets them while the log grows, whatever fails on the way", async () => {
    const { fixture, log } = await grown();
    await using _ = fixture;
    let calls = 0;
    const fault = () =>
      ++calls % 23 === 0 ? ("before" as const) : calls % 31 === 0 ? ("after" as const) : undefined;
    fixture.tiles.fault = fault;
    fixture.evidence.fault = fault;
    const stop = new AbortController();
    const keeping = keepTiles(optionsOf(fixture, stop.signal));
    await wipe(fixture);
    for (const votes of [40, 300, 1_200]) await commit(fixture, log, votes);
    const mark = `${fixture.election.electionId}/complete`;
    await expect.poll(() => fixture.tiles.get(mark).catch(() => undefined), { timeout: 8_000 }).toBeDefined();
    stop.abort();
    await keeping;
    fixture.noFaults();
    await fixture.verify();
  });
});

test("the mark stands for nothing that was not written: a log nobody has opened yet gets none", async () => {
  await using fixture = await AuditFixture.create();
  await makeMissingTiles(optionsOf(fixture));
  expect(await tilesOf(fixture)).toEqual(new Map());
});

test("tiles are not made from evidence that is not the log's", async () => {
  await using fixture = await AuditFixture.create();
  const log = await fixture.open();
  await log.commit([{ type: "manifest", manifestHash: fixture.election.manifestHash }]);
  await commit(fixture, log, 20);
  await rm(join(fixture.directory, "evidence"), { recursive: true });
  await expect(makeMissingTiles(optionsOf(fixture))).rejects.toThrow(HaltError);
  expect(await fixture.tiles.get(`${fixture.election.electionId}/complete`)).toBeUndefined();
});

test("what is marked complete is not written again", async () => {
  await using fixture = await AuditFixture.create();
  const log = await fixture.open();
  await log.commit([{ type: "manifest", manifestHash: fixture.election.manifestHash }]);
  await makeMissingTiles(optionsOf(fixture));
  const calls = fixture.tiles.operations.length;
  await makeMissingTiles(optionsOf(fixture));
  expect(fixture.tiles.operations.slice(calls).map(({ name }) => name)).toEqual(["get"]);
});

// A log that has rested until its evidence lies in a cold tier. The other ways to open one are in election-log.test.ts.
import { expect, test } from "vitest";
import { closingEntry } from "../ballot/entry.ts";
import { utf8 } from "../core/bytes.ts";
import { checkpointKey } from "../evidence/layout.ts";
import { ObjectArchivedError, type ObjectStore } from "../worm/object-store.ts";
import { AuditFixture, hastyClock, silentLogger } from "./audit-fixture.ts";
import type { ElectionLog, LogStores } from "./election-log.ts";
import { openLog } from "./open-log.ts";

type Get = ObjectStore["get"];

/** The same store, read in another way. */
function reading(store: ObjectStore, get: Get): ObjectStore {
  return {
    put: (key, body) => store.put(key, body),
    stat: (key, versionId) => store.stat(key, versionId),
    list: (prefix) => store.list(prefix),
    get,
  };
}

/** What the store has under votes/ now is archived; what is put from now on is not. */
async function archived(store: ObjectStore): Promise<ObjectStore> {
  const cold = new Set<string>();
  for await (const key of store.list("")) if (key.includes("/votes/")) cold.add(key);
  return reading(store, async (key, versionId) => {
    if (cold.has(key)) throw new ObjectArchivedError(key);
    return store.get(key, versionId);
  });
}

function open({ election, stores }: AuditFixture, changed: Partial<LogStores>): Promise<ElectionLog> {
  const { signal } = new AbortController();
  return openLog({
    election,
    stores: { ...stores, ...changed },
    clock: hastyClock,
    logger: silentLogger,
    signal,
  });
}

async function castAndSeal({ shards }: AuditFixture, log: ElectionLog, votes: number): Promise<void> {
  const records = shards.cast(votes).flat();
  for (let at = 0; at < records.length; ) {
    const part = records.slice(at, at + log.room);
    await log.commit(part.map((record) => ({ type: "vote", record })));
    at += part.length;
  }
}

async function sealed(votes: number): Promise<AuditFixture> {
  const fixture = await AuditFixture.create();
  const log = await fixture.open();
  await log.commit([{ type: "manifest", manifestHash: fixture.election.manifestHash }]);
  await castAndSeal(fixture, log, votes);
  return fixture;
}

test.each([20, 700, 9_999, 10_300])("a log of %d archived votes goes on from its tiles", async (votes) => {
  await using fixture = await sealed(votes);
  const evidence = await archived(fixture.evidence);
  const log = await open(fixture, { evidence });
  expect(log.head.treeSize).toBe(1 + votes);
  await castAndSeal(fixture, log, 300);
  expect((await fixture.verify()).treeSize).toBe(301 + votes);
});

test("the tiles that a crash has left out are made again from the entries", async () => {
  await using fixture = await sealed(700);
  const lost = reading(fixture.tiles, async (key) =>
    /tile\/[01]\//.test(key) ? undefined : fixture.tiles.get(key),
  );
  const log = await open(fixture, { evidence: await archived(fixture.evidence), tiles: lost });
  expect(log.head.treeSize).toBe(701);
  await fixture.verify();
});

test("a closed log opens, its vote checkpoint archived, too", async () => {
  await using fixture = await sealed(50);
  const log = await fixture.open();
  await log.commit([closingEntry(log.head.shardHeads)]);
  await fixture.evidence.put(checkpointKey(fixture.election.electionId, 1), utf8("cannot be read"));
  const again = await open(fixture, { evidence: await archived(fixture.evidence) });
  expect(again.head).toMatchObject({ treeSize: 52, closed: true });
});

test.each<[string, (get: Get) => Get]>([
  ["missing", () => async () => undefined],
  ["damaged", (get) => async (key) => (await get(key))?.fill(7)],
  [
    "those of another log",
    (get) => async (key) => (await get(key))?.map((byte, at) => (at === 9 ? byte ^ 1 : byte)),
  ],
])("where entries are %s as well, the object to restore is named", async (_, change) => {
  await using fixture = await sealed(300);
  const get = change((key) => fixture.tiles.get(key));
  const tiles = reading(fixture.tiles, (key) =>
    key.includes("/entries/") ? get(key) : fixture.tiles.get(key),
  );
  const opened = open(fixture, { evidence: await archived(fixture.evidence), tiles });
  await expect(opened).rejects.toThrow(ObjectArchivedError);
  await expect(opened).rejects.toThrow(/^object test\/votes\/checkpoint_0000000001\/entries_\S+ is archived/);
});

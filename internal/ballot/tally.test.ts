import { describe, expect, test } from "vitest";
import { systemClock } from "../core/clock.ts";
import { sequence, shardId } from "../core/ids.ts";
import { sha256 } from "../core/sha256.ts";
import type { Manifest } from "./manifest.ts";
import { ChoiceOpener } from "./opening.ts";
import type { VoteRecord } from "./record.ts";
import { ChoiceSealer, sealAsClient } from "./sealing.ts";
import { Tally, TallyError } from "./tally.ts";
import { generateTallyKeyPair } from "./tally-key.ts";
import { testManifest } from "./test-manifest.ts";

const keyPair = generateTallyKeyPair();
const forbidden = testManifest({ tallyKey: keyPair.publicKey });
const lastCounts = testManifest({ tallyKey: keyPair.publicKey, revoting: "last-counts" });

const pseudonym = (voter: number) => sha256(Uint8Array.of(voter));

function record(number: number, voter: number, revision: number, sealedChoice: Uint8Array): VoteRecord {
  const hash = sha256(sealedChoice);
  const position = { shard: shardId(3), sequence: sequence(number) };
  return { ...position, voterPseudonym: pseudonym(voter), revision, sealedChoice, castAt: number, hash };
}

/** The records of `[voter, choice]` votes, numbered and revised as a shard would. */
async function cast(manifest: Manifest, votes: [voter: number, choice: number][]): Promise<VoteRecord[]> {
  const sealer = await ChoiceSealer.create({ manifest, clock: systemClock });
  const revisions = new Map<number, number>();
  const records: VoteRecord[] = [];
  for (const [voter, choice] of votes) {
    const revision = (revisions.get(voter) ?? 0) + 1;
    revisions.set(voter, revision);
    records.push(record(records.length + 1, voter, revision, await sealer.seal(choice, pseudonym(voter))));
  }
  return records;
}

async function count(manifest: Manifest, records: readonly VoteRecord[]) {
  const tally = new Tally({ manifest });
  for (const each of records) tally.add(each);
  return await tally.count(await ChoiceOpener.create({ manifest, privateKey: keyPair.privateKey }));
}

const none = { malformed: 0, undecryptable: 0, "no-such-choice": 0 };

describe("forbidden", () => {
  test("each voter counts once", async () => {
    const records = await cast(forbidden, [
      [1, 0],
      [2, 2],
      [3, 2],
    ]);
    expect(await count(forbidden, records)).toEqual({
      counts: [1, 0, 2],
      spoilt: none,
      records: 3,
      voters: 3,
    });
  });

  test("no votes give zeros", async () => {
    expect(await count(forbidden, [])).toEqual({ counts: [0, 0, 0], spoilt: none, records: 0, voters: 0 });
  });

  test("a second vote of a voter stops the count, and says where", async () => {
    const records = await cast(forbidden, [
      [1, 0],
      [2, 0],
      [1, 1],
    ]);
    await expect(count(forbidden, records)).rejects.toMatchObject({
      name: "TallyError",
      shard: 3,
      sequence: 3,
      message: "shard 3, sequence 3: a second vote of the voter of sequence 1",
    });
  });
});

describe("as of a moment", () => {
  // Each record's time is its sequence.
  const as = async (manifest: Manifest, asOf: number, records: readonly VoteRecord[]) => {
    const tally = new Tally({ manifest, asOf });
    for (const each of records) tally.add(each);
    return await tally.count(await ChoiceOpener.create({ manifest, privateKey: keyPair.privateKey }));
  };

  test("a changed vote counts as it then stood", async () => {
    const records = await cast(lastCounts, [
      [1, 0],
      [2, 0],
      [1, 2],
      [3, 1],
      [1, 1],
    ]);
    expect(await as(lastCounts, 0, records)).toMatchObject({ counts: [0, 0, 0], records: 0, voters: 0 });
    expect(await as(lastCounts, 2, records)).toMatchObject({ counts: [2, 0, 0], records: 2, voters: 2 });
    expect(await as(lastCounts, 3, records)).toMatchObject({ counts: [1, 0, 1], records: 3, voters: 2 });
    expect(await as(lastCounts, 5, records)).toEqual(await count(lastCounts, records));
  });

  test("the rules hold for what came later, too", async () => {
    const [first, ...others] = await cast(lastCounts, [
      [1, 0],
      [1, 1],
      [1, 2],
    ]);
    if (!first) throw new RangeError("nothing was cast");
    await expect(as(forbidden, 1, [first, ...others])).rejects.toThrow(
      "a second vote of the voter of sequence 1",
    );
    await expect(as(lastCounts, 1, [first, ...others.slice(1)])).rejects.toThrow(
      "revision 3 where 2 comes next",
    );
    await expect(as(lastCounts, 0, others)).rejects.toThrow("revision 2 where 1 comes next");
  });
});

describe("last-counts", () => {
  test("the last revision counts, all are numbered", async () => {
    const records = await cast(lastCounts, [
      [1, 0],
      [2, 1],
      [1, 1],
      [1, 2],
      [2, 1],
    ]);
    expect(await count(lastCounts, records)).toEqual({
      counts: [0, 1, 1],
      spoilt: none,
      records: 5,
      voters: 2,
    });
  });

  test.each([
    ["begins at 2", [2]],
    ["repeats 1", [1, 1]],
    ["leaves one out", [1, 3]],
  ])("a revision that %s stops the count", async (_, revisions) => {
    const choice = await sealAsClient(lastCounts, 0);
    const records = revisions.map((revision, index) => record(index + 1, 1, revision, choice));
    await expect(count(lastCounts, records)).rejects.toThrow(TallyError);
  });
});

test("a vote that does not open is counted as spoilt, by reason, and the others still count", async () => {
  const good = await cast(forbidden, [
    [1, 0],
    [2, 1],
  ]);
  const wider = { ...forbidden, choices: [...forbidden.choices, { id: "d", name: "D" }] };
  const records = [
    ...good,
    record(3, 3, 1, new Uint8Array(5)),
    record(4, 4, 1, good[0]?.sealedChoice ?? new Uint8Array(63)), // a copy of another voter's
    record(5, 5, 1, await sealAsClient(wider, 0)), // of another manifest
    record(6, 6, 1, await sealAsClient(forbidden, 2)),
  ];
  const spoilt = { malformed: 1, undecryptable: 2, "no-such-choice": 0 };
  expect(await count(forbidden, records)).toEqual({ counts: [1, 1, 1], spoilt, records: 6, voters: 6 });
});

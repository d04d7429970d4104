import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { fromHex } from "../core/bytes.ts";
import { sequence, shardId } from "../core/ids.ts";
import { asHash, sha256 } from "../core/sha256.ts";
import {
  appendVotes,
  ChainError,
  type ChainRule,
  ChainVerifier,
  genesisHead,
  genesisHeads,
  type NewVote,
  verifyNext,
  verifyRun,
} from "./chain.ts";
import { recordHash, type VoteRecord } from "./record.ts";
import vectors from "./vectors.json" with { type: "json" };
import { shardOf } from "./voter-key.ts";

const SHARDS = 16;
const SHARD = shardId(5);
const manifestHash = asHash(fromHex(vectors.manifest.hash));
const genesis = genesisHead(manifestHash, SHARD);
const golden = vectors.records.map(
  (vector): VoteRecord => ({
    shard: shardId(vector.shard),
    sequence: sequence(vector.sequence),
    voterPseudonym: fromHex(vector.voter_pseudonym),
    revision: vector.revision,
    sealedChoice: fromHex(vector.sealed_choice),
    castAt: vector.cast_at,
    hash: asHash(fromHex(vector.hash)),
  }),
);

const [first, second, third, last] = [goldenAt(0), goldenAt(1), goldenAt(2), goldenAt(3)];

test("the golden chain verifies, and ends with its last record", () => {
  expect(verifyRun(genesis, golden, SHARDS)).toEqual({
    shard: SHARD,
    sequence: 4,
    hash: last.hash,
    castAt: last.castAt,
  });
});

test("what is appended verifies, in one batch or in many", () => {
  const votes = fc.array(
    fc.record({
      voterPseudonym: fc.uint8Array({ minLength: 32, maxLength: 32 }),
      revision: fc.integer({ min: 1, max: 9 }),
      sealedChoice: fc.uint8Array({ minLength: 63, maxLength: 63 }),
    }),
    { maxLength: 8 },
  );
  fc.assert(
    fc.property(fc.array(fc.tuple(votes, fc.nat()), { maxLength: 5 }), (batches) => {
      let head = genesis;
      const records: VoteRecord[] = [];
      for (const [batch, nowMicros] of batches) {
        const own = batch.map((vote) => ofShard(vote));
        const appended = appendVotes(head, own, { shards: SHARDS, nowMicros });
        expect(verifyRun(head, appended.records, SHARDS)).toEqual(appended.head);
        records.push(...appended.records);
        head = appended.head;
      }
      expect(verifyRun(genesis, records, SHARDS)).toEqual(head);
      expect(head.sequence).toBe(records.length);
    }),
  );
});

test("a clock behind the head's time does not turn time back", () => {
  const vote = ofShard({ voterPseudonym: new Uint8Array(32), revision: 1, sealedChoice: new Uint8Array(63) });
  const first = appendVotes(genesis, [vote], { shards: SHARDS, nowMicros: 1_000 });
  const second = appendVotes(first.head, [vote], { shards: SHARDS, nowMicros: 999 });
  expect(second.records[0]?.castAt).toBe(1_000);
  expect(second.head.castAt).toBe(1_000);
});

test("a vote is not appended to another voter's shard", () => {
  const vote = { voterPseudonym: new Uint8Array(32), revision: 1, sealedChoice: new Uint8Array(63) };
  expect(shardOf(vote.voterPseudonym, SHARDS)).toBe(0);
  expect(() => appendVotes(genesis, [vote], { shards: SHARDS, nowMicros: 0 })).toThrow(ChainError);
});

describe("a broken chain is named by rule, shard and sequence", () => {
  const flipped = (bytes: Uint8Array): Uint8Array =>
    bytes.map((byte, index) => (index === 9 ? byte ^ 1 : byte));

  test.each<[string, ChainRule, number, VoteRecord[]]>([
    ["a record missing", "sequence", 3, [first, third]],
    ["a record twice", "sequence", 1, [first, first]],
    ["the first missing", "sequence", 2, [second]],
    ["two exchanged", "sequence", 2, [second, first]],
    ["another shard's", "shard", 2, [first, { ...second, shard: shardId(6) }]],
    ["time turned back", "time", 2, [first, { ...second, castAt: first.castAt - 1 }]],
    ["a changed time", "hash", 2, [first, { ...second, castAt: second.castAt + 1 }]],
    ["a changed choice", "hash", 1, [{ ...first, sealedChoice: flipped(first.sealedChoice) }, second]],
    ["a changed voter", "hash", 1, [{ ...first, voterPseudonym: flipped(first.voterPseudonym) }, second]],
    ["a changed revision", "hash", 2, [first, { ...second, revision: 2 }]],
    ["a changed hash", "hash", 2, [first, { ...second, hash: asHash(flipped(second.hash)) }, third]],
    ["an impossible revision", "encoding", 2, [first, { ...second, revision: 0 }]],
    ["a short pseudonym", "encoding", 1, [{ ...first, voterPseudonym: new Uint8Array(3) }]],
  ])("%s", (_, rule, number, records) => {
    const error = chainErrorOf(() => verifyRun(genesis, records, SHARDS));
    const shard = records.find((record) => record.sequence === number)?.shard;
    expect(error).toMatchObject({ rule, shard, sequence: number });
    expect(error.message).toMatch(new RegExp(`^shard ${shard}, sequence ${number}: `));
  });

  test("a record re-chained whole under a voter of another shard", () => {
    const content = { ...first, voterPseudonym: new Uint8Array(32) };
    const forged = { ...content, hash: recordHash(genesis.hash, SHARDS, content) };
    expect(chainErrorOf(() => verifyNext(genesis, forged, SHARDS))).toMatchObject({
      rule: "shard",
      sequence: 1,
    });
  });

  test("another manifest, or another number of shards", () => {
    const other = genesisHead(sha256(manifestHash), SHARD);
    expect(chainErrorOf(() => verifyRun(other, golden, SHARDS)).rule).toBe("hash");
    expect(() => verifyRun(genesis, golden, 32)).toThrow(ChainError);
  });
});

describe("ChainVerifier", () => {
  test("takes shards in any mixture and gives their heads in order", () => {
    const heads = genesisHeads(manifestHash, SHARDS);
    const records = Array.from({ length: 200 }, (_, index) => sha256(Uint8Array.of(index)))
      .map((pseudonym): [number, NewVote] => [
        shardOf(pseudonym, SHARDS),
        { voterPseudonym: pseudonym, revision: 1, sealedChoice: new Uint8Array(63) },
      ])
      .flatMap(([shard, vote]) => {
        const head = heads[shard] ?? genesis;
        const appended = appendVotes(head, [vote], { shards: SHARDS, nowMicros: 7 });
        heads[shard] = appended.head;
        return appended.records;
      });
    const verifier = new ChainVerifier({ heads: genesisHeads(manifestHash, SHARDS) });
    for (const record of records) verifier.accept(record);
    expect(verifier.heads).toEqual(heads);
    expect(verifier.heads.reduce((total, head) => total + head.sequence, 0)).toBe(200);
  });

  test("stays where it was after a record it refused", () => {
    const verifier = new ChainVerifier({ heads: genesisHeads(manifestHash, SHARDS) });
    verifier.accept(first);
    // Refused, and then accepted as it really is.
    expect(() => verifier.accept({ ...second, revision: 9 })).toThrow(ChainError);
    expect(() => verifier.accept({ ...second, shard: shardId(16) })).toThrow(/the election has 16 shards/);
    verifier.accept(second);
    expect(verifier.heads[SHARD]?.sequence).toBe(2);
  });

  test("refuses heads that are not one for each shard, in order", () => {
    const heads = genesisHeads(manifestHash, SHARDS);
    expect(() => new ChainVerifier({ heads: heads.slice(1) })).toThrow(RangeError);
    expect(() => new ChainVerifier({ heads: heads.toReversed() })).toThrow(RangeError);
  });
});

function goldenAt(index: number): VoteRecord {
  const record = golden[index];
  if (!record) throw new Error("no such vector");
  return record;
}

/** The vote, with its pseudonym moved to the shard under test. */
function ofShard(vote: NewVote): NewVote {
  const voterPseudonym = vote.voterPseudonym.slice();
  voterPseudonym[3] = ((voterPseudonym[3] ?? 0) & 0xf0) | SHARD;
  return { ...vote, voterPseudonym };
}

function chainErrorOf(action: () => unknown): ChainError {
  try {
    action();
  } catch (error) {
    if (error instanceof ChainError) return error;
    throw error;
  }
  throw new Error("it was accepted");
}

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { concat, fromHex, toHex, u16, u64, utf8 } from "../core/bytes.ts";
import { positionOf, sequence, shardId, voteId, voteIdOf } from "../core/ids.ts";
import { asHash, type Hash, sha256 } from "../core/sha256.ts";
import { genesisHash, type RecordContent, recordHash } from "./record.ts";
import vectors from "./vectors.json" with { type: "json" };

const manifestHash = asHash(fromHex(vectors.manifest.hash));

describe("golden vectors", () => {
  test.each(Object.entries(vectors.genesis))("genesis of shard %s", (shard, hash) => {
    expect(toHex(genesisHash(manifestHash, shardId(Number(shard))))).toBe(hash);
  });

  test("a chain of four records", () => {
    let previous = asHash(fromHex(vectors.genesis["5"]));
    for (const vector of vectors.records) {
      previous = recordHash(previous, 16, contentOf(vector));
      expect(toHex(previous)).toBe(vector.hash);
      const { shard, sequence } = contentOf(vector);
      expect(voteIdOf(shard, sequence, 16)).toBe(vector.vote_id);
      expect(positionOf(voteId(vector.vote_id), 16)).toEqual({ shard, sequence });
    }
  });

  test("a record with every field at its limit", () => {
    const { previous, shards, hash, ...vector } = vectors.limits;
    expect(toHex(recordHash(asHash(fromHex(previous)), shards, contentOf(vector)))).toBe(hash);
  });
});

const contents = fc.record({
  shard: fc.integer({ min: 0, max: 15 }).map(shardId),
  sequence: fc.integer({ min: 1, max: 2 ** 40 }).map(sequence),
  voterPseudonym: fc.uint8Array({ minLength: 32, maxLength: 32 }),
  revision: fc.integer({ min: 1, max: 0xffff_ffff }),
  sealedChoice: fc.uint8Array({ maxLength: 100 }),
  castAt: fc.maxSafeNat(),
});
const hashes = fc.uint8Array({ minLength: 32, maxLength: 32 }).map(asHash);

test("the hash is that of the specification's bytes, whatever was hashed before", () => {
  fc.assert(
    fc.property(hashes, contents, (previous, content) => {
      expect(recordHash(previous, 16, content)).toEqual(specified(previous, content));
    }),
  );
});

test("any change of any field changes the hash", () => {
  const changes = [
    { shard: shardId(3) },
    { sequence: sequence(8) },
    { voterPseudonym: new Uint8Array(32).fill(2) },
    { revision: 2 },
    { sealedChoice: new Uint8Array(63).fill(2) },
    { sealedChoice: new Uint8Array(62).fill(1) },
    { castAt: 1 },
  ];
  const content: RecordContent = {
    shard: shardId(2),
    sequence: sequence(7),
    voterPseudonym: new Uint8Array(32).fill(1),
    revision: 1,
    sealedChoice: new Uint8Array(63).fill(1),
    castAt: 0,
  };
  const all = [content, ...changes.map((change) => ({ ...content, ...change }))];
  const results = all.map((each) => toHex(recordHash(manifestHash, 16, each)));
  results.push(
    toHex(recordHash(manifestHash, 17, content)),
    toHex(recordHash(sha256(manifestHash), 16, content)),
  );
  expect(new Set(results).size).toBe(all.length + 2);
});

test.each<[string, Partial<RecordContent>]>([
  ["a shard the election has not", { shard: shardId(16) }],
  ["sequence 0", { sequence: sequence(0) }],
  ["a short pseudonym", { voterPseudonym: new Uint8Array(31) }],
  ["revision 0", { revision: 0 }],
  ["revision 2^32", { revision: 2 ** 32 }],
  ["a choice of 64 KiB", { sealedChoice: new Uint8Array(1 << 16) }],
  ["a negative time", { castAt: -1 }],
  ["a fractional time", { castAt: 0.5 }],
  ["a vote id above 2^53", { sequence: sequence(Number.MAX_SAFE_INTEGER) }],
])("%s is refused", (_, change) => {
  expect(() => recordHash(manifestHash, 16, { ...contentOf(vectors.records[0]), ...change })).toThrow(
    RangeError,
  );
});

function specified(previous: Hash, content: RecordContent): Hash {
  const revision = u64(content.revision).subarray(4);
  const { voterPseudonym, sealedChoice } = content;
  return sha256(
    concat(
      utf8("psephos/record/v1\n"),
      previous,
      u64((content.sequence - 1) * 16 + content.shard + 1),
      concat(u16(voterPseudonym.length), voterPseudonym),
      revision,
      concat(u16(sealedChoice.length), sealedChoice),
      u64(content.castAt),
    ),
  );
}

function contentOf(vector: Omit<(typeof vectors.records)[number], "hash"> | undefined): RecordContent {
  if (!vector) throw new Error("no such vector");
  return {
    shard: shardId(vector.shard),
    sequence: sequence(vector.sequence),
    voterPseudonym: fromHex(vector.voter_pseudonym),
    revision: vector.revision,
    sealedChoice: fromHex(vector.sealed_choice),
    castAt: vector.cast_at,
  };
}

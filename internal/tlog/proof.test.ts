import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { fromHex, toHex } from "../core/bytes.ts";
import { asHash, type Hash } from "../core/sha256.ts";
import { TlogError } from "./errors.ts";
import { type Consistency, type Inclusion, verifyConsistency, verifyInclusion } from "./proof.ts";
import { completeSubtrees, consistencyRanges, inclusionRanges } from "./ranges.ts";
import { attempt } from "./test-fuzz.ts";
import { countingEntries, flipBit, OracleTree } from "./test-oracle.ts";
import { EMPTY_ROOT } from "./tree.ts";
import vectors from "./vectors.json" with { type: "json" };

const MAX_SIZE = 300;
const oracle = new OracleTree(countingEntries(MAX_SIZE));
const hash = (hex: string): Hash => asHash(fromHex(hex));
// The oracle gives the same array for the same range, which makes 90,000 comparisons cheap.
const isSame = (a: readonly Hash[], b: readonly Hash[]): boolean =>
  a.length === b.length && a.every((value, i) => value === b[i]);

const isIncluded = (claim: Inclusion): boolean => attempt(() => [verifyInclusion(claim)]) !== undefined;
const isConsistent = (claim: Consistency): boolean => attempt(() => [verifyConsistency(claim)]) !== undefined;

type Bent = Partial<Inclusion & Consistency>;

/** A claim with one bit changed: in each of its hashes for trees up to 40 entries; above, in one of every third claim. */
function* bend(
  fields: Record<string, Hash>,
  proof: readonly Hash[],
  size: number,
  turn: number,
): Generator<[string, Bent]> {
  const names = Object.keys(fields);
  const places = names.length + proof.length;
  for (let place = 0; place < places; place++) {
    if (size > 40 && (turn % 3 !== 0 || place !== Math.floor(turn / 3) % places)) continue;
    const name = names[place];
    const hash = name === undefined ? proof[place - names.length] : fields[name];
    if (!hash) continue;
    const bent = flipBit(hash, turn % 256);
    yield name === undefined
      ? [`hash ${place - names.length}`, { proof: proof.with(place - names.length, bent) }]
      : [name, { [name]: bent }];
  }
}

// Half a million hashes each, on a machine that may be busy.
const TIMEOUT = 60_000;

test(
  "every inclusion proof of every tree up to 300 entries: as defined, verified, and no longer with a bit flipped",
  () => {
    let proofs = 0;
    for (let size = 1; size <= MAX_SIZE; size++) {
      const root = oracle.root(size);
      for (let index = 0; index < size; index++) {
        const proof = oracle.inclusionProof(index, size);
        const claim = { leaf: oracle.leaf(index), index, size, proof, root };
        if (!isIncluded(claim)) expect.fail(`${index} of ${size} is not accepted`);
        const ranges = inclusionRanges(index, size).map(({ start, end }) => oracle.root(end, start));
        if (!isSame(ranges, proof)) expect.fail(`${index} of ${size} is made of other ranges`);

        for (const [what, bent] of bend({ leaf: claim.leaf, root }, proof, size, 7 * index + size)) {
          if (isIncluded({ ...claim, ...bent })) expect.fail(`${index} of ${size} with a bent ${what}`);
        }
        proofs++;
      }
    }
    expect(proofs).toBe((MAX_SIZE * (MAX_SIZE + 1)) / 2);
  },
  TIMEOUT,
);

test(
  "every consistency proof between trees up to 300 entries: as defined, verified, and no longer with a bit flipped",
  () => {
    let proofs = 0;
    for (let newSize = 0; newSize <= MAX_SIZE; newSize++) {
      const newRoot = oracle.root(newSize);
      for (let oldSize = 0; oldSize <= newSize; oldSize++) {
        const oldRoot = oracle.root(oldSize);
        const proof = oldSize === 0 ? [] : oracle.consistencyProof(oldSize, newSize);
        const claim = { oldSize, oldRoot, newSize, newRoot, proof };
        const name = `${oldSize} to ${newSize}`;
        if (!isConsistent(claim)) expect.fail(`${name} is not accepted`);
        if (oldSize > 0) {
          const ranges = consistencyRanges(oldSize, newSize).map(({ start, end }) => oracle.root(end, start));
          if (!isSame(ranges, proof)) expect.fail(`${name} is made of other ranges`);
        }

        // From the empty tree everything is an extension, so that any new root will do.
        const roots = oldSize === 0 ? { oldRoot } : { oldRoot, newRoot };
        for (const [what, bent] of bend(roots, proof, newSize, 7 * oldSize + newSize)) {
          if (isConsistent({ ...claim, ...bent })) expect.fail(`${name} with a bent ${what}`);
        }
        proofs++;
      }
    }
    expect(proofs).toBe(((MAX_SIZE + 1) * (MAX_SIZE + 2)) / 2);
  },
  TIMEOUT,
);

test("a proof shortened, lengthened, or for another place is refused", () => {
  const size = fc.integer({ min: 1, max: MAX_SIZE });
  fc.assert(
    fc.property(
      size,
      fc.nat(),
      fc.nat(),
      fc.uint8Array({ minLength: 32, maxLength: 32 }),
      (size, m, at, noise) => {
        const index = m % size;
        const proof = oracle.inclusionProof(index, size);
        const claim = { leaf: oracle.leaf(index), index, size, proof, root: oracle.root(size) };
        const longer = proof.toSpliced(at % (proof.length + 1), 0, asHash(noise));
        expect(isIncluded({ ...claim, proof: longer })).toBe(false);
        if (proof.length > 0) {
          expect(isIncluded({ ...claim, proof: proof.toSpliced(at % proof.length, 1) })).toBe(false);
          expect(isIncluded({ ...claim, index: (index + 1 + (at % (size - 1))) % size })).toBe(false);
        }

        const oldSize = index + 1;
        const consistency = oracle.consistencyProof(oldSize, size);
        const extension = { oldSize, oldRoot: oracle.root(oldSize), newSize: size, newRoot: claim.root };
        const longerExtension = consistency.toSpliced(at % (consistency.length + 1), 0, asHash(noise));
        expect(isConsistent({ ...extension, proof: consistency })).toBe(true);
        expect(isConsistent({ ...extension, proof: longerExtension })).toBe(false);
        if (consistency.length > 0) {
          const shorter = consistency.toSpliced(at % consistency.length, 1);
          expect(isConsistent({ ...extension, proof: shorter })).toBe(false);
        }
      },
    ),
    { numRuns: 300 },
  );
});

test("hashes of another length are no hashes, even where they are equal", () => {
  const short = new Uint8Array(5) as Uint8Array as Hash;
  expect(isIncluded({ leaf: short, index: 0, size: 1, proof: [], root: short })).toBe(false);
  expect(isConsistent({ oldSize: 3, oldRoot: short, newSize: 3, newRoot: short, proof: [] })).toBe(false);
});

test("whatever is put in, the answer is an acceptance or a TlogError", () => {
  const number = fc.oneof(
    fc.nat({ max: 20 }),
    fc.maxSafeNat(),
    fc.constantFrom(-1, 0.5, Number.NaN, 2 ** 53, Infinity),
  );
  // Bytes of any length, to see that no cast of a caller gets past.
  const bytes = fc.uint8Array({ maxLength: 34 }).map((value) => value as Hash);
  const proof = fc.array(bytes, { maxLength: 60 });
  fc.assert(
    fc.property(number, number, bytes, bytes, proof, (a, b, x, y, proof) => {
      isIncluded({ leaf: x, index: a, size: b, proof, root: y });
      isConsistent({ oldSize: a, oldRoot: x, newSize: b, newRoot: y, proof });
    }),
  );
});

describe("vectors", () => {
  const { tree, countingTree } = vectors;
  const leaves = new OracleTree(tree.entries.map(fromHex));
  const root = (size: number): Hash => hash(tree.roots[size] ?? "");

  test("inclusion", () => {
    for (const { index, size, proof } of tree.inclusion) {
      verifyInclusion({ leaf: leaves.leaf(index), index, size, proof: proof.map(hash), root: root(size) });
    }
    const counting = new OracleTree(countingEntries(70_000));
    const roots = new Map(countingTree.roots.map(({ size, root }) => [size, hash(root)]));
    for (const { index, size, proof } of countingTree.inclusion) {
      const known = roots.get(size) ?? EMPTY_ROOT;
      verifyInclusion({ leaf: counting.leaf(index), index, size, proof: proof.map(hash), root: known });
    }
  });

  test("consistency", () => {
    for (const { oldSize, newSize, proof } of tree.consistency) {
      const claim = { oldSize, oldRoot: root(oldSize), newSize, newRoot: root(newSize) };
      verifyConsistency({ ...claim, proof: proof.map(hash) });
    }
  });

  test.each(tree.refusedInclusion)("refused inclusion: $why", ({ leaf, index, size, proof, root }) => {
    const claim = { leaf: hash(leaf), index, size, proof: proof.map(hash), root: hash(root) };
    expect(() => verifyInclusion(claim)).toThrow(TlogError);
  });

  test.each(tree.refusedConsistency)("refused consistency: $why", (claim) => {
    const { oldSize, newSize, oldRoot, newRoot, proof } = claim;
    const hashes = { oldRoot: hash(oldRoot), newRoot: hash(newRoot), proof: proof.map(hash) };
    expect(() => verifyConsistency({ oldSize, newSize, ...hashes })).toThrow(TlogError);
  });
});

test("a tree of 2^53 - 1 entries", () => {
  const size = Number.MAX_SAFE_INTEGER;
  for (const index of [0, 1, 2 ** 31, 2 ** 32, 2 ** 52 - 1, 2 ** 52, size - 1]) {
    const path = inclusionRanges(index, size);
    expect(path.length).toBeLessThanOrEqual(53);
    expect(path.reduce((sum, { start, end }) => sum + (end - start), 1)).toBe(size);
    for (const range of path) {
      const parts = completeSubtrees(range);
      expect(parts.reduce((sum, { height }) => sum + 2 ** height, 0)).toBe(range.end - range.start);
      expect(parts.every(({ height, index }) => Number.isInteger(index) && index * 2 ** height < size)).toBe(
        true,
      );
    }
  }
  for (const oldSize of [1, 2 ** 32, 2 ** 52, 2 ** 53 - 2]) {
    expect(consistencyRanges(oldSize, size).length).toBeLessThanOrEqual(54);
  }
  const leaf = oracle.leaf(0);
  const proof = Array.from({ length: 53 }, () => leaf);
  expect(() => verifyInclusion({ leaf, index: 0, size, proof, root: leaf })).toThrow(/leads to root/);
  expect(() => verifyInclusion({ leaf, index: 0, size, proof: proof.slice(1), root: leaf })).toThrow(
    /too few/,
  );
});

test("an error says what does not fit", () => {
  const claim = {
    leaf: oracle.leaf(2),
    index: 2,
    size: 5,
    proof: oracle.inclusionProof(2, 5),
    root: oracle.root(5),
  };
  expect(() => verifyInclusion({ ...claim, root: EMPTY_ROOT })).toThrow(
    `an inclusion proof for index 2 of 5 leads to root ${toHex(oracle.root(5))}, not ${toHex(EMPTY_ROOT)}`,
  );
  expect(() => verifyInclusion({ ...claim, index: 5 })).toThrow("index 5 is not in a tree of size 5");
  const extension = { oldSize: 2, oldRoot: oracle.root(2), newSize: 5, newRoot: oracle.root(5) };
  expect(() => verifyConsistency({ ...extension, proof: [] })).toThrow(
    "a consistency proof from size 2 to 5 has too few hashes",
  );
});

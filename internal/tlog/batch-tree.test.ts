import { expect, test } from "vitest";
import { toHex, utf8 } from "../core/bytes.ts";
import { BatchTree } from "./batch-tree.ts";
import { TlogError } from "./errors.ts";
import { verifyInclusion } from "./proof.ts";
import { OracleTree } from "./test-oracle.ts";
import { leafHash } from "./tree.ts";

const ENTRIES = Array.from({ length: 130 }, (_, i) => utf8(`entry ${i}`));
const oracle = new OracleTree(ENTRIES);
const treeOf = (size: number) => new BatchTree(ENTRIES.slice(0, size).map(leafHash));

test("roots and proofs are RFC 6962's, at every size up to 130", () => {
  for (let size = 1; size <= ENTRIES.length; size++) {
    const tree = treeOf(size);
    expect(tree.size).toBe(size);
    expect(toHex(tree.root())).toBe(toHex(oracle.root(size)));
    for (let index = 0; index < size; index += size > 20 ? 7 : 1) {
      const proof = tree.inclusionProof(index);
      expect(proof.map(toHex)).toEqual(oracle.inclusionProof(index, size).map(toHex));
      verifyInclusion({ leaf: oracle.leaf(index), index, size, proof, root: tree.root() });
    }
  }
});

test("there is no empty batch, and no proof of what is not in it", () => {
  expect(() => new BatchTree([])).toThrow(TlogError);
  for (const index of [-1, 5, 0.5, Number.NaN]) {
    expect(() => treeOf(5).inclusionProof(index)).toThrow(TlogError);
  }
});

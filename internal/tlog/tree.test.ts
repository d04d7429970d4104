import { expect, test } from "vitest";
import { fromHex, toHex } from "../core/bytes.ts";
import { TlogError } from "./errors.ts";
import { OracleTree } from "./test-oracle.ts";
import { EMPTY_ROOT, leafHash, MAX_ENTRY_SIZE, nodeHash } from "./tree.ts";
import vectors from "./vectors.json" with { type: "json" };

test("the oracle and the roots of Certificate Transparency agree", () => {
  const oracle = new OracleTree(vectors.tree.entries.map(fromHex));
  vectors.tree.roots.forEach((root, size) => {
    expect(toHex(oracle.root(size))).toBe(root);
  });
});

test("leaves, nodes and the empty root are those of RFC 6962", () => {
  const [first = "", second = ""] = vectors.tree.entries;
  const left = leafHash(fromHex(first));
  expect(toHex(EMPTY_ROOT)).toBe(vectors.tree.roots[0]);
  expect(toHex(left)).toBe(vectors.tree.roots[1]);
  expect(toHex(nodeHash(left, leafHash(fromHex(second))))).toBe(vectors.tree.roots[2]);
});

test("a hash stays what it is while others are computed", () => {
  const first = leafHash(Uint8Array.of(1, 2, 3));
  const text = toHex(first);
  const node = nodeHash(first, first);
  leafHash(new Uint8Array(MAX_ENTRY_SIZE));
  expect(toHex(first)).toBe(text);
  expect(toHex(nodeHash(first, first))).toBe(toHex(node));
  // A long entry leaves nothing behind that a short one would take up.
  expect(toHex(leafHash(Uint8Array.of(1, 2, 3)))).toBe(text);
});

test("a leaf is not a node with the same bytes", () => {
  const hash = leafHash(new Uint8Array());
  expect(toHex(leafHash(new Uint8Array([...hash, ...hash])))).not.toBe(toHex(nodeHash(hash, hash)));
});

test("an entry too long for a bundle and a hash of another length are refused", () => {
  expect(() => leafHash(new Uint8Array(MAX_ENTRY_SIZE + 1))).toThrow(TlogError);
  expect(() => nodeHash(EMPTY_ROOT, EMPTY_ROOT.subarray(1))).toThrow(TlogError);
  expect(() => nodeHash(new Uint8Array(33), EMPTY_ROOT)).toThrow(TlogError);
});

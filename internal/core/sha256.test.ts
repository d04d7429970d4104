import { sha256 as noble } from "@noble/hashes/sha2.js";
import fc from "fast-check";
import { expect, test } from "vitest";
import { equalBytes, toHex, utf8 } from "./bytes.ts";
import { HASH_SIZE, sha256, sha256Into } from "./sha256.ts";

test("is SHA-256: the example of FIPS 180-4, and what noble says of any bytes", () => {
  expect(toHex(sha256(utf8("abc")))).toBe("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => equalBytes(sha256(bytes), noble(bytes))),
  );
});

test("writes into its place and nowhere else, also over the bytes that it is of", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: HASH_SIZE, maxLength: 100 }), fc.nat(), (bytes, place) => {
      const at = place % (bytes.length - HASH_SIZE + 1);
      const out = bytes.slice();
      sha256Into(out, at, out);
      const expected = bytes.slice();
      expected.set(noble(bytes), at);
      expect(out).toEqual(expected);
    }),
  );
});

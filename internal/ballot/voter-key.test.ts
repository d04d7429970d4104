import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { fromHex, toHex } from "../core/bytes.ts";
import { asHash, sha256 } from "../core/sha256.ts";
import vectors from "./vectors.json" with { type: "json" };
import { shardOf, VoterKey } from "./voter-key.ts";

const secret = fromHex(vectors.voter_secret);
const manifestHash = asHash(fromHex(vectors.manifest.hash));
const key = VoterKey.derive(secret, manifestHash);

describe("golden vectors", () => {
  test.each(vectors.voters)("voter $#", (voter) => {
    const pseudonym = key.pseudonym(voter.voter_id);
    expect(toHex(pseudonym)).toBe(voter.pseudonym);
    expect(shardOf(pseudonym, 16)).toBe(voter.shard);
    expect(toHex(key.requestToken(pseudonym, voter.request_id))).toBe(voter.request_token);
  });
});

test("pseudonyms and tokens depend on secret, election, voter and request", () => {
  const others = [VoterKey.derive(sha256(secret), manifestHash), VoterKey.derive(secret, sha256(secret))];
  for (const other of others) expect(other.pseudonym("v")).not.toEqual(key.pseudonym("v"));
  expect(key.pseudonym("w")).not.toEqual(key.pseudonym("v"));
  const [v, w] = [key.pseudonym("v"), key.pseudonym("w")];
  expect(key.requestToken(v, "1")).toEqual(key.requestToken(v, "1"));
  expect(key.requestToken(v, "1")).not.toEqual(key.requestToken(v, "2"));
  expect(key.requestToken(v, "1")).not.toEqual(key.requestToken(w, "1"));
});

test("an id without a UTF-8 form is refused, and not repeated in the message", () => {
  expect(() => key.pseudonym("secret-\ud800")).toThrow(/^(?!.*secret)/);
  expect(() => key.requestToken(new Uint8Array(32), "secret-\udfff")).toThrow(RangeError);
});

test("a voter secret of another length is refused", () => {
  expect(() => VoterKey.derive(new Uint8Array(31), manifestHash)).toThrow(RangeError);
});

test("every pseudonym has a shard of the election", () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 32, maxLength: 32 }),
      fc.integer({ min: 1, max: 256 }),
      (bytes, n) => {
        // A view into a larger buffer, as a decoded message has it.
        const frame = new Uint8Array(40);
        frame.set(bytes, 8);
        expect(shardOf(frame.subarray(8), n)).toBe(
          Number(BigInt(`0x${toHex(bytes.subarray(0, 4))}`) % BigInt(n)),
        );
      },
    ),
  );
});

import { describe, expect, test } from "vitest";
import { decodeUtf8, toBase64, utf8 } from "../core/bytes.ts";
import { electionId } from "../core/ids.ts";
import { FormatError } from "./format-error.ts";
import { generateTallyKeyPair, tallyPublicKey } from "./tally-key.ts";
import { testManifest } from "./test-manifest.ts";
import {
  combineTallyShares,
  encodeTallyShare,
  parseTallyShare,
  splitTallyKey,
  type TallyShare,
} from "./trustees.ts";

const keyPair = generateTallyKeyPair();
const manifest = testManifest({ tallyKey: keyPair.publicKey });
const election = { electionId: manifest.electionId, keyPair };
const shares = await splitTallyKey({ ...election, trustees: manifest.trustees });
const [first, second, third] = [share(0), share(1), share(2)];

function share(index: number): TallyShare {
  const found = shares[index];
  if (!found) throw new Error("no such share");
  return found;
}

test("a new key pair is a pair, and never the same", () => {
  expect(tallyPublicKey(keyPair.privateKey)).toEqual(keyPair.publicKey);
  expect(generateTallyKeyPair().privateKey).not.toEqual(keyPair.privateKey);
});

describe("shares", () => {
  test("three are made, and none is the key", () => {
    expect(shares.map(({ number }) => number)).toEqual([1, 2, 3]);
    for (const { share } of shares) {
      expect(share).toHaveLength(33);
      expect(toBase64(share.slice(0, 32))).not.toBe(toBase64(keyPair.privateKey));
    }
  });

  test.each([
    ["1 and 2", [first, second]],
    ["3 and 1", [third, first]],
    ["2 and 3", [second, third]],
    ["all", [first, second, third]],
  ])("%s give the key", async (_, given) => {
    expect(await combineTallyShares(manifest, given)).toEqual(keyPair.privateKey);
  });

  test("other numbers of trustees", async () => {
    const trustees = { shares: 7, threshold: 5 };
    const many = await splitTallyKey({ ...election, trustees });
    const other = { ...manifest, trustees };
    expect(await combineTallyShares(other, many.slice(2))).toEqual(keyPair.privateKey);
    await expect(combineTallyShares(other, many.slice(3))).rejects.toThrow(
      "5 shares are needed, 4 were given",
    );
  });

  test.each([
    ["none", [], "2 shares are needed, 0 were given"],
    ["one", [first], "2 shares are needed, 1 were given"],
  ])("%s: too few", async (_, given, message) => {
    await expect(combineTallyShares(manifest, given)).rejects.toMatchObject({
      reason: "TOO_FEW_SHARES",
      message,
    });
  });

  const altered = { ...second, share: second.share.map((byte, index) => (index === 4 ? byte ^ 1 : byte)) };
  const foreign = { ...second, electionId: electionId("test-2") };
  const otherKey = { ...second, tallyKey: generateTallyKeyPair().publicKey };
  test.each([
    ["one share twice", [first, first], "a share was given twice"],
    [
      "an altered share",
      [first, altered],
      "the shares do not give this election's tally key: at least one was altered",
    ],
    ["another election's", [first, foreign], "share 2 is of another election or tally key"],
    ["another key's", [first, otherKey], "share 2 is of another election or tally key"],
    ["a cut share", [first, { ...second, share: second.share.slice(1) }], "share 2 is malformed"],
  ])("%s: refused", async (_, given, message) => {
    await expect(combineTallyShares(manifest, given)).rejects.toMatchObject({
      reason: "WRONG_SHARE",
      message,
    });
  });
});

describe("share files", () => {
  test("parse to the share", () => {
    for (const each of shares) expect(parseTallyShare(encodeTallyShare(each))).toEqual(each);
  });

  const file = decodeUtf8(encodeTallyShare(first));
  const secret = toBase64(first.share);
  test.each([
    ["damage", file.replace(secret, toBase64(first.share.map((byte) => byte ^ 1))), /damaged/],
    ["an unknown key", file.replace("{", '{"extra":1,'), /not a share file/],
    ["another format", file.replace("share/v1", "share/v2"), /not a share file/],
    ["an election id that is none", file.replace("test-1", "TEST"), /an election id is/],
    ["a short share", file.replace(secret, toBase64(first.share.slice(1))), /33 bytes/],
    ["no JSON", file.slice(0, -30), /not a share file/],
    ["no base64", file.replace(secret, `${secret}*`), /not a share file/],
    ["nothing", "", /not a share file/],
  ])("%s is refused, without a word of the share", (_, text, message) => {
    expect(text).not.toBe(file);
    try {
      parseTallyShare(utf8(text));
    } catch (error) {
      expect(error).toBeInstanceOf(FormatError);
      expect(String(error)).toMatch(message);
      expect(String(error)).not.toContain(secret.slice(0, 8));
      return;
    }
    throw new Error("it was accepted");
  });
});

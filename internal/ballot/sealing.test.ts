import { describe, expect, test } from "vitest";
import { fromHex, toHex, utf8 } from "../core/bytes.ts";
import type { Clock } from "../core/clock.ts";
import { electionId } from "../core/ids.ts";
import { asHash } from "../core/sha256.ts";
import { type Manifest, manifestHash, parseManifest } from "./manifest.ts";
import { ChoiceOpener } from "./opening.ts";
import { hpke, isClientSealedChoice, isSealedChoice, sealingInfo } from "./sealed-choice.ts";
import { ChoiceSealer, sealAsClient } from "./sealing.ts";
import { generateTallyKeyPair, tallyPublicKey } from "./tally-key.ts";
import { testManifest } from "./test-manifest.ts";
import vectors from "./vectors.json" with { type: "json" };

const keyPair = generateTallyKeyPair();
const manifest = testManifest({ tallyKey: keyPair.publicKey });
const voter = new Uint8Array(32).fill(1);
const otherVoter = new Uint8Array(32).fill(2);

class TestClock implements Clock {
  micros = 1_000_000_000;
  nowMicros = () => this.micros;
  sleep = () => Promise.resolve();
}

function open(
  sealed: Uint8Array,
  pseudonym: Uint8Array = voter,
  { of = manifest, key = keyPair.privateKey } = {},
) {
  return ChoiceOpener.create({ manifest: of, privateKey: key }).then((opener) =>
    opener.open(sealed, pseudonym),
  );
}

const encOf = (sealed: Uint8Array) => toHex(sealed.subarray(1, 33));
const nonceOf = (sealed: Uint8Array) => toHex(sealed.subarray(33, 45));
const undecryptable = { kind: "spoilt", reason: "undecryptable" };

describe("golden vectors", () => {
  const golden = parseManifest(utf8(vectors.manifest.canonical));
  const privateKey = fromHex(vectors.manifest.tally_private_key);

  test("the tally public key", () => {
    expect(toHex(tallyPublicKey(privateKey))).toBe(vectors.manifest.tally_public_key);
  });

  test.each(vectors.sealed_choices)("sealed choice $#", async ({ sealed, pseudonym, choice }) => {
    const bytes = fromHex(sealed);
    expect(isSealedChoice(bytes)).toBe(true);
    expect(await open(bytes, fromHex(pseudonym), { of: golden, key: privateKey })).toEqual(
      choice < golden.choices.length
        ? { kind: "choice", index: choice }
        : { kind: "spoilt", reason: "no-such-choice" },
    );
  });

  test("RFC 9180's exports for this suite, as sender and as recipient", async () => {
    const { info, skEm, skRm, pkRm, enc, exports } = vectors.rfc9180;
    const recipientKey = await hpke.kem.deserializePrivateKey(fromHex(skRm));
    const params = { recipientKey, enc: fromHex(enc), info: fromHex(info) };
    const recipient = await hpke.createRecipientContext(params);
    // The ephemeral key is given for tests only.
    const ephemeral = {
      privateKey: await hpke.kem.deserializePrivateKey(fromHex(skEm)),
      publicKey: await hpke.kem.deserializePublicKey(fromHex(enc)),
    };
    const recipientPublicKey = await hpke.kem.deserializePublicKey(fromHex(pkRm));
    const sender = await hpke.createSenderContext({
      recipientPublicKey,
      info: fromHex(info),
      ekm: ephemeral,
    });
    expect(toHex(new Uint8Array(sender.enc))).toBe(enc);
    for (const [context, value] of Object.entries(exports)) {
      for (const side of [sender, recipient]) {
        expect(toHex(new Uint8Array(await side.export(fromHex(context), 32)))).toBe(value);
      }
    }
  });

  test("the info is the domain and the manifest's hash", () => {
    const info = sealingInfo(asHash(fromHex(vectors.manifest.hash)));
    expect(toHex(info)).toBe(toHex(utf8("psephos/sealed-choice/v1\n")) + vectors.manifest.hash);
  });
});

describe("ChoiceSealer", () => {
  test("what it seals opens to the same choice", async () => {
    const sealer = await ChoiceSealer.create({ manifest, clock: new TestClock() });
    for (const index of [0, 1, 2]) {
      expect(await open(await sealer.seal(index, voter))).toEqual({ kind: "choice", index });
    }
  });

  test("equal choices give unequal ciphertexts of one length, even of one voter", async () => {
    const sealer = await ChoiceSealer.create({ manifest, clock: new TestClock() });
    const sealed: Uint8Array[] = [];
    for (let i = 0; i < 500; i++) sealed.push(await sealer.seal(i % 10 === 0 ? 1 : 0, voter));
    for (let i = 0; i < 20; i++) sealed.push(await sealAsClient(manifest, 0));
    expect(new Set(sealed.map((bytes) => bytes.length))).toEqual(new Set([63]));
    // Neither the encrypted index nor the tag repeats more than chance has it: 2^-16 a pair for the two bytes.
    expect(new Set(sealed.map((bytes) => toHex(bytes.subarray(45)))).size).toBe(sealed.length);
    expect(new Set(sealed.map((bytes) => toHex(bytes.subarray(45, 47)))).size).toBeGreaterThan(
      sealed.length - 30,
    );
  });

  test("no nonce is used twice with a key, however many seal at once over a rotation", async () => {
    const clock = new TestClock();
    const sealer = await ChoiceSealer.create({ manifest, clock });
    const waves = [9_999, 2, 12_000, 1].map((calls) =>
      Array.from({ length: calls }, () => sealer.seal(0, voter)),
    );
    const sealed = (await Promise.all(waves.flat())).concat(await sealer.seal(0, voter));
    expect(new Set(sealed.map((bytes) => encOf(bytes) + nonceOf(bytes))).size).toBe(sealed.length);
    const perKey = Map.groupBy(sealed, encOf);
    expect([...perKey.values()].map((list) => list.length)).toEqual([10_000, 10_000, 2_003]);
    for (const list of perKey.values()) {
      const counters = list.map((bytes) => Number.parseInt(nonceOf(bytes), 16)).toSorted((a, b) => a - b);
      expect(counters).toEqual(list.map((_, index) => index));
    }
    const opener = await ChoiceOpener.create({ manifest, privateKey: keyPair.privateKey });
    for (const bytes of [sealed[0], sealed[9_999], sealed[10_000], sealed.at(-1)]) {
      expect(await opener.open(bytes ?? voter, voter)).toEqual({ kind: "choice", index: 0 });
    }
  });

  test("a context lives for a minute, and not longer because the clock was set back", async () => {
    const clock = new TestClock();
    const sealer = await ChoiceSealer.create({ manifest, clock });
    const next = async () => encOf(await sealer.seal(0, voter));
    const first = await next();
    clock.micros += 59_999_999;
    expect(await next()).toBe(first);
    clock.micros += 1;
    const second = await next();
    expect(second).not.toBe(first);
    expect(await next()).toBe(second);
    clock.micros -= 1;
    expect(await next()).not.toBe(second);
  });

  test("a failed renewal fails the seals that need it and is tried again", async () => {
    const clock = new TestClock();
    const tallyKey = keyPair.publicKey.slice();
    const sealer = await ChoiceSealer.create({ manifest: { ...manifest, tallyKey }, clock });
    tallyKey.fill(0); // gives an all-zero shared secret, which RFC 9180 section 7.1.4 has refused
    clock.micros += 60_000_000;
    const refused = await Promise.allSettled([sealer.seal(0, voter), sealer.seal(0, voter)]);
    expect(refused.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
    tallyKey.set(keyPair.publicKey);
    expect(isSealedChoice(await sealer.seal(0, voter))).toBe(true);
  });

  test("a tally key that is no usable point is refused at the start", async () => {
    const unusable = { ...manifest, tallyKey: new Uint8Array(32) };
    await expect(ChoiceSealer.create({ manifest: unusable, clock: new TestClock() })).rejects.toThrow();
  });

  test.each([-1, 3, 0.5, Number.NaN])(
    "index %d is refused, and not repeated in the message",
    async (index) => {
      const sealer = await ChoiceSealer.create({ manifest, clock: new TestClock() });
      await expect(sealer.seal(index, voter)).rejects.toThrow(/^[^0-9]*$/);
      await expect(sealAsClient(manifest, index)).rejects.toThrow(RangeError);
    },
  );

  test("a pseudonym of another length is refused", async () => {
    const sealer = await ChoiceSealer.create({ manifest, clock: new TestClock() });
    await expect(sealer.seal(0, new Uint8Array(31))).rejects.toThrow(RangeError);
  });
});

describe("sealAsClient", () => {
  test("opens whoever sent it, and has a key of its own", async () => {
    const [first, second] = [await sealAsClient(manifest, 2), await sealAsClient(manifest, 2)];
    expect(await open(first, voter)).toEqual({ kind: "choice", index: 2 });
    expect(await open(first, otherVoter)).toEqual({ kind: "choice", index: 2 });
    expect(encOf(first)).not.toBe(encOf(second));
  });
});

describe("form", () => {
  test("is told by length and version", async () => {
    const byClient = await sealAsClient(manifest, 0);
    const byService = await (await ChoiceSealer.create({ manifest, clock: new TestClock() })).seal(0, voter);
    expect([isSealedChoice(byClient), isClientSealedChoice(byClient)]).toEqual([true, true]);
    expect([isSealedChoice(byService), isClientSealedChoice(byService)]).toEqual([true, false]);
    for (const bytes of [
      new Uint8Array(0),
      byClient.subarray(1),
      new Uint8Array([...byClient, 0]),
      new Uint8Array(63),
    ]) {
      expect([isSealedChoice(bytes), isClientSealedChoice(bytes)]).toEqual([false, false]);
    }
  });
});

describe("ChoiceOpener", () => {
  test("spoils what has not the form", async () => {
    const malformed = { kind: "spoilt", reason: "malformed" };
    for (const bytes of [
      new Uint8Array(0),
      new Uint8Array(62),
      new Uint8Array(64),
      new Uint8Array(63).fill(3),
    ]) {
      expect(await open(bytes)).toEqual(malformed);
    }
  });

  test("spoils a choice of which any bit was changed", async () => {
    const opener = await ChoiceOpener.create({ manifest, privateKey: keyPair.privateKey });
    const sealer = await ChoiceSealer.create({ manifest, clock: new TestClock() });
    for (const sealed of [await sealer.seal(0, voter), await sealAsClient(manifest, 0)]) {
      for (let at = 0; at < sealed.length; at++) {
        const changed = sealed.slice();
        changed[at] = (changed[at] ?? 0) ^ 0x03;
        // 0x03 turns each version into the other.
        expect(await opener.open(changed, voter), `byte ${at}`).toEqual(undecryptable);
      }
      expect(await opener.open(sealed, voter)).toEqual({ kind: "choice", index: 0 });
    }
  });

  test("spoils a choice sealed for another voter, or in another election of the same key", async () => {
    const sealer = await ChoiceSealer.create({ manifest, clock: new TestClock() });
    expect(await open(await sealer.seal(0, voter), otherVoter)).toEqual(undecryptable);
    const other: Manifest = testManifest({ electionId: electionId("test-2"), tallyKey: keyPair.publicKey });
    expect(manifestHash(other)).not.toEqual(manifestHash(manifest));
    expect(await open(await sealAsClient(other, 0))).toEqual(undecryptable);
  });

  test.each([
    ["zero", "00".repeat(32)],
    ["one", `01${"00".repeat(31)}`],
    // RFC 7748 section 6.1 and the list of small-order points it refers to.
    ["a point of order 8", "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"],
  ])("spoils a choice whose enc is %s", async (_, enc) => {
    for (const version of [1, 2]) {
      const sealed = new Uint8Array(63);
      sealed[0] = version;
      sealed.set(fromHex(enc), 1);
      expect(await open(sealed)).toEqual(undecryptable);
    }
  });

  test("opens choices of more contexts than it keeps keys of", async () => {
    const clock = new TestClock();
    const sealer = await ChoiceSealer.create({ manifest, clock });
    const opener = await ChoiceOpener.create({ manifest, privateKey: keyPair.privateKey });
    const sealed: Uint8Array[] = [];
    for (let i = 0; i < 280; i++) {
      sealed.push(await sealer.seal(i % 3, voter));
      clock.micros += 60_000_000;
    }
    expect(new Set(sealed.map(encOf)).size).toBe(sealed.length);
    for (const round of [sealed, sealed.slice(0, 20)]) {
      for (const [i, bytes] of round.entries()) {
        expect(await opener.open(bytes, voter)).toEqual({ kind: "choice", index: i % 3 });
      }
    }
  });

  test("refuses another election's private key instead of spoiling every vote", async () => {
    const { privateKey } = generateTallyKeyPair();
    await expect(ChoiceOpener.create({ manifest, privateKey })).rejects.toMatchObject({
      reason: "WRONG_TALLY_KEY",
    });
  });
});

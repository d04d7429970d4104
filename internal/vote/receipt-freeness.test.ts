// What a voter takes home says that the vote is recorded, and lets nobody prove how it was cast: not the voter, who may be
// paid or threatened to, and not whoever takes it from the voter.
import { createCipheriv, createDecipheriv } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { afterEach, beforeEach, expect, test } from "vitest";
import { CastVoteRequestSchema } from "../../gen/ts/psephos/vote/v1/vote_pb.js";
import { decodeEntry } from "../ballot/entry.ts";
import { encodeManifest } from "../ballot/manifest.ts";
import { genesisHash, recordHash } from "../ballot/record.ts";
import {
  CHOICE_KEY_CONTEXT,
  CHOICE_KEY_SIZE,
  CIPHER,
  CIPHERTEXT_OFFSET,
  ENC_OFFSET,
  hpke,
  NONCE_OFFSET,
  SEALED_BY_CLIENT,
  sealingInfo,
  TAG_OFFSET,
} from "../ballot/sealed-choice.ts";
import { ChoiceSealer } from "../ballot/sealing.ts";
import { testManifest } from "../ballot/test-manifest.ts";
import { concat, toHex } from "../core/bytes.ts";
import { systemClock } from "../core/clock.ts";
import { sha256 } from "../core/sha256.ts";
import { parsePromise, parseStatement, promiseFile } from "../receipt/promise.ts";
import { LOG_KEY, TestReceipts } from "../receipt/test-receipts.ts";
import { openNote } from "../tlog/note.ts";
import { parseTlogProof } from "../tlog/tlog-proof.ts";
import { TestVoteService, testPromises } from "./test-vote-service.ts";

const manifest = testManifest({ promises: testPromises() });

let worlds: TestVoteService[];
beforeEach(() => {
  // The same election, voter secret and promise key, again and again.
  worlds = ["a", "a", "b"].map(() => new TestVoteService());
  for (const { router } of worlds) router.add(manifest);
});
afterEach(() => Promise.all(worlds.map((world) => world[Symbol.asyncDispose]())));

/** The same voter's first vote of an election, cast in one of the worlds. */
async function cast(world: number, choice: string | Uint8Array) {
  const services = worlds[world];
  const answer = await services?.caster.cast(
    create(CastVoteRequestSchema, {
      electionId: manifest.electionId,
      voterId: "the voter",
      requestId: "the request",
      choice:
        typeof choice === "string"
          ? { case: "candidateId", value: choice }
          : { case: "sealedChoice", value: choice },
    }),
  );
  const [record] = services?.router.records(manifest.electionId) ?? [];
  if (!answer?.promise || !record) throw new Error("it is not recorded and promised");
  return { answer, record, file: promiseFile(answer.promise) };
}

test("votes for different choices have answers and promises that differ in record hash and time alone", async () => {
  const votes = [await cast(0, "a"), await cast(1, "a"), await cast(2, "b")];
  const told = votes.map(({ answer, file }) => {
    const { castAt: _, recordHash, promise, ...rest } = answer;
    const { entry, statement, ...place } = parsePromise(file);
    const { issuedAt: __, batchRoot, ...said } = parseStatement(statement);
    // Of a batch of one, entry and root are functions of the record hash, and the signature of these and the time.
    expect(toHex(entry.slice(11))).toBe(toHex(recordHash));
    expect(batchRoot).toHaveLength(32);
    expect(promise).toBeDefined();
    return { ...rest, ...place, position: toHex(entry.slice(0, 11)), ...said, bytes: file.length };
  });
  expect(told[1]).toEqual(told[0]);
  expect(told[2]).toEqual(told[0]);
});

test("a record hash cannot be tried against choices: everything known of a vote does not give it", async () => {
  const { record } = await cast(0, "a");
  const previous = genesisHash(sha256(encodeManifest(manifest)), record.shard);
  const hashWith = (sealedChoice: Uint8Array) => {
    const vote = { ...record, sealedChoice };
    return toHex(recordHash(previous, manifest.shards, vote));
  };
  // This is how it came about: with the sealed choice at hand it can be computed.
  expect(hashWith(record.sealedChoice)).toBe(toHex(record.hash));
  // A voter knows neither the ephemeral key nor the nonce. Sealing any choice again, for the same pseudonym and with all
  // the rest known, gives another hash: the right choice is no better a guess than a wrong one.
  const guesses = new Set<string>();
  for (let attempt = 0; attempt < 3; attempt++) {
    const sealer = await ChoiceSealer.create({ manifest, clock: systemClock });
    for (const choice of manifest.choices.keys()) {
      const sealed = await sealer.seal(choice, record.voterPseudonym);
      expect(sealed).toHaveLength(record.sealedChoice.length);
      guesses.add(hashWith(sealed));
    }
  }
  expect(guesses.size).toBe(9);
  expect(guesses).not.toContain(toHex(record.hash));
});

test("receipts of votes for different choices differ in what the record hash makes of them alone", async () => {
  const receipts = await Promise.all(
    [await cast(0, "a"), await cast(2, "b")].map(async ({ answer, record }) => {
      const { entry } = parsePromise(promiseFile(answer.promise ?? expect.fail("it is not promised")));
      const vote = decodeEntry(entry);
      const log = new TestReceipts([vote], sha256(encodeManifest(manifest)));
      const { extra, index, proof, checkpoint } = parseTlogProof(await log.receipt(1));
      // Of a log of two, the path is the manifest's entry, and the root is of both.
      const { text } = openNote(checkpoint, [LOG_KEY]);
      const [origin, size] = text.split("\n");
      expect(toHex((extra ?? entry).slice(11))).toBe(toHex(record.hash));
      return { place: toHex((extra ?? entry).slice(0, 11)), index, proof: proof.map(toHex), origin, size };
    }),
  );
  expect(receipts[1]).toEqual(receipts[0]);
});

test("a voter who seals the choice and keeps the ephemeral key can prove it, to whoever sees the record", async () => {
  // docs/threat-model.md, "A choice that the client seals": what VoteService's sealing spares voters.
  const info = sealingInfo(sha256(encodeManifest(manifest)));
  const ekm = await hpke.kem.generateKeyPair();
  const key = async () => {
    const recipientPublicKey = await hpke.kem.deserializePublicKey(manifest.tallyKey);
    const context = await hpke.createSenderContext({ recipientPublicKey, info, ekm });
    return {
      exported: Buffer.from(await context.export(CHOICE_KEY_CONTEXT, CHOICE_KEY_SIZE)),
      enc: context.enc,
    };
  };
  const nonce = new Uint8Array(12);
  const sender = await key();
  const cipher = createCipheriv(CIPHER, sender.exported, nonce).setAAD(info);
  const ciphertext = Buffer.concat([cipher.update(Uint8Array.of(0, 1)), cipher.final()]);
  const sealed = concat(
    ...[Uint8Array.of(SEALED_BY_CLIENT), new Uint8Array(sender.enc), nonce, ciphertext, cipher.getAuthTag()],
  );
  const { record } = await cast(0, sealed);

  // The buyer gets the ephemeral key, and has it from the record itself that this is what was cast.
  const again = await key();
  expect(toHex(record.sealedChoice.slice(ENC_OFFSET, NONCE_OFFSET))).toBe(toHex(new Uint8Array(again.enc)));
  const decipher = createDecipheriv(
    CIPHER,
    again.exported,
    record.sealedChoice.slice(NONCE_OFFSET, CIPHERTEXT_OFFSET),
  );
  decipher.setAAD(info).setAuthTag(record.sealedChoice.slice(TAG_OFFSET));
  const index = Buffer.concat([
    decipher.update(record.sealedChoice.slice(CIPHERTEXT_OFFSET, TAG_OFFSET)),
    decipher.final(),
  ]);
  expect(manifest.choices[index.readUInt16BE()]?.id).toBe("b");
});

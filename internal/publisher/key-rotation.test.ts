// A log that changes its key: before, while both sign, and after; and every crash on the way.
import { cp, rm } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { encodeEntry } from "../ballot/entry.ts";
import { utf8 } from "../core/bytes.ts";
import { electionId } from "../core/ids.ts";
import { sha256 } from "../core/sha256.ts";
import { eventEntry } from "../evidence/event.ts";
import { readKeyChanges, signKeyChange } from "../evidence/key-change.ts";
import { openCheckpoint } from "../tlog/checkpoint.ts";
import { NoteVerifier } from "../tlog/note-verifier.ts";
import type { Publisher } from "./publisher.ts";
import { SigningKey } from "./signing-key.ts";
import { TEST_KEY, TEST_PREFIX, TestElection } from "./test-election.ts";
import { DiskFault, TestFileSystem } from "./test-file-system.ts";
import { TestDirectories } from "./test-publisher.ts";

vi.setConfig({ testTimeout: 60_000 });

const NEXT_KEY = new SigningKey(sha256(utf8("the key that follows")));
const THIRD_KEY = new SigningKey(sha256(utf8("and one more")));
const BOTH = { key: TEST_KEY, nextKey: NEXT_KEY };
const verifierOf = (key: SigningKey, { id }: TestElection) =>
  NoteVerifier.parse(key.signerFor(TEST_PREFIX, id).verifierKey);

/** Puts what the Publisher wants into the log, as AuditService would. */
function appendChange(publisher: Publisher, log: TestElection): void {
  const change = publisher.keyChange(log.id);
  if (change === undefined) throw new Error("no change is offered");
  log.append(encodeEntry(eventEntry(change)));
}

/** Whether somebody who knows that key and nothing of changes believes the newest checkpoint. */
async function believes(key: SigningKey, log: TestElection, directories: TestDirectories): Promise<boolean> {
  const note = (await directories.file(`${log.id}/checkpoint`)) ?? "";
  try {
    openCheckpoint({ note, log: verifierOf(key, log) });
    return true;
  } catch {
    return false;
  }
}

/** The labels of the keys that lead to the present one, after verifying every checkpoint by them. */
async function follow(log: TestElection, directories: TestDirectories): Promise<string[]> {
  const read = (path: string) => directories.file(`${log.id}/${path}`);
  const keys = await readKeyChanges(NoteVerifier.parse(log.logKey), read);
  for (const path of ["checkpoint", "checkpoints/0000000001", "checkpoints/0000000002"]) {
    const note = await read(path);
    if (note) openCheckpoint({ note, log: keys });
  }
  return keys.all.map(({ label }) => label);
}

describe("a log", () => {
  test("goes from key to key, and whoever follows it believes every checkpoint on the way", async () => {
    await using directories = await TestDirectories.create({ inMemory: true });
    const log = new TestElection();
    const labels = [TEST_KEY, NEXT_KEY, THIRD_KEY].map((key) => verifierOf(key, log).label);
    const description = async () => JSON.parse(String(await directories.file(`${log.id}/log.json`)));
    {
      await using publisher = await directories.open(log);
      await publisher.submit(log.id, log.grow(9_999).head());
      expect(publisher.keyChange(log.id)).toBeUndefined();
      await publisher.submit(log.id, log.grow(10_000).head());
    }
    {
      await using publisher = await directories.open(log, BOTH);
      await publisher.submit(log.id, log.grow(10_010).head());
      // Both sign before the log says so.
      expect([
        await believes(TEST_KEY, log, directories),
        await believes(NEXT_KEY, log, directories),
      ]).toEqual([true, true]);
      expect(await follow(log, directories)).toEqual(labels.slice(0, 1));
      expect(publisher.logKey(log.id)).toBe(log.logKey);

      appendChange(publisher, log);
      await publisher.submit(log.id, log.grow(10_020).head());
      expect(publisher.keyChange(log.id)).toBeUndefined();
      expect(await follow(log, directories)).toEqual(labels.slice(0, 2));
      expect(publisher.logKey(log.id)).toBe(verifierOf(NEXT_KEY, log).toString());
      expect((await description()).keys).toHaveLength(2);
      expect([
        await believes(TEST_KEY, log, directories),
        await believes(NEXT_KEY, log, directories),
      ]).toEqual([true, true]);
      await publisher.submit(log.id, log.grow(20_000).head());
    }
    {
      // The old key is put away, and one more is to come.
      await using publisher = await directories.open(log, { key: NEXT_KEY, nextKey: THIRD_KEY });
      await publisher.submit(log.id, log.grow(20_010).head());
      expect([
        await believes(TEST_KEY, log, directories),
        await believes(NEXT_KEY, log, directories),
      ]).toEqual([false, true]);
      appendChange(publisher, log);
      await publisher.submit(log.id, log.close().head());
      expect(await follow(log, directories)).toEqual(labels);
      expect(publisher.keyChange(log.id)).toBeUndefined();
    }
    // A closed log needs no key any more.
    await using publisher = await directories.open(log, { key: new SigningKey(new Uint8Array(32)) });
    expect(publisher.logKey(log.id)).toBe(verifierOf(THIRD_KEY, log).toString());
    expect(await follow(log, directories)).toEqual(labels);
    expect((await description()).log_key).toBe(log.logKey);
  });

  test("that begins while there are two keys begins with the one that will stay, unless its manifest says otherwise", async () => {
    await using directories = await TestDirectories.create({ inMemory: true });
    const fresh = new TestElection({ logKey: verifierOf(NEXT_KEY, new TestElection()).toString() });
    const old = new TestElection({ election: electionId("older") });
    await using publisher = await directories.open(
      { get: async (key) => (await fresh.get(key)) ?? old.get(key) },
      BOTH,
    );
    expect(publisher.logKey(fresh.id)).toBe(fresh.logKey);
    await publisher.submit(fresh.id, fresh.grow(10).head());
    await publisher.submit(old.id, old.grow(10).head());
    expect([publisher.keyChange(fresh.id) === undefined, publisher.keyChange(old.id) === undefined]).toEqual([
      true,
      false,
    ]);
    expect(await believes(TEST_KEY, fresh, directories)).toBe(false);
    expect(await follow(fresh, directories)).toHaveLength(1);
  });

  test("takes no key back that it has had", async () => {
    await using directories = await TestDirectories.create({ inMemory: true });
    const log = new TestElection();
    {
      await using publisher = await directories.open(log, BOTH);
      await publisher.submit(log.id, log.grow(10).head());
      appendChange(publisher, log);
      await publisher.submit(log.id, log.head());
    }
    await using publisher = await directories.open(log, { key: NEXT_KEY, nextKey: TEST_KEY });
    await publisher.submit(log.id, log.grow(20).head());
    expect(publisher.keyChange(log.id)).toBeUndefined();
    expect(await believes(TEST_KEY, log, directories)).toBe(false);
  });

  test("that has a change whose file is gone gets the file again", async () => {
    await using directories = await TestDirectories.create({ inMemory: true });
    const log = new TestElection();
    {
      await using publisher = await directories.open(log, BOTH);
      await publisher.submit(log.id, log.grow(300).head());
      appendChange(publisher, log);
      await publisher.submit(log.id, log.grow(600).head());
    }
    await rm(join(directories.public, log.id, "key-changes/0000000001"));
    await using _ = await directories.open(log, BOTH);
    expect(await follow(log, directories)).toHaveLength(2);
  });
});

describe("at any step of the head that has the change", () => {
  let before: TestDirectories;
  const log = new TestElection();
  let size: number;

  beforeAll(async () => {
    before = await TestDirectories.create({ inMemory: true });
    await using publisher = await before.open(log);
    await publisher.submit(log.id, log.grow(250).head());
    const signer = (key: SigningKey) => key.signerFor(TEST_PREFIX, log.id);
    log.append(encodeEntry(eventEntry(signKeyChange(log.id, signer(TEST_KEY), signer(NEXT_KEY)))));
    size = log.grow(300).size;
  });
  afterAll(() => before[Symbol.asyncDispose]());

  test.each([
    ["a crash", { done: true, fatal: true }, false],
    ["a power cut", { done: true, fatal: true }, true],
    ["a failure", { done: false, fatal: false }, false],
  ] as const)(
    "%s leaves a log that both readers believe, and that goes on under the new key",
    async (_, fault, cut) => {
      const offered = log.head();
      for (let step = 1; ; step++) {
        await using directories = await TestDirectories.create({ inMemory: true });
        await cp(before.state, directories.state, { recursive: true });
        await cp(before.public, directories.public, { recursive: true });
        const fs = new TestFileSystem({ step, ...fault });
        try {
          await using publisher = await directories.open(log, { ...BOTH, fs });
          await publisher.submit(log.id, offered).catch(() => {});
          expect(await believes(TEST_KEY, log, directories)).toBe(true);
          await follow(log, directories);
        } catch (error) {
          if (!(error instanceof DiskFault)) throw error;
        }
        if (cut) await fs.powerCut();
        {
          await using publisher = await directories.open(log, BOTH);
          await publisher.submit(log.id, offered);
          expect(await follow(log, directories)).toHaveLength(2);
          expect(await believes(TEST_KEY, log, directories)).toBe(true);
        }
        await using publisher = await directories.open(log, { key: NEXT_KEY });
        expect(publisher.logKey(log.id)).toBe(verifierOf(NEXT_KEY, log).toString());
        await publisher.submit(log.id, offered);
        const outsider = directories.outsider(log);
        expect(await outsider.check()).toBe(size);
        if (fs.steps < step) {
          expect(step).toBeGreaterThan(40);
          return;
        }
      }
    },
  );
});

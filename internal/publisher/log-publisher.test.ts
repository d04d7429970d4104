import { createHash } from "node:crypto";
import { cp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { electionId, treeSize } from "../core/ids.ts";
import { sha256 } from "../core/sha256.ts";
import { openCheckpoint } from "../tlog/checkpoint.ts";
import { NoteVerifier } from "../tlog/note-verifier.ts";
import { flipBit } from "../tlog/test-oracle.ts";
import type { Publisher } from "./publisher.ts";
import { signHead } from "./signed-head.ts";
import { SigningKey } from "./signing-key.ts";
import { TEST_PREFIX, TestElection } from "./test-election.ts";
import type { Outsider } from "./test-outsider.ts";
import { failure, TestDirectories } from "./test-publisher.ts";

let directories: TestDirectories;
let election: TestElection;
let publisher: Publisher;
let outsider: Outsider;

beforeEach(async () => {
  directories = await TestDirectories.create();
  election = new TestElection();
  publisher = await directories.open(election);
  outsider = directories.outsider(election);
});

afterEach(async () => {
  await publisher[Symbol.asyncDispose]();
  await directories[Symbol.asyncDispose]();
});

async function restart(source = election): Promise<void> {
  await publisher[Symbol.asyncDispose]();
  publisher = await directories.open(source);
}

/** Offers the election at that size, which must be signed, and has the outsider check everything. */
async function publish(size: number): Promise<string> {
  const note = await publisher.submit(election.id, election.grow(size).head());
  outsider.see(note);
  expect(await outsider.check()).toBe(size);
  return note;
}

/** Every file of the state and the public directory with the hash of its bytes, but for locks and files in flight. */
async function everything(): Promise<Map<string, string>> {
  const files = new Map<string, string>();
  for (const entry of await readdir(directories.root, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (!entry.isFile() || /\/\.(lock|staging)/.test(path)) continue;
    files.set(
      path,
      createHash("sha256")
        .update(await readFile(path))
        .digest("hex"),
    );
  }
  return files;
}

/** Offers a head that must be refused, and that must leave no trace. */
async function expectRefusal(
  offer: () => Promise<unknown>,
  expected: { kind: string; reason?: string; fields?: unknown },
): Promise<void> {
  const before = await everything();
  expect(await failure(offer())).toMatchObject(expected);
  expect(await everything()).toEqual(before);
}

const forked = { kind: "data-loss", reason: "FORKED_HEAD" };

describe("growth", () => {
  test("through the sizes around a tile's edge", async () => {
    for (const size of [1, 2, 3, 254, 255, 256, 257, 511, 512, 513, 1000]) await publish(size);
  });

  // 65,536 entries is where a third level begins: there is no smaller one. What takes time is the outsider, who hashes every
  // entry anew by another implementation at each check, and 300 files that are flushed: so one check, of all that it saw, and
  // in memory. Power cuts are crash.test.ts's.
  test("through the sizes around the second level's edge, with a restart at each", {
    timeout: 20_000,
  }, async () => {
    await using inMemory = await TestDirectories.create({ inMemory: true });
    const reader = inMemory.outsider(election);
    const grow = async (...sizes: readonly number[]): Promise<void> => {
      await using opened = await inMemory.open(election);
      for (const size of sizes) reader.see(await opened.submit(election.id, election.grow(size).head()));
    };
    await grow(10_000, 20_000, 30_000, 40_000, 50_000, 60_000);
    for (const size of [65_279, 65_280, 65_281, 65_535, 65_536, 65_537, 70_000]) await grow(size);
    await using _ = await inMemory.open(election);
    // Each size that it saw is checked here, against the files of its own.
    expect(await reader.check()).toBe(70_000);
  });

  test("ends with the closing entry, in a short block of its own", async () => {
    await publish(10_000);
    await publish(10_400);
    const note = await publisher.submit(election.id, election.close().head());
    expect(await outsider.check()).toBe(10_401);
    expect(String(await directories.file("vermont-2020/checkpoints/0000000002"))).toBe(note);
    await restart();
    expect(await outsider.check()).toBe(10_401);
    await expectRefusal(() => publisher.submit(election.id, election.grow(10_402).head()), {
      kind: "failed-precondition",
      reason: "LOG_CLOSED",
    });
  });

  test("ends with the closing entry at a whole block", async () => {
    await publish(9_999);
    await publisher.submit(election.id, election.close().head());
    expect(await outsider.check()).toBe(10_000);
  });

  test("two elections at once do not meet", async () => {
    const other = new TestElection({ election: electionId("other"), title: "Another" });
    const both = { get: async (key: string) => (await election.get(key)) ?? other.get(key) };
    await publisher[Symbol.asyncDispose]();
    publisher = await directories.open(both);
    const otherOutsider = directories.outsider(other);
    for (const size of [10, 300, 700]) {
      await Promise.all([
        publisher.submit(election.id, election.grow(size).head()),
        publisher.submit(other.id, other.grow(size + 5).head()),
      ]);
      expect(await outsider.check()).toBe(size);
      expect(await otherOutsider.check()).toBe(size + 5);
    }
    expect(await publisher.elections()).toEqual(["other", "vermont-2020"]);
  });

  test("heads offered at the same time are signed one after another, and too many are refused", async () => {
    const offers = Array.from({ length: 9 }, (_, index) =>
      publisher.submit(election.id, election.grow(10 * (index + 1)).head()),
    );
    const results = await Promise.allSettled(offers);
    expect(results.map(({ status }) => status)).toEqual([...Array(8).fill("fulfilled"), "rejected"]);
    expect(results[8]).toMatchObject({ reason: { kind: "resource-exhausted", retryDelayMs: 1000 } });
    expect(await outsider.check()).toBe(80);
  });

  test("takes entries from the full bundle when the partial one has been cleaned up", async () => {
    await publish(100);
    const offered = election.grow(300).head();
    const later = election.fork().grow(520);
    later.head();
    election.objects.set(
      "vermont-2020/tile/entries/001",
      later.objects.get("vermont-2020/tile/entries/001") as Uint8Array,
    );
    expect(election.objects.delete("vermont-2020/tile/entries/001.p/44")).toBe(true);
    outsider.see(await publisher.submit(election.id, offered));
    expect(await outsider.check()).toBe(300);
  });
});

describe("a head that was signed before", () => {
  test("gets the same note again, now and after a restart", async () => {
    const note = await publish(300);
    const offered = election.head();
    expect(await publisher.submit(election.id, offered)).toBe(note);
    await restart();
    expect(await publisher.submit(election.id, offered)).toBe(note);
    // Nothing is read for it: AuditService may have lost everything.
    await restart(new TestElection());
    expect(await publisher.submit(election.id, offered)).toBe(note);
  });

  test("is answered at the end of a block, and refused in the middle", async () => {
    const offers = [];
    for (const size of [5_000, 10_000, 12_000, 20_000, 20_001]) {
      const note = await publisher.submit(election.id, election.grow(size).head());
      offers.push({ size, note, offered: election.head() });
    }
    for (const { size, note, offered } of offers.slice(0, -1)) {
      if (size % 10_000 === 0) {
        expect(await publisher.submit(election.id, offered)).toBe(note);
        const other = { ...offered, root: sha256(offered.root) };
        await expectRefusal(() => publisher.submit(election.id, other), forked);
      } else {
        const old = { kind: "failed-precondition", reason: "HEAD_TOO_OLD" };
        await expectRefusal(() => publisher.submit(election.id, offered), old);
      }
    }
    expect(await outsider.check()).toBe(20_001);
  });

  test("is not answered from a numbered checkpoint that was put in its place", async () => {
    for (const size of [10_000, 20_000, 20_001])
      await publisher.submit(election.id, election.grow(size).head());
    const [first, second] = ["checkpoints/0000000001", "checkpoints/0000000002"].map((path) =>
      join(directories.public, "vermont-2020", path),
    );
    await rm(first ?? "");
    const old = election.fork();
    const offered = { ...old.head(), size: treeSize(10_000) };
    expect(await failure(publisher.submit(election.id, offered))).toMatchObject({ reason: "STATE_MISMATCH" });
    await cp(second ?? "", first ?? "");
    expect(await failure(publisher.submit(election.id, offered))).toMatchObject({ reason: "STATE_MISMATCH" });
    await writeFile(first ?? "", "not a note");
    expect(await failure(publisher.submit(election.id, offered))).toMatchObject({ reason: "STATE_MISMATCH" });
  });
});

describe("a fork", () => {
  test("of the signed size, of a later one and of the first head is refused and changes nothing", async () => {
    const early = election.grow(200).fork();
    await publish(300);
    for (const size of [300, 301, 512, 1000]) {
      const fork = early.fork().grow(size, "other votes");
      await restart(fork);
      await expectRefusal(() => publisher.submit(election.id, fork.head()), forked);
    }
    expect(directories.logged.filter(({ level }) => level === "fatal")).toHaveLength(4);
    expect(await directories.metrics.render()).toMatch(/heads_refused_total\{.*reason="FORKED_HEAD".*\} 4/);
    await restart(election);
    await publish(1000);
  });

  test("is a root that the entries do not have", async () => {
    await publish(300);
    const offered = election.grow(400).head();
    await expectRefusal(
      () => publisher.submit(election.id, { ...offered, root: flipBit(offered.root, 7) }),
      forked,
    );
    expect(await publisher.submit(election.id, offered)).toContain("\n400\n");
  });

  test("is an entry that is not the one the root stands for", async () => {
    await publish(300);
    const offered = election.grow(600).head();
    const path = "vermont-2020/tile/entries/001";
    const bundle = election.objects.get(path) ?? new Uint8Array();
    // A bit of the record hash of one of the new entries: 45 bytes each.
    election.objects.set(path, flipBit(bundle, 8 * (45 * 100 + 30)));
    await expectRefusal(() => publisher.submit(election.id, offered), forked);
    election.objects.set(path, bundle);
    await publish(600);
  });

  test("is not a changed entry that has been published: ours is served", async () => {
    await publish(300);
    const path = "vermont-2020/tile/entries/001";
    const offered = election.grow(600).head();
    const bundle = election.objects.get(path) ?? new Uint8Array();
    election.objects.set(path, flipBit(bundle, 8 * (45 * 3 + 30)));
    await publisher.submit(election.id, offered);
    expect(await outsider.check()).toBe(600);
  });

  test("contradicts tiles that a crash left without a checkpoint", async () => {
    const fork = election.grow(300).fork();
    await publish(300);
    fork.grow(400, "other votes");
    const left = fork.head();
    await cp(
      join(directories.public, "vermont-2020/tile/entries/001.p/44"),
      join(directories.public, "vermont-2020/tile/entries/001.p/144"),
    );
    expect(left.size).toBe(400);
    await expectRefusal(() => publisher.submit(election.id, election.grow(400).head()), forked);
  });
});

describe("entries", () => {
  test("that are not there yet are waited for", async () => {
    await publish(300);
    const offered = election.grow(1000).head();
    const path = "vermont-2020/tile/entries/002";
    const bundle = election.objects.get(path) ?? new Uint8Array();
    election.objects.delete(path);
    await expectRefusal(() => publisher.submit(election.id, offered), { kind: "unavailable" });
    election.objects.set(path, bundle);
    await publish(1000);
  });

  test("of a store that fails are waited for", async () => {
    await restart(Object.assign(new TestElection(), { get: () => Promise.reject(new Error("EIO")) }));
    const refusal = { kind: "unavailable", reason: "ENTRIES_UNREADABLE", retryDelayMs: 200 };
    await expectRefusal(() => publisher.submit(election.id, election.grow(10).head()), refusal);
  });

  test.each([
    ["truncated", (bundle: Uint8Array) => bundle.slice(0, -1)],
    ["empty", () => new Uint8Array()],
    ["short of an entry", (bundle: Uint8Array) => bundle.slice(0, -45)],
    ["longer by an entry", (bundle: Uint8Array) => Buffer.concat([bundle, bundle.slice(-45)])],
  ])("of a bundle that is %s are refused", async (_, change) => {
    const offered = election.grow(100).head();
    const path = "vermont-2020/tile/entries/000.p/100";
    election.objects.set(path, change(election.objects.get(path) ?? new Uint8Array()));
    const refusal = { kind: "data-loss", reason: "BAD_ENTRY" };
    await expectRefusal(() => publisher.submit(election.id, offered), refusal);
  });

  test("that no log has are refused, even with the right root", async () => {
    const bad = { kind: "data-loss", reason: "BAD_ENTRY" };
    const grown = election.grow(100);
    const cases: ((log: TestElection) => void)[] = [
      (log) => log.append(new Uint8Array()),
      (log) => log.append(Uint8Array.of(0x07, 1, 2, 3)),
      (log) => log.append(Buffer.concat([Uint8Array.of(0x01), log.manifestHash])),
      (log) => log.close().append(new Uint8Array(43)),
      (log) => log.close().close(),
      (log) => log.close().grow(103),
    ];
    for (const change of cases) {
      const log = grown.fork();
      change(log);
      await restart(log);
      await expectRefusal(() => publisher.submit(election.id, log.head()), bad);
    }
  });
});

describe("blocks", () => {
  test("are not passed over", async () => {
    await publish(9_000);
    const skipped = { kind: "failed-precondition", reason: "BLOCK_SKIPPED" };
    await expectRefusal(() => publisher.submit(election.id, election.grow(10_001).head()), skipped);
    await restart(new TestElection());
  });

  test("end where they end", async () => {
    const wrong = {
      kind: "invalid-argument",
      fields: [{ field: "ends_block", description: expect.any(String) }],
    };
    await publish(9_000);
    const middle = election.grow(9_500).head();
    await expectRefusal(() => publisher.submit(election.id, { ...middle, endsBlock: true }), wrong);
    const end = election.grow(10_000).head();
    await expectRefusal(() => publisher.submit(election.id, { ...end, endsBlock: false }), wrong);
    await publisher.submit(election.id, end);
    const closed = election.close().head();
    await expectRefusal(() => publisher.submit(election.id, { ...closed, endsBlock: false }), wrong);
  });
});

describe("the manifest", () => {
  const wrong = (field: string) => ({
    kind: "invalid-argument",
    fields: [{ field, description: expect.any(String) }],
  });

  test("is the one of entry 0", async () => {
    const other = new TestElection({ title: "Another title" });
    const offered = { ...election.grow(10).head(), manifest: other.manifest };
    await expectRefusal(() => publisher.submit(election.id, offered), wrong("manifest"));
    await publish(10);
    await expectRefusal(() => publisher.submit(election.id, offered), wrong("manifest"));
    const next = { ...election.grow(20).head(), manifest: other.manifest };
    await expectRefusal(() => publisher.submit(election.id, next), wrong("manifest"));
    await restart();
    await expectRefusal(() => publisher.submit(election.id, next), wrong("manifest"));
  });

  test("names our key, under this log's name", async () => {
    const theirs = new SigningKey(new Uint8Array(32)).signerFor("psephos.test", election.id).verifierKey;
    const elsewhere = new SigningKey(new Uint8Array(32)).signerFor("elsewhere.test", election.id).verifierKey;
    for (const logKey of [theirs, elsewhere]) {
      const other = new TestElection({ logKey });
      await restart(other);
      await expectRefusal(() => publisher.submit(other.id, other.grow(10).head()), wrong("manifest.log_key"));
    }
  });

  test("is of the election it is offered for", async () => {
    const offered = election.grow(10).head();
    const refused = () => publisher.submit(electionId("another"), offered);
    await expectRefusal(refused, wrong("manifest.election_id"));
  });

  test("is a manifest", async () => {
    const offered = { ...election.grow(10).head(), manifest: Buffer.from("{}") };
    await expectRefusal(() => publisher.submit(election.id, offered), {
      kind: "invalid-argument",
      reason: "INVALID_MANIFEST",
    });
  });
});

describe("a restart", () => {
  const mismatch = { kind: "data-loss", reason: "STATE_MISMATCH" };
  const statePath = () => join(directories.state, "vermont-2020.checkpoint");
  const publicPath = (path: string) => join(directories.public, "vermont-2020", path);

  /** After what was done to the files: refused at the start, out loud, and for the next head and the same one. */
  async function expectRefusedForGood(): Promise<void> {
    directories.logged.length = 0;
    const same = election.head();
    await restart();
    expect(directories.logged).toContainEqual(
      expect.objectContaining({ level: "fatal", election: "vermont-2020" }),
    );
    await expectRefusal(() => publisher.submit(election.id, same), mismatch);
    const next = election
      .fork()
      .grow(election.size + 1)
      .head();
    await expectRefusal(() => publisher.submit(election.id, next), mismatch);
  }

  test("goes on where it was", async () => {
    for (const size of [1, 255, 256, 257, 1000]) {
      await publish(size);
      await restart();
    }
    await publish(1001);
  });

  test("refuses to sign without the state of what is public", async () => {
    await publish(300);
    await rm(statePath());
    await expectRefusedForGood();
  });

  test("refuses a state from a backup", async () => {
    await publish(300);
    await cp(statePath(), join(directories.root, "backup"));
    await publish(400);
    await cp(join(directories.root, "backup"), statePath());
    await expectRefusedForGood();
  });

  test("refuses a state of another history", async () => {
    await publish(300);
    await using elsewhere = await TestDirectories.create();
    const fork = new TestElection().grow(500, "other votes");
    await using other = await elsewhere.open(fork);
    await other.submit(fork.id, fork.head());
    // Its tiles too, so that nothing but the published checkpoint tells.
    await cp(elsewhere.state, directories.state, {
      recursive: true,
      filter: (path) => !path.endsWith(".lock"),
    });
    await rm(publicPath("tile"), { recursive: true });
    await cp(join(elsewhere.public, "vermont-2020/tile"), publicPath("tile"), { recursive: true });
    await expectRefusedForGood();
  });

  test("refuses a state that another key signed", async () => {
    await publish(300);
    await publisher[Symbol.asyncDispose]();
    const other = new SigningKey(new Uint8Array(32)).signerFor(TEST_PREFIX, election.id);
    const { note } = signHead([other], election.head());
    await writeFile(statePath(), note);
    publisher = await directories.open(election);
    await expectRefusal(() => publisher.submit(election.id, election.head()), mismatch);
  });

  test("with another key than the log's shows what is signed, and signs nothing", async () => {
    await publish(300);
    await publisher[Symbol.asyncDispose]();
    publisher = await directories.open(election, { key: new SigningKey(new Uint8Array(32)) });
    await expectRefusal(() => publisher.submit(election.id, election.grow(310).head()), {
      kind: "unavailable",
      reason: "KEY_MISSING",
    });
    expect(await directories.outsider(election).check()).toBe(300);
  });

  test.each([
    ["a torn state", () => writeFile(statePath(), "psephos.test/vermont-2020\n300\n")],
    ["an empty state", () => writeFile(statePath(), "")],
    ["a torn public checkpoint", () => writeFile(publicPath("checkpoint"), "")],
    ["a missing tile", () => rm(publicPath("tile/0/001.p/44"))],
    ["a missing bundle", () => rm(publicPath("tile/entries/001.p/44"))],
    ["a missing first bundle", () => rm(publicPath("tile/entries/000"))],
    ["a missing manifest", () => rm(publicPath("manifest.json"))],
    [
      "another manifest",
      () => writeFile(publicPath("manifest.json"), new TestElection({ title: "x" }).manifest),
    ],
    ["a changed tile", () => change(publicPath("tile/0/001.p/44"), 33)],
    ["a changed upper tile", () => change(publicPath("tile/1/000.p/1"), 33)],
    ["a changed entry", () => change(publicPath("tile/entries/001.p/44"), 333)],
  ])("refuses %s", async (_, damage) => {
    await publish(300);
    await damage();
    await expectRefusedForGood();
  });

  async function change(path: string, bit: number): Promise<void> {
    await writeFile(path, flipBit(await readFile(path), bit));
  }

  test("signs again when the files have been put right", async () => {
    await publish(300);
    const tile = publicPath("tile/0/001.p/44");
    const bytes = await readFile(tile);
    await rm(tile);
    await expectRefusedForGood();
    await writeFile(tile, bytes);
    await publish(301);
  });

  test("publishes what was signed and not shown", async () => {
    await publish(10_000);
    const note = await readFile(statePath(), "utf8");
    await publisher[Symbol.asyncDispose]();
    await rm(publicPath("checkpoint"));
    await rm(publicPath("checkpoints/0000000001"));
    publisher = await directories.open(election);
    expect(await outsider.check()).toBe(10_000);
    expect(String(await directories.file("vermont-2020/checkpoint"))).toBe(note);
  });

  test("does not read what another process holds", async () => {
    await publish(10);
    expect(await failure(directories.open(election))).toMatchObject({ name: "DirectoryLockedError" });
    await publish(20);
  });

  test("one broken log does not stop the others", async () => {
    await publish(10);
    await rm(publicPath("tile"), { recursive: true });
    const other = new TestElection({ election: electionId("other") });
    await restart(other);
    await publisher.submit(other.id, other.grow(10).head());
    expect(await directories.outsider(other).check()).toBe(10);
  });
});

test("a checkpoint's origin and key name are the log's", async () => {
  const note = await publish(5);
  const { checkpoint } = openCheckpoint({ note, log: NoteVerifier.parse(publisher.logKey(election.id)) });
  expect({ ...checkpoint, root: new Uint8Array(checkpoint.root) }).toEqual({
    origin: "psephos.test/vermont-2020",
    size: 5,
    root: new Uint8Array(election.head().root),
  });
});

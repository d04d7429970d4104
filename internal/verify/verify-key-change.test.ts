// A log that changed its key, as the public, an auditor and a restore see it; and changes that are none.
import { describe, expect, test } from "vitest";
import { electionId } from "../core/ids.ts";
import { keyChangePath, signKeyChange } from "../evidence/key-change.ts";
import { NoteSigner } from "../tlog/note.ts";
import { flip, TestLog, testLogSigner } from "./test-log.ts";

const id = electionId("test");
const [old, next, third] = [1, 2, 3].map((seed) => testLogSigner(id, seed)) as [
  NoteSigner,
  NoteSigner,
  NoteSigner,
];
const note = signKeyChange(id, old, next);
const create = (signers: readonly NoteSigner[], document = note) =>
  TestLog.create({ commits: [20, 10_000], keyChange: { note: document, signers } });
const CHANGE = 21;

const after = await create([next]);
const meanwhile = await create([next, old]);

test.each([
  ["while both keys sign", meanwhile],
  ["once the new key signs alone", after],
])("%s all of it verifies, for whoever trusts the first key or the last", async (_, log) => {
  for (const { verifierKey } of [old, next]) {
    const { report } = await log.verify({ logKey: verifierKey });
    expect(report.problems).toEqual([]);
    expect(report.checked.events).toBe(1);
  }
  const { report } = await log.verify({ logKey: third.verifierKey });
  expect(report.problems.map(({ problem }) => problem).join()).toContain("no change of key leads to that");
});

test("the evidence alone leads from key to key", async () => {
  const { report } = await after.verify({ public: false });
  expect(report.problems).toEqual([]);
});

test("checkpoints that the old key signs alone after the change are refused, public or not", async () => {
  const log = await create([old]);
  const { report } = await log.verify({ evidence: false });
  expect(report.problems).toEqual([
    { object: "key-changes", problem: expect.stringContaining("/0000000001: no trusted key") },
  ]);
  const evidence = await log.verify({ public: false });
  expect(evidence.report.problems.length).toBeGreaterThan(0);
  for (const { object, problem } of evidence.report.problems) {
    expect(object).toMatch(/checkpoint\.json$/);
    expect(problem).toContain("no trusted key signed the note");
  }
});

test("a change whose file is withheld, or is another's, leads nowhere", async () => {
  const withheld = after.clone();
  withheld.published.delete(keyChangePath(1));
  const { report } = await withheld.verify({ evidence: false });
  expect(report.problems).toEqual([
    { object: "checkpoint", problem: expect.stringContaining("no trusted key") },
  ]);
  const size = after.published.get(keyChangePath(1))?.length ?? 0;
  for (const at of [0, 40, 300, size >> 1, size - 20]) {
    const tampered = after.clone();
    tampered.published.edit(keyChangePath(1), flip(at));
    expect((await tampered.verify({ evidence: false })).report.problems, `byte ${at}`).toHaveLength(1);
  }
});

test("a tree that ends before the change, signed with the old key later on, is no part of the log", async () => {
  // Other votes, and the files of the change as the log has them, to please who demands the new key.
  const fork = await TestLog.create({ commits: [14], open: true });
  const stolen = after.clone();
  for (const [path, bytes] of fork.published) stolen.published.set(path, bytes);
  stolen.published.set("manifest.json", after.published.get("manifest.json") ?? new Uint8Array());
  expect(stolen.size).toBe(15);
  const { report } = await stolen.verify({ evidence: false, logKey: next.verifierKey });
  expect(report.problems).toEqual([
    { object: keyChangePath(1), problem: expect.stringContaining("a consistency proof from size 15") },
  ]);
});

const elsewhere = (seed: number) =>
  NoteSigner.fromSeed(`elsewhere.test/${id}`, new Uint8Array(32).fill(seed));

describe("in the evidence a change", () => {
  test.each([
    ["that the old key did not sign", signKeyChange(id, third, next), "the log's key is"],
    [
      "of another log of the same election",
      signKeyChange(id, elsewhere(1), elsewhere(2)),
      "is not a key of psephos.test/test",
    ],
    ["to the key there is", signKeyChange(id, old, old), "which the log has had before"],
  ])("%s is named, and changes nothing", async (_, document, why) => {
    const log = await TestLog.create({ commits: [20, 5], keyChange: { note: document, signers: [old] } });
    const { report } = await log.verify({ public: false });
    const object = log.segmentOf(CHANGE);
    expect(report.problems).toEqual([{ object, index: CHANGE, problem: expect.stringContaining(why) }]);
  });
});

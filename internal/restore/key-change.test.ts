// A restore of a log that changed its key: whom it believes, and what readers find afterwards.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { electionId, treeSize } from "../core/ids.ts";
import { keyChangePath, readKeyChanges, signKeyChange } from "../evidence/key-change.ts";
import { DurableFiles } from "../publisher/durable-files.ts";
import { PublicLog } from "../publisher/public-log.ts";
import { openCheckpoint } from "../tlog/checkpoint.ts";
import { TestLog, testLogSigner } from "../verify/test-log.ts";
import type { ObjectStore } from "../worm/object-store.ts";
import { demandSigned, openEvidence, parseSigned } from "./election-evidence.ts";
import { PublisherFiles } from "./publisher-files.ts";
import { verifyLog } from "./verify-log.ts";

const id = electionId("test");
const [old, next] = [testLogSigner(id, 1), testLogSigner(id, 2)];
const keyChange = { note: signKeyChange(id, old, next), signers: [next] };

async function verify({ evidence: stored, electionId: election }: TestLog) {
  const store: ObjectStore = {
    get: (key) => stored.read(key),
    list: (prefix) => stored.list(prefix),
    put: () => Promise.reject(new Error("nothing is written here")),
    stat: () => Promise.reject(new Error("a restore asks for bytes alone")),
  };
  const evidence = await openEvidence(store, election);
  const log = await verifyLog({
    store,
    evidence,
    known: [],
    onRecords: async () => {},
    onProgress: () => {},
    signal: new AbortController().signal,
  });
  return { evidence, log };
}

test("the evidence leads to the new key, and the Publisher gets the change back with the rest", async () => {
  const lost = await TestLog.create({ commits: [20, 300], keyChange });
  const { evidence, log } = await verify(lost);
  expect(log.keys.all.map(String)).toEqual([old.verifierKey, next.verifierKey]);

  const folder = await mkdtemp(join(tmpdir(), "psephos-restore-"));
  try {
    using state = await DurableFiles.open({ root: join(folder, "state") });
    using publicFiles = await DurableFiles.open({ root: join(folder, "public") });
    const files = await PublisherFiles.open({ state, publicFiles }, evidence);
    const note = lost.published.get("checkpoint") ?? new Uint8Array();
    const repair = files.missing([parseSigned("the public checkpoint", note)]);
    const tiles = [...lost.published].filter(([path]) => path.startsWith("tile/"));
    await repair?.take(
      tiles.map(([path, bytes]) => ({ path, bytes })),
      treeSize(log.size),
    );
    await repair?.finish(log);

    const { read } = new PublicLog({ files: publicFiles, election: id });
    const keys = await readKeyChanges(log.keys.first, read);
    expect(String(keys.newest)).toBe(next.verifierKey);
    expect(await read(keyChangePath(2))).toBeUndefined();
    openCheckpoint({ note: (await read("checkpoint")) ?? "", log: keys });
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("a checkpoint that the old key signed alone after the change is not believed", async () => {
  const { log } = await verify(await TestLog.create({ commits: [20, 300], keyChange, open: true }));
  const forged = await TestLog.create({ commits: [20, 300], open: true });
  const note = forged.published.get("checkpoint") ?? new Uint8Array();
  expect(() => demandSigned("the public checkpoint", parseSigned("it", note), log.keys)).toThrow(
    /the public checkpoint: no trusted key/,
  );
  // Nor one of a block.
  const blocks = await TestLog.create({ commits: [20, 10], keyChange: { ...keyChange, signers: [old] } });
  await expect(verify(blocks)).rejects.toThrow(/vote checkpoint 1: no trusted key/);
});

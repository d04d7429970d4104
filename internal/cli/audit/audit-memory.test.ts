// That an audit takes as much memory of a large election as of a small one. What is counted is what is left after a
// garbage collection, on the way through the log and while voters are folded: neither the machine nor the collector's
// mood changes it.
import { randomBytes } from "node:crypto";
import { setImmediate } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import { TemporaryFolder } from "../../../deploy/local/temporary-folder.ts";
import { TestLog } from "../../verify/test-log.ts";
import { AuditedFolder } from "./test-audit.ts";
import { VoterLedger } from "./voter-ledger.ts";
import { ROW_SIZE } from "./voter-rows.ts";

setFlagsFromString("--expose-gc");
const collectGarbage: () => void = runInNewContext("gc");

/** Twice: what array buffers had is given back by the collection after the one that found them unused. */
function bytesInUse(): number {
  collectGarbage();
  collectGarbage();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

const VOTES = 9_000;
/** 2^15 and a little: their table has nearly four slots a voter, the most that one has. */
const VOTERS_A_FILE = 33_000;
/** Of a ledger, a file. */
const BUFFER = 64 * 1024;

/** The most that is in use during an audit. */
async function memoryOfAudit(folder: AuditedFolder): Promise<number> {
  let [most, next] = [0, 0];
  const { report } = await folder.audit({
    onProgress(done) {
      if (done < next) return;
      next = done + 9_000;
      most = Math.max(most, bytesInUse());
    },
  });
  expect(report.problems).toEqual([]);
  return most;
}

// Making and auditing 90,000 votes takes seconds of a core, and several times that where cores are shared.
test("of eight times the votes, through all of the log", { timeout: 120_000 }, async () => {
  // Both are there all the time, so that what differs is the audit's.
  await using small = await AuditedFolder.create(await TestLog.create({ commits: [VOTES] }));
  await using large = await AuditedFolder.create(await TestLog.create({ commits: [8 * VOTES] }));
  await memoryOfAudit(small); // What is made once, and code that is compiled.
  const ofSmall = await memoryOfAudit(small);
  const ofLarge = await memoryOfAudit(large);
  // To keep no more than the hash of each record takes 32 bytes, and all of the tiles 16.
  expect(ofLarge - ofSmall).toBeLessThan(7 * VOTES * 15);
});

/** Rows of voters who are all in one file of a ledger's. The last one votes a second time. */
function votersOf(part: number, count: number): Uint8Array {
  const rows = randomBytes(count * ROW_SIZE);
  for (let row = 0; row < count; row++) {
    const at = row * ROW_SIZE;
    rows.writeUInt16BE(part, at);
    rows.writeUInt32BE(1, at + 16); // Revision, vote id and index.
    rows.writeUIntBE(row + 1, at + 20, 6);
    rows.writeUIntBE(row + 1, at + 26, 6);
  }
  rows.copyWithin((count - 1) * ROW_SIZE, (count - 2) * ROW_SIZE, (count - 2) * ROW_SIZE + 16);
  return rows;
}

/** The most that is in use when a ledger has folded one of its files, which have so many voters each. */
async function memoryOfLedger(parts: number): Promise<number> {
  await using folder = await TemporaryFolder.create();
  const manifest = { revoting: "forbidden", shards: 1 } as const;
  const ledger = new VoterLedger({ folder: folder.path, manifest, parts });
  for (let part = 0; part < parts; part++) await ledger.add("", votersOf(part, VOTERS_A_FILE));
  let [most, told] = [0, 0];
  // The second vote is a file's last row: the table is full when it is told.
  await ledger.finish(async () => {
    told++;
    await setImmediate(); // What reading the file has left on the stack is gone then.
    most = Math.max(most, bytesInUse());
  });
  expect(told).toBe(parts);
  return most;
}

test("of voters: 80 bytes each of one file, and a buffer a file", async () => {
  await memoryOfLedger(1); // As above.
  const before = bytesInUse();
  const one = (await memoryOfLedger(1)) - before;
  const eight = (await memoryOfLedger(8)) - before;
  // Its rows as they were read, a copy where they are aligned, and 16 bytes of the table.
  expect(one).toBeLessThan(VOTERS_A_FILE * 80 + BUFFER + 256 * 1024);
  // A file before may not be given back yet; eight of them would be far more.
  expect(eight).toBeLessThan(2 * one);
});

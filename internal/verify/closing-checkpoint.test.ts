import { expect, test } from "vitest";
import { checkpointKey } from "../evidence/layout.ts";
import { pendingClosingCheckpoint } from "./closing-checkpoint.ts";
import { flip, TestLog } from "./test-log.ts";

const LAST = 1;

function pending(log: TestLog): Promise<string | undefined> {
  const { evidence } = log;
  return pendingClosingCheckpoint(
    { get: (key, version) => evidence.read(key, version), list: (prefix) => evidence.list(prefix) },
    log.electionId,
  );
}

test("is pending between the closing entry and itself, and at no other time", async () => {
  const log = await TestLog.create({ commits: [20] });
  const key = checkpointKey(log.electionId, LAST);
  expect(await pending(log)).toBeUndefined();
  log.evidence.delete(key);
  expect(await pending(log)).toBe(key);
  log.evidence.edit(log.segmentOf(21), flip(100));
  expect(await pending(log)).toBeUndefined(); // Who knows what that segment says? Verification names it.
});

test("is not pending while an election is open, or where there is none", async () => {
  const log = await TestLog.create({ commits: [20], open: true });
  expect(await pending(log)).toBeUndefined();
  log.evidence.clear();
  expect(await pending(log)).toBeUndefined();
});

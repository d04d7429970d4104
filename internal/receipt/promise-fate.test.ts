import { describe, expect, test } from "vitest";
import { closingEntry, encodeEntry, type LogEntry } from "../ballot/entry.ts";
import { toHex } from "../core/bytes.ts";
import { sequence } from "../core/ids.ts";
import { sha256 } from "../core/sha256.ts";
import { TlogError } from "../tlog/errors.ts";
import { findEntry, scanForEntry } from "./find-entry.ts";
import { judgePromise } from "./promise-fate.ts";
import { promised, TestReceipts, voteEntry } from "./test-receipts.ts";

const BEFORE = 1_500_000_000;
const AFTER = 2_000_000_001;

/** Votes of shards of very different sizes, so that some bundles have none of a shard, and an event among them. */
function manyVotes(): LogEntry[] {
  const heads = [0, 0, 0, 0];
  return Array.from({ length: 1_500 }, (_, i): LogEntry => {
    if (i % 400 === 399) return { type: "event", eventHash: sha256(Uint8Array.of(i % 256)) };
    const shard = i % 500 === 0 ? 3 : i < 600 ? 0 : i % 3;
    heads[shard] = (heads[shard] ?? 0) + 1;
    return voteEntry(shard, heads[shard]);
  });
}

const votes = manyVotes();
const CLOSING = closingEntry([{ sequence: sequence(7), hash: sha256(new Uint8Array(0)) }]);
const log = new TestReceipts(votes);
const closed = new TestReceipts([...votes, CLOSING]);

function judge(entry: ReturnType<typeof voteEntry>, nowMicros: number, { of = log, cosignedAt = 0 } = {}) {
  const opened = of.opened(cosignedAt || undefined);
  return judgePromise({ promise: promised(entry), opened, fetch: of.fetch, nowMicros });
}

describe("finding an entry", () => {
  test("by halving and by reading everything, each vote is where it is", async () => {
    const reader = log.reader();
    for (const [i, vote] of votes.entries()) {
      if (vote.type !== "vote" || (i % 37 > 0 && vote.shard !== 3)) continue;
      const found = await findEntry(reader, vote);
      expect(found?.index).toBe(i + 1);
      expect(toHex(encodeEntry(found?.entry ?? vote))).toBe(toHex(encodeEntry(vote)));
    }
    const { checkpoint } = log.opened();
    const place = voteEntry(3, 2);
    const scanned = await scanForEntry({ fetch: log.fetch, checkpoint, place });
    expect(scanned).toEqual(await findEntry(reader, place));
  });

  test.each([
    [0, 5_000],
    [3, 4],
    [200, 1],
  ])("shard %i has no vote %i", async (shard, number) => {
    const place = voteEntry(shard, number);
    expect(await findEntry(log.reader(), place)).toBeUndefined();
    const progress: number[] = [];
    const onProgress = (done: number) => progress.push(done);
    const { checkpoint } = log.opened();
    expect(await scanForEntry({ fetch: log.fetch, checkpoint, place, onProgress })).toBeUndefined();
    expect(progress).toEqual([256, 512, 768, 1024, 1280, 1501]);
  });

  test("an empty log has nothing", async () => {
    expect(await findEntry(new TestReceipts().reader(), voteEntry(0, 1))).toBeUndefined();
  });
});

describe("a promise", () => {
  const missing = voteEntry(0, 5_000);

  test("is kept when its entry is in the log, whenever that is", async () => {
    for (const now of [BEFORE, AFTER]) {
      expect(await judge(voteEntry(0, 7), now)).toEqual({ fate: "kept", index: 8 });
      expect((await judge(voteEntry(0, 7), now, { of: closed })).fate).toBe("kept");
    }
  });

  test("may still be kept until it is due", async () => {
    expect(await judge(missing, BEFORE)).toEqual({ fate: "not-due" });
    expect(await judge(missing, 2_000_000_000)).toEqual({ fate: "not-due" });
    expect(await judge(missing, BEFORE, { cosignedAt: 2_000 })).toEqual({ fate: "not-due" });
  });

  test("is broken when another record has its place, due or not", async () => {
    const fate = await judge(voteEntry(0, 7, "another record"), BEFORE);
    expect(fate).toMatchObject({ fate: "broken", breach: { kind: "other-record", found: { index: 8 } } });
  });

  test("is broken when the log is closed without it, due or not", async () => {
    expect(await judge(missing, BEFORE, { of: closed })).toEqual({
      ...{ fate: "broken", breach: { kind: "closed" } },
    });
  });

  test("is broken when it is due, by a witness's clock before one's own", async () => {
    expect(await judge(missing, AFTER)).toEqual({ fate: "broken", breach: { kind: "own-clock" } });
    expect(await judge(missing, AFTER, { cosignedAt: 2_001 })).toEqual({
      ...{ fate: "broken", breach: { kind: "witnessed", witness: "witness.test/one", atSeconds: 2_001 } },
    });
  });

  test("is not judged by a log of another manifest", async () => {
    const other = new TestReceipts(votes, sha256(Uint8Array.of(1)));
    await expect(judge(missing, AFTER, { of: other })).rejects.toThrow("another manifest");
  });

  test("is not called broken because the log's order hides it", async () => {
    // A shard's sequences that fall along the log are against the rules; the entry is there all the same.
    const backwards = new TestReceipts(Array.from({ length: 600 }, (_, i) => voteEntry(0, 600 - i)));
    expect(await judge(voteEntry(0, 3), AFTER, { of: backwards })).toEqual({ fate: "kept", index: 598 });
  });

  test("is not called broken by tiles that were tampered with or are not there", async () => {
    for (const [path, bytes] of closed.objects) {
      if (!path.startsWith("tile/entries/")) continue;
      const tampered = new TestReceipts([...votes, CLOSING]);
      tampered.objects.set(path, bytes.with(40, (bytes[40] ?? 0) ^ 1));
      await expect(judge(missing, AFTER, { of: tampered })).rejects.toThrow(TlogError);
      tampered.objects.delete(path);
      await expect(judge(missing, AFTER, { of: tampered })).rejects.toThrow(`${path} is missing`);
    }
  });
});

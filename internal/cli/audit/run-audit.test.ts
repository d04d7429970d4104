import { rm } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { equalBytes } from "../../core/bytes.ts";
import { checkpointKey, EVIDENCE_LAYOUTS, manifestKey } from "../../evidence/layout.ts";
import { EMPTY_ROOT } from "../../tlog/tree.ts";
import type { VerificationReport } from "../../verify/report.ts";
import { flip, TEST_EVENT_KEY, TestLog } from "../../verify/test-log.ts";
import type { ObjectInfo } from "../../worm/object-store.ts";
import { AuditedFolder, checkHere } from "./test-audit.ts";

const places = ({ problems }: VerificationReport) => problems.map(({ problem: _, ...place }) => place);

describe.each(EVIDENCE_LAYOUTS)("layout %s", (layout) => {
  let log: TestLog;
  let folder: AuditedFolder;

  beforeAll(async () => {
    log = await TestLog.create({ layout, commits: [20, 30, 10], events: 1 });
    folder = await AuditedFolder.create(log);
  });

  afterAll(() => folder[Symbol.asyncDispose]());

  async function auditOf(change: (copy: TestLog) => void, options = {}) {
    const copy = log.clone();
    change(copy);
    await folder.store(copy);
    return folder.audit(options);
  }

  test("evidence as it was stored: all of it is counted, and what was not checked is said", async () => {
    const eventKey = TEST_EVENT_KEY.verifierKey(log.manifest);
    const { report, evidence, signed } = await auditOf(() => {}, { eventKey, workers: 2 });
    expect(report.problems).toEqual([]);
    expect(report.checked).toMatchObject({ segments: 8, records: 60, events: 3, checkpoints: 1, notes: 2 });
    expect(evidence?.size).toBe(65);
    expect(equalBytes(evidence?.root ?? new Uint8Array(), signed?.checkpoint.root ?? EMPTY_ROOT)).toBe(true);
    expect(evidence?.closing?.totalVotes).toBe(60);
    expect(report.notChecked).toEqual(["retention: the evidence store is a directory, which cannot lock"]);
  });

  test("it finds what verify finds, and says it in the same words", async () => {
    const key = log.segmentOf(25);
    const last = log.segmentOf(64);
    const changes: ((copy: TestLog) => void)[] = [
      ({ evidence }) => evidence.edit(key, flip(40)),
      ({ evidence }) => evidence.delete(key),
      ({ evidence }) => evidence.delete(last),
      ({ evidence }) => evidence.edit(checkpointKey(log.electionId, 1), flip(300)),
      ({ evidence }) => evidence.delete(checkpointKey(log.electionId, 1)),
      ({ evidence }) => evidence.set(`${log.electionId}/votes/stranger.txt`, new Uint8Array(1)),
      ({ published }) => published.edit("checkpoint", flip(-20)),
      (copy) =>
        copy.editSegment(key, (segment) => ({
          ...segment,
          entries: segment.entries.map((entry, i) =>
            entry.type === "vote" && i === 4 ? { ...entry, record: { ...entry.record, revision: 2 } } : entry,
          ),
        })),
      (copy) => copy.editSegment(key, (segment) => ({ ...segment, entries: segment.entries.toReversed() })),
    ];
    for (const change of changes) {
      const copy = log.clone();
      change(copy);
      const verified = await copy.verify();
      await folder.store(copy);
      const { report } = await folder.audit({ source: copy.source });
      expect(report.problems.length).toBeGreaterThan(0);
      for (const problem of report.problems) expect(verified.report.problems).toContainEqual(problem);
    }
  });

  test("a changed record is named by object, index, shard and sequence", async () => {
    const index = 25;
    const key = log.segmentOf(index);
    const { shard, sequence } = log.recordAt(index);
    const { report } = await auditOf((copy) =>
      copy.editSegment(key, (segment) => ({
        ...segment,
        entries: segment.entries.map((entry, i) =>
          entry.type === "vote" && segment.firstIndex + i === index
            ? { ...entry, record: { ...entry.record, castAt: entry.record.castAt + 1 } }
            : entry,
        ),
      })),
    );
    expect(places(report)).toContainEqual({ object: key, index, shard, sequence });
  });

  test("a voter who votes twice is named, and so is the segment", async () => {
    const twice = await TestLog.create({ layout, commits: [20], doubleVote: true });
    const { shard, sequence } = twice.recordAt(21);
    await using other = await AuditedFolder.create(twice);
    expect((await other.audit()).report.problems).toEqual([
      {
        object: twice.segmentOf(21),
        index: 21,
        shard,
        sequence,
        problem: "a second vote of the voter of sequence 1",
      },
    ]);
  });

  test("nothing can be verified without a manifest", async () => {
    const { report, opened } = await auditOf(({ evidence }) => evidence.delete(manifestKey(log.electionId)));
    expect(opened).toBeUndefined();
    expect(places(report)).toEqual([{ object: manifestKey(log.electionId) }]);
  });
});

describe("a log of several blocks", () => {
  let log: TestLog;
  let folder: AuditedFolder;

  beforeAll(async () => {
    // Few votes and many events: what is audited of blocks is the same.
    log = await TestLog.create({ commits: [100, 100, 100], events: 8_300 });
    folder = await AuditedFolder.create(log);
  });

  afterAll(() => folder[Symbol.asyncDispose]());

  test("parts of it: joined to the signed checkpoint before and to the public tree", async () => {
    const { size } = log;
    expect(size).toBe(25_202);
    const second = await folder.audit({ range: { first: 2, last: 2 } });
    expect(second.report.problems).toEqual([]);
    expect(second.report.checked.checkpoints).toBe(1);
    expect(second.evidence?.size).toBe(20_000);
    expect(second.report.notChecked).toContain(
      "the evidence of entries 0 to 9999, which this audit is not of",
    );
    expect(second.report.notChecked.join()).not.toMatch(/tree roots/);
    const rest = await folder.audit({ range: { first: 2, last: undefined } });
    expect(rest.report.problems).toEqual([]);
    expect(rest.evidence?.size).toBe(size);
    await expect(folder.audit({ range: { first: 9, last: 9 } })).rejects.toThrow(
      /no checkpoint 9.* ends with number 3/,
    );
  });

  test("a part finds what is in it, and not what is elsewhere", async () => {
    const copy = log.clone();
    const key = copy.segmentOf(15_000);
    copy.evidence.edit(key, flip(30));
    await folder.store(copy);
    const inside = await folder.audit({ range: { first: 2, last: 2 } });
    expect(inside.report.problems[0]?.object).toBe(key);
    const after = await folder.audit({ range: { first: 3, last: 3 } });
    expect(after.report.problems).toEqual([]);
    await folder.store(log);
  });

  test("interrupted and resumed, it comes to the same end without reading again what it had verified", async () => {
    const whole = await folder.audit({ workers: 2 });
    expect(whole.report.problems).toEqual([]);
    const stop = (done: number) => {
      if (done > 21_000) throw new Error("interrupted");
    };
    const interrupted = folder.audit({ workers: 2, saveEveryMs: 0, onProgress: stop });
    await expect(interrupted).rejects.toThrow("interrupted");
    const seen: number[] = [];
    const resumed = await folder.audit({ workers: 2, resume: true, onProgress: (done) => seen.push(done) });
    expect(seen[0]).toBeGreaterThan(20_000);
    expect(resumed.resumed).toEqual({ times: 1, checkpoint: 2 });
    expect(resumed.report.checked).toMatchObject({
      ...whole.report.checked,
      bytes: expect.any(Number),
      notes: whole.report.checked.notes,
    });
    expect(resumed.report.problems).toEqual([]);
    expect(resumed.evidence?.root).toEqual(whole.evidence?.root);
    // At its end it has nothing to go on with.
    await expect(folder.audit({ resume: true })).rejects.toThrow(/no audit to resume/);
  });

  test("what was found before an interruption is not forgotten, and of another subject nothing is taken over", async () => {
    const copy = log.clone();
    copy.evidence.edit(copy.segmentOf(50), flip(30));
    await folder.store(copy);
    const stop = (done: number) => {
      if (done > 11_000) throw new Error("interrupted");
    };
    await expect(folder.audit({ saveEveryMs: 0, onProgress: stop })).rejects.toThrow("interrupted");
    const otherKey = TEST_EVENT_KEY.verifierKey(log.manifest);
    await expect(folder.audit({ resume: true, eventKey: otherKey })).rejects.toThrow(/of another eventKey/);
    const { report } = await folder.audit({ resume: true });
    expect(report.problems[0]?.object).toBe(copy.segmentOf(50));
    await folder.store(log);
  });

  test("voters are remembered over an interruption", async () => {
    const twice = await TestLog.create({ commits: [100, 50], events: 5_200, doubleVote: true });
    await using other = await AuditedFolder.create(twice);
    const stop = (done: number) => {
      if (done > 10_100) throw new Error("interrupted");
    };
    await expect(other.audit({ saveEveryMs: 0, onProgress: stop })).rejects.toThrow("interrupted");
    const { report } = await other.audit({ resume: true });
    expect(report.problems).toMatchObject([{ problem: "a second vote of the voter of sequence 1" }]);
    await expect(other.audit({ saveEveryMs: 0, onProgress: stop })).rejects.toThrow("interrupted");
    await rm(join(other.stateFolder, "voters"), { recursive: true });
    await expect(other.audit({ resume: true })).rejects.toThrow(/begin anew/);
  });
});

describe("a store that locks", () => {
  let log: TestLog;
  let folder: AuditedFolder;
  const until = new Date("2036-01-01T00:00:00Z");

  beforeAll(async () => {
    log = await TestLog.create({ commits: [20, 30] });
    folder = await AuditedFolder.create(log);
  });

  afterAll(() => folder[Symbol.asyncDispose]());

  /** The folder as a store that says of each object what `of` makes of it. */
  async function auditWith(of: (key: string) => Partial<ObjectInfo>) {
    const { options } = folder;
    const { store } = options;
    const stat = async (key: string): Promise<ObjectInfo | undefined> => ({
      key,
      versionId: "1",
      bytes: 1,
      sha256: undefined,
      retention: { mode: "COMPLIANCE", until },
      access: "available",
      storageClass: "STANDARD",
      ...of(key),
    });
    const lock = { mode: "COMPLIANCE", stat, now: Date.parse("2026-01-01T00:00:00Z") } as const;
    return { ...(await folder.audit({ lock, checker: checkHere({ store, lock }) })) };
  }

  test("each object is asked for its lock", async () => {
    const { report } = await auditWith(() => ({}));
    expect(report.problems).toEqual([]);
    expect(report.checked.locks).toBe(log.evidence.size);
    expect(report.notChecked).toEqual([]);
  });

  test("an object that is not locked, not long enough, or in a weaker mode, is named", async () => {
    const key = log.segmentOf(25);
    const manifest = manifestKey(log.electionId);
    const faults: [string, ObjectInfo["retention"], RegExp][] = [
      [key, null, /is not locked/],
      [manifest, null, /is not locked/],
      [checkpointKey(log.electionId, 1), null, /is not locked/],
      [key, { mode: "GOVERNANCE", until }, /locked in mode GOVERNANCE where COMPLIANCE is expected/],
      [manifest, { mode: "COMPLIANCE", until: new Date("2025-01-01T00:00:00Z") }, /was locked until 2025/],
    ];
    for (const [object, retention, problem] of faults) {
      const { report } = await auditWith((asked) => (asked === object ? { retention } : {}));
      expect(report.problems).toEqual([{ object, problem: expect.stringMatching(problem) }]);
    }
  });

  test("an archived segment is listed, not checked and no problem", async () => {
    const key = log.segmentOf(25);
    const audit = await auditWith((asked) => (asked === key ? { access: "archived" } : {}));
    const { report } = audit;
    expect(report.problems).toEqual([]);
    expect(report.archived).toEqual([{ key, versionId: "1", access: "archived" }]);
    expect(report.notChecked).toEqual(["the evidence of entries 21 to 50"]);
    expect(audit.report.result).toBe("incomplete");
    // All others are.
    expect(report.checked.records).toBe(20);
  });

  test("with everything archived there is a clear answer, too", async () => {
    const audit = await auditWith(() => ({ access: "restoring" }));
    expect(audit.report.archived).toEqual([
      { key: manifestKey(log.electionId), versionId: "1", access: "restoring" },
    ]);
    expect(audit.report.problems).toEqual([]);
    expect(audit.report.result).toBe("incomplete");
  });

  test("what lies over an object is a warning, and the first version is what counts", async () => {
    const key = log.segmentOf(25);
    async function* listVersions(prefix: string) {
      for await (const found of folder.options.store.list(prefix)) {
        if (found === key) {
          yield { key, deleteMarker: true };
          yield { key, deleteMarker: false };
        }
        yield { key: found, deleteMarker: false };
      }
      yield { key: `${log.electionId}/votes/zzz`, deleteMarker: true };
    }
    const { report } = await folder.audit({ listVersions });
    expect(report.problems).toEqual([]);
    expect(report.warnings.map(({ object, problem }) => `${object} ${problem}`)).toEqual([
      `${key} has 1 newer version over it; the first version is the evidence`,
      `${key} has 1 delete marker over it; the first version is the evidence`,
      `${log.electionId}/votes/zzz has 1 delete marker over it; the first version is the evidence`,
    ]);
  });
});

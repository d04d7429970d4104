import { beforeAll, describe, expect, test } from "vitest";
import { closingEntry, encodeEntry, type LogEntry } from "../ballot/entry.ts";
import { encodeManifest } from "../ballot/manifest.ts";
import { genesisHash } from "../ballot/record.ts";
import { utf8 } from "../core/bytes.ts";
import { electionId, sequence, shardId, treeSize } from "../core/ids.ts";
import { asHash, sha256 } from "../core/sha256.ts";
import { GrowingTree } from "../tlog/growing-tree.ts";
import { SourceError, SourceGoneError } from "./http-source.ts";
import { VerificationReport } from "./report.ts";
import { flip, numbered, TestLog } from "./test-log.ts";
import { verifyPublicLog } from "./verify-public.ts";

let small: TestLog;
/** More than a block, and so with a numbered checkpoint in its midst. */
let large: TestLog;

beforeAll(async () => {
  small = await TestLog.create({ commits: [20, 500] });
  large = await TestLog.create({ commits: [9_000, 2_000] });
});

/** The problems of a public log after a change. */
async function problemsOf(log: TestLog, change: (copy: TestLog) => void) {
  const copy = log.clone();
  change(copy);
  const { report } = await copy.verify({ evidence: false });
  expect(report.ok).toBe(report.problems.length === 0);
  return report;
}

describe("a public log as it was published", () => {
  test("verifies, and everything in it is counted", async () => {
    const { report, log } = await small.verify({ evidence: false });
    expect(report.problems).toEqual([]);
    expect(report.notChecked).toEqual([]);
    // 522 entries: bundles and level-0 tiles 0, 1 and 2 of width 10, and tile/1/000.p/2.
    expect(report.checked).toMatchObject({ entries: 522, notes: 2, tiles: 3 + 3 + 1 + 1 });
    expect(log).toMatchObject({ checkpoint: { size: 522 }, closing: { totalVotes: 520 } });
  });

  test("verifies over the end of a block, and after partial tiles are gone", async () => {
    const { report } = await large.verify({ evidence: false });
    expect(report.problems).toEqual([]);
    expect(report.checked).toMatchObject({ entries: 11_002, notes: 3 });
    const tidy = await problemsOf(large, ({ published }) => {
      for (const path of ["tile/0/039.p/16", "tile/entries/039.p/16"]) {
        expect(published.delete(path)).toBe(true);
      }
    });
    expect(tidy.problems).toEqual([]);
  });

  test("that is open verifies, without a numbered checkpoint for its unfinished block", async () => {
    const open = await TestLog.create({ commits: [20], open: true });
    const { report, log } = await open.verify({ evidence: false });
    expect(report.problems).toEqual([]);
    expect(log?.closing).toBeUndefined();
  });

  test("is verified with the key the caller knows, or says that it is not", async () => {
    const report = new VerificationReport();
    const { source, electionId } = small;
    await verifyPublicLog({ source, electionId, report });
    expect(report.ok).toBe(true);
    expect(report.notChecked.join()).toContain("--log-key");

    const other = new VerificationReport();
    const logKey = small.manifest.logKey.replace("psephos.test", "psephos.evil");
    expect(await verifyPublicLog({ source, electionId, report: other, logKey })).toBeUndefined();
    expect(other.problems.map(({ object }) => object)).toEqual(["manifest.json"]);
  });

  test("is not taken for another election's", async () => {
    const report = new VerificationReport();
    const { source } = small;
    const log = await verifyPublicLog({ source, electionId: electionId("other"), report });
    expect(log).toBeUndefined();
    expect(report.problems).toEqual([{ object: "manifest.json", problem: "is of the election test" }]);
  });
});

describe("tampering with the public log is named", () => {
  test.each([
    ["checkpoint", 5],
    ["checkpoint", -10],
    ["manifest.json", 40],
    ["tile/entries/000", 400],
    ["tile/entries/001", 0],
    ["tile/entries/002.p/10", -1],
    ["tile/0/000", 0],
    ["tile/0/001", 8191],
    ["tile/0/002.p/10", 17],
    ["tile/1/000.p/2", 63],
    [numbered(1), 30],
  ])("a changed byte in %s", async (object, at) => {
    const report = await problemsOf(small, ({ published }) => published.edit(object, flip(at)));
    expect(report.problems.map((problem) => problem.object)).toEqual([object]);
  });

  test.each([
    "checkpoint",
    "manifest.json",
    "tile/entries/001",
    "tile/0/000",
    "tile/0/002.p/10",
    numbered(1),
  ])("a missing %s", async (object) => {
    const report = await problemsOf(small, ({ published }) => published.delete(object));
    expect(report.problems).toMatchObject([
      { object, problem: expect.stringMatching(/is missing|is not there/) },
    ]);
  });

  test("a longer, a shorter and an empty object", async () => {
    for (const object of ["tile/entries/000", "tile/0/000", "tile/0/002.p/10", "checkpoint"]) {
      for (const change of [
        (body: Uint8Array) => Uint8Array.of(...body, 0),
        (body: Uint8Array) => body.subarray(0, -1),
        () => new Uint8Array(),
      ]) {
        const report = await problemsOf(small, ({ published }) => published.edit(object, change));
        expect(report.problems.map((problem) => problem.object)).toEqual([object]);
      }
    }
  });

  test("a changed entry, with the rest still checked and what was not", async () => {
    const report = await problemsOf(small, ({ published }) =>
      published.edit("tile/entries/001", flip(2 + 20)),
    );
    expect(report.problems).toEqual([
      {
        object: "tile/entries/001",
        index: 256,
        problem: expect.stringContaining("entry 256 is not the one"),
      },
    ]);
    expect(report.notChecked).toEqual(["public entries 256 to 511"]);
    expect(report.checked.entries).toBe(522 - 256);
  });

  test("a changed tile leaves every entry verified", async () => {
    for (const path of ["tile/0/000", "tile/1/000.p/2"]) {
      const report = await problemsOf(small, ({ published }) => published.edit(path, flip(3)));
      expect(report.checked.entries).toBe(522);
      expect(report.notChecked).toEqual([]);
    }
  });

  test("a partial tile that was served at the end of a block", async () => {
    for (const object of ["tile/0/039.p/16", "tile/entries/039.p/16", "tile/1/000.p/39"]) {
      const report = await problemsOf(large, ({ published }) => published.edit(object, flip(5)));
      expect(report.problems.map((problem) => problem.object)).toEqual([object]);
    }
  });

  test("a numbered checkpoint of another tree or size, signed by the log's own key", async () => {
    const root = asHash(new Uint8Array(32).fill(7));
    const fork = await problemsOf(large, (copy) => {
      copy.published.set(numbered(1), copy.sign({ size: treeSize(10_000), root }));
    });
    expect(fork.problems).toEqual([{ object: numbered(1), problem: "is signed for another tree" }]);
    const size = await problemsOf(large, (copy) => {
      copy.published.set(numbered(1), copy.sign({ size: treeSize(9_999), root }));
    });
    expect(size.problems).toEqual([{ object: numbered(1), problem: "is of size 9999, not 10000" }]);
    // Where the entries do not give the root any more, the tiles do.
    const both = await problemsOf(large, (copy) => {
      copy.published.edit("tile/entries/000", flip(99));
      copy.published.set(numbered(1), copy.sign({ size: treeSize(10_000), root }));
    });
    expect(both.problems.map(({ object }) => object)).toEqual(["tile/entries/000", numbered(1)]);
  });

  test("a checkpoint of another tree, signed by the log's own key: no entry verifies", async () => {
    const root = asHash(new Uint8Array(32).fill(7));
    const report = await problemsOf(small, (copy) => {
      copy.published.set("checkpoint", copy.sign({ size: treeSize(522), root }));
    });
    expect(report.ok).toBe(false);
    expect(report.checked.entries).toBe(0);
    expect(report.notChecked).toEqual(["public entries 0 to 521"]);
  });

  test("a checkpoint of a size that is not there, and costs no time without end", async () => {
    const report = await problemsOf(small, (copy) => {
      const root = asHash(new Uint8Array(32).fill(7));
      copy.published.set("checkpoint", copy.sign({ size: treeSize(2 ** 52), root }));
    });
    expect(report.ok).toBe(false);
    expect(report.notChecked).toEqual([
      `public entries 0 to ${2 ** 52 - 1}`,
      "numbered checkpoints from 1 on",
    ]);
  });

  test("an empty log, and garbage in every place", async () => {
    const empty = await problemsOf(small, (copy) => {
      copy.published.set("checkpoint", copy.sign({ size: treeSize(0), root: GrowingTree.empty().root() }));
    });
    expect(empty.problems.map(({ object }) => object)).toEqual(["checkpoint"]);
    for (const path of small.referenced) {
      for (const garbage of ["garbage", "", "null", "{}", "\u2014\n\n\n", "<html>404</html>"]) {
        const report = await problemsOf(small, ({ published }) => published.set(path, utf8(garbage)));
        expect(report.problems.map(({ object }) => object)).toContain(path);
      }
    }
  });
});

describe("a log that breaks the rules, in the log's own tree", () => {
  /** A public log of any entries, signed as it is. */
  async function published(entries: readonly LogEntry[]) {
    const log = small.clone();
    const tree = GrowingTree.empty();
    for (const entry of entries) tree.append(encodeEntry(entry));
    log.published.clear();
    log.published.set("manifest.json", encodeManifest(small.manifest));
    for (const { path, bytes } of tree.takeTiles()) log.published.set(path, bytes);
    log.published.set("checkpoint", log.sign({ size: tree.size, root: tree.root() }));
    log.published.set(numbered(1), log.sign({ size: tree.size, root: tree.root() }));
    return (await log.verify({ evidence: false })).report.problems;
  }
  const manifest = (): LogEntry => ({ type: "manifest", manifestHash: small.manifestHash });
  const vote = (shard: number, n: number): LogEntry => ({
    type: "vote",
    shard: shardId(shard),
    sequence: sequence(n),
    recordHash: sha256(utf8(`${shard} ${n}`)),
  });
  const heads = (...sequences: number[]) =>
    sequences.map((n, shard) => {
      const entry = vote(shard, n);
      const hash =
        n > 0 && entry.type === "vote" ? entry.recordHash : genesisHash(small.manifestHash, shardId(shard));
      return { sequence: sequence(n), hash };
    });
  const object = (width: number) => `tile/entries/000.p/${width}`;

  test("one that breaks none", async () => {
    const entries = [manifest(), vote(0, 1), vote(3, 1), vote(0, 2), closingEntry(heads(2, 0, 0, 1))];
    expect(await published(entries)).toEqual([]);
  });

  test("a vote that is missing, that comes twice, or of no shard", async () => {
    expect(await published([manifest(), vote(0, 1), vote(0, 3)])).toEqual([
      { object: object(3), index: 2, shard: 0, sequence: 3, problem: "follows sequence 1 of its shard" },
    ]);
    expect(await published([manifest(), vote(2, 1), vote(2, 1)])).toEqual([
      { object: object(3), index: 2, shard: 2, sequence: 1, problem: "follows sequence 1 of its shard" },
    ]);
    expect(await published([manifest(), vote(4, 1)])).toEqual([
      { object: object(2), index: 1, shard: 4, sequence: 1, problem: "the election has 4 shards" },
    ]);
  });

  test("no manifest first, another one, or a second one", async () => {
    const first = "the manifest entry is the first, and only the first";
    expect(await published([vote(0, 1)])).toEqual([{ object: object(1), index: 0, problem: first }]);
    expect(await published([manifest(), manifest()])).toEqual([
      { object: object(2), index: 1, problem: first },
    ]);
    const other: LogEntry = { type: "manifest", manifestHash: sha256(utf8("other")) };
    expect(await published([other])).toMatchObject([
      { object: "manifest.json", index: 0, problem: expect.stringContaining("which the log begins with") },
    ]);
  });

  test("a closing entry with other totals, of other shards, or not at the end", async () => {
    const wrong = await published([manifest(), vote(1, 1), closingEntry(heads(0, 2, 0, 0))]);
    expect(wrong).toMatchObject([{ object: object(3), index: 2, shard: 1, sequence: 2 }]);
    const few = await published([manifest(), closingEntry(heads(0, 0, 0))]);
    expect(few).toEqual([{ object: object(2), index: 1, problem: "closes 3 shards of 4" }]);
    const early = await published([manifest(), closingEntry(heads(0, 0, 0, 0)), vote(0, 1)]);
    expect(early).toEqual([{ object: object(3), index: 1, problem: "entries follow the closing entry" }]);
  });
});

describe("a source that fails", () => {
  /** Verifies while some paths cannot be read. */
  async function failing(log: TestLog, fails: (path: string) => Error | undefined) {
    const report = new VerificationReport();
    const source = async (path: string) => {
      const error = fails(path);
      if (error) throw error;
      return log.published.get(path);
    };
    const { electionId, manifest } = log;
    await verifyPublicLog({ source, electionId, report, logKey: manifest.logKey });
    return report;
  }

  test("for one object: it is named, and the rest is checked", async () => {
    for (const object of ["tile/entries/001", "tile/0/000", numbered(1)]) {
      const report = await failing(small, (path) =>
        path === object ? new SourceError(`${path}: no answer`) : undefined,
      );
      expect(report.problems).toMatchObject([{ object, problem: "no answer" }]);
    }
  });

  test("for good: the rest is not asked for, and said not to be checked", async () => {
    let asked = 0;
    const report = await failing(large, (path) => {
      if (!path.startsWith("tile/entries/")) return undefined;
      return ++asked > 5 ? new SourceGoneError("gone") : undefined;
    });
    expect(report.ok).toBe(false);
    expect(report.problems.length).toBeLessThan(3);
    expect(report.notChecked).toContainEqual(expect.stringMatching(/^public entries \d+ to 11001$/));
    expect(asked).toBeLessThan(80);
  });

  test("from the start: there is nothing to report on", async () => {
    await expect(failing(small, () => new SourceError("connect ECONNREFUSED"))).rejects.toThrow(SourceError);
  });
});

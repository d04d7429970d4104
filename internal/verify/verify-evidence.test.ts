import { beforeAll, describe, expect, test } from "vitest";
import { encodeEntry } from "../ballot/entry.ts";
import { recordHash } from "../ballot/record.ts";
import { shardOf } from "../ballot/voter-key.ts";
import { utf8 } from "../core/bytes.ts";
import { treeSize } from "../core/ids.ts";
import { asHash } from "../core/sha256.ts";
import {
  checkpointKey,
  EVIDENCE_LAYOUTS,
  manifestKey,
  parseSegmentKey,
  segmentKey,
} from "../evidence/layout.ts";
import { logEntryOf, type Segment } from "../evidence/segment.ts";
import {
  encodeVoteCheckpoint,
  parseVoteCheckpoint,
  type VoteCheckpoint,
} from "../evidence/vote-checkpoint.ts";
import { GrowingTree } from "../tlog/growing-tree.ts";
import type { VerificationReport } from "./report.ts";
import { flip, TestLog } from "./test-log.ts";

describe.each(EVIDENCE_LAYOUTS)("layout %s", (layout) => {
  let small: TestLog;
  /** 11,002 entries: one block and some. */
  let large: TestLog;
  let largeFork: { commits: number[]; events?: number };
  let largeVotes: number;

  beforeAll(async () => {
    small = await TestLog.create({ layout, commits: [20, 30, 10] });
    // Where each vote is an object, most entries are events: what is verified of blocks is the same.
    const most = layout === "segments" ? { commits: [9_000, 2_000] } : { commits: [100, 100], events: 5_400 };
    large = await TestLog.create({ layout, ...most });
    largeFork = { ...most, commits: layout === "segments" ? [9_000, 500] : [100, 50] };
    largeVotes = large.records.flat().length;
  }, 30_000);

  type Findings = {
    /** With the public log beside the evidence. */
    readonly both: VerificationReport;
    /** The evidence alone. */
    readonly alone: VerificationReport;
  };

  async function findingsOf(log: TestLog, change: (copy: TestLog) => void): Promise<Findings> {
    const copy = log.clone();
    change(copy);
    const [{ report: both }, { report: alone }] = [await copy.verify(), await copy.verify({ public: false })];
    return { both, alone };
  }

  const places = ({ problems }: VerificationReport) => problems.map(({ problem: _, ...place }) => place);
  const objects = ({ problems }: VerificationReport) => [...new Set(problems.map(({ object }) => object))];

  describe("evidence as it was stored", () => {
    test("verifies, and everything in it is counted", async () => {
      const { both, alone } = await findingsOf(small, () => {});
      for (const report of [both, alone]) {
        expect(report.problems).toEqual([]);
        expect(report.notChecked).toEqual([]);
        expect(report.checked).toMatchObject({ segments: 5, records: 60, checkpoints: 1 });
      }
      expect(both.checked).toMatchObject({ entries: 62, notes: 3 });
      const { evidence } = await small.verify({ public: false });
      expect(evidence).toMatchObject({ treeSize: 62, closing: { totalVotes: 60 } });
      expect(evidence?.shardHeads?.map(({ sequence }) => sequence)).toEqual(
        small.records.map((records) => records.length),
      );
    });

    test("verifies over the end of a block", async () => {
      const { both, alone } = await findingsOf(large, () => {});
      expect([both.problems, alone.problems]).toEqual([[], []]);
      expect(alone.checked).toMatchObject({ records: largeVotes, checkpoints: 2 });
    });

    test("of an open election verifies, and says what is not signed yet", async () => {
      const open = await TestLog.create({ layout, commits: [20, 30], open: true });
      const { both, alone } = await findingsOf(open, () => {});
      expect([both.problems, alone.problems]).toEqual([[], []]);
      expect(both.notChecked).toEqual([]);
      expect(alone.notChecked).toEqual(["signatures of entries from 0 on: there are none yet"]);
    });

    test("may be ahead of the public log, which is said", async () => {
      const open = await TestLog.create({ layout, commits: [20, 30], open: true });
      const { both } = await findingsOf(open, (copy) => {
        // As it was after the first commit.
        copy.published.set("checkpoint", copy.sign({ size: treeSize(21), root: treeOf(copy, 21).root() }));
      });
      expect(both.problems).toEqual([]);
      expect(both.notChecked).toEqual(["entries from 21 on against the public log, which ends before them"]);
    });

    test("may be cut into segments as it likes: one is compared up to where the public log ends", async () => {
      const open = await TestLog.create({ layout, commits: [20, 30], open: true });
      const key = open.segmentOf(40);
      const publishFirst30 = (copy: TestLog) => {
        const tree = treeOf(open, 30);
        for (const { path, bytes } of tree.takeTiles()) copy.published.set(path, bytes);
        copy.published.set("checkpoint", copy.sign({ size: tree.size, root: tree.root() }));
      };
      expect((await findingsOf(open, publishFirst30)).both.problems).toEqual([]);
      for (const [index, differs] of [
        [29, true],
        [30, false],
      ] as const) {
        const { both } = await findingsOf(open, (copy) => {
          publishFirst30(copy);
          copy.editSegment(key, (segment) => changeRecord(segment, index));
        });
        const problem = "the public log has another entry here";
        expect(both.problems.some((found) => found.problem === problem && found.index === index)).toBe(
          differs,
        );
      }
    });
  });

  /** Another hash for the record behind a log index. */
  function changeRecord(segment: Segment, index: number): Segment {
    const entries = segment.entries.map((entry, i) =>
      entry.type === "vote" && segment.firstIndex + i === index
        ? { ...entry, record: { ...entry.record, hash: asHash(flip(0)(new Uint8Array(entry.record.hash))) } }
        : entry,
    );
    return { ...segment, entries };
  }

  /** The tree that the evidence gives for the first `size` entries. */
  function treeOf(log: TestLog, size: number): GrowingTree {
    const tree = GrowingTree.empty();
    for (const key of log.segmentKeys) {
      for (const entry of log.segment(key).entries) {
        if (tree.size < size) tree.append(encodeEntry(logEntryOf(entry)));
      }
    }
    return tree;
  }

  /** The segment with the roots that its entries lead to, as a careful forger would write it. */
  function consistent(log: TestLog, segment: Segment): Segment {
    const tree = GrowingTree.empty();
    for (const key of log.segmentKeys) {
      const before = log.segment(key);
      if (before.firstIndex >= segment.firstIndex) break;
      for (const entry of before.entries) tree.append(encodeEntry(logEntryOf(entry)));
    }
    for (const entry of segment.entries) tree.append(encodeEntry(logEntryOf(entry)));
    return { ...segment, rootAfter: tree.root() };
  }

  /** Changes the records of a segment. */
  function editRecords(
    log: TestLog,
    key: string,
    change: (entries: Segment["entries"]) => Segment["entries"],
  ) {
    log.editSegment(key, (segment) => ({ ...segment, entries: change(segment.entries) }));
  }

  /** The first index from `from` on whose record is followed, in its segment, by the next one of its shard. */
  function midChain(from: number): number {
    let index = from;
    while (small.recordAt(index).shard !== small.recordAt(index + 1).shard) index++;
    return index;
  }

  describe("tampering with a segment is named", () => {
    test("changed bytes: the object, the index it begins with, and what was not checked", async () => {
      const key = small.segmentOf(25);
      for (const at of [0, 5, 50, -1]) {
        const { both, alone } = await findingsOf(small, ({ evidence }) => evidence.edit(key, flip(at)));
        for (const report of [both, alone]) {
          expect(objects(report)).toEqual([key]);
          expect(report.problems[0]?.problem).toMatch(/other bytes than .*checkpoint.json names/);
          expect(report.problems[1]).toMatchObject({ object: key, index: 21 });
          // The other segments are still checked, from where they say they begin.
          expect(report.checked).toMatchObject({ segments: 4, records: 30 });
          expect(report.notChecked).toContain("the evidence of entries 21 to 50");
        }
        // With the public log, so are the roots after it.
        const ofVotes = "which vote objects of block 1 no segment names: not all were read";
        const lost = ["the evidence of entries 21 to 50"];
        expect(both.notChecked).toEqual(layout === "segments" ? lost : [...lost, ofVotes]);
        expect(alone.notChecked).toContain("the evidence's tree roots from entry 51 on");
      }
    });

    test("garbage, nothing, and bytes after the end", async () => {
      const key = small.segmentOf(25);
      for (const garbage of [utf8("garbage"), new Uint8Array(), utf8("{}\n")]) {
        const { both, alone } = await findingsOf(small, ({ evidence }) => evidence.set(key, garbage));
        expect(objects(both)).toEqual([key]);
        expect(objects(alone)).toEqual([key]);
      }
      const { both } = await findingsOf(small, ({ evidence }) =>
        evidence.edit(key, (body) => Uint8Array.of(...body, 0)),
      );
      expect(objects(both)).toEqual([key]);
    });

    test("a changed record", async () => {
      const index = midChain(21);
      const key = small.segmentOf(index);
      const { shard, sequence } = small.recordAt(index);
      const { both, alone } = await findingsOf(small, (copy) => {
        copy.editSegment(key, (segment) => ({
          ...segment,
          entries: segment.entries.map((entry, i) =>
            entry.type === "vote" && segment.firstIndex + i === index
              ? { ...entry, record: { ...entry.record, revision: 2 } }
              : entry,
          ),
        }));
      });
      for (const report of [both, alone]) {
        expect(places(report)).toEqual([{ object: key }, { object: key, index, shard, sequence }]);
        expect(report.notChecked).toEqual([]);
      }
    });

    test("a changed record with its hash made to fit, and the segment's root too", async () => {
      const index = midChain(21);
      const key = small.segmentOf(index);
      const { shard, sequence } = small.recordAt(index);
      const forge = (copy: TestLog) => {
        copy.editSegment(key, (segment) => {
          const entries = segment.entries.map((entry, i) => {
            if (entry.type !== "vote" || segment.firstIndex + i !== index) return entry;
            const record = {
              ...entry.record,
              sealedChoice: flip(40)(new Uint8Array(entry.record.sealedChoice)),
            };
            const before = small.records[shard]?.[sequence - 2]?.hash ?? asHash(new Uint8Array(32));
            return { ...entry, record: { ...record, hash: recordHash(before, 4, record) } };
          });
          return consistent(small, { ...segment, entries });
        });
      };
      const { both, alone } = await findingsOf(small, forge);
      expect(both.problems).toContainEqual({
        object: key,
        index,
        shard,
        sequence,
        problem: "the public log has another entry here",
      });
      expect(both.notChecked).toEqual([]);
      // Alone, the next record of the shard does not continue it, and the checkpoint names other bytes.
      expect(alone.problems[0]).toMatchObject({
        object: key,
        problem: expect.stringContaining("other bytes"),
      });
      expect(places(alone)).toContainEqual(expect.objectContaining({ shard, sequence: sequence + 1 }));
    });

    test("a record that is dropped, and the rest moved up", async () => {
      const index = midChain(21);
      const key = small.segmentOf(index);
      const { shard, sequence } = small.recordAt(index);
      const drop = (segment: Segment): Segment => ({
        ...segment,
        entries: segment.entries.filter((_, i) => segment.firstIndex + i !== index),
      });
      // Under its old name its length gives it away.
      const { both: same } = await findingsOf(small, (copy) => copy.editSegment(key, drop));
      expect(same.problems).toContainEqual({
        object: key,
        index: 21,
        problem: expect.stringMatching(/^holds .*entries_0000000021-0000000049/),
      });
      // Under a new one the chain, the gap after it, and the public log do.
      const { both, alone } = await findingsOf(small, (copy) => {
        const segment = consistent(small, drop(small.segment(key)));
        copy.evidence.delete(key);
        copy.writeSegment(segmentKey(small.electionId, 21, 49), segment);
      });
      for (const report of [both, alone]) {
        expect(report.problems).toContainEqual({
          index: 50,
          problem: expect.stringContaining("no segment has"),
        });
        expect(report.problems).toContainEqual(expect.objectContaining({ shard, sequence: sequence + 1 }));
        expect(report.problems).toContainEqual({
          object: key,
          problem: expect.stringMatching(/is named by .*checkpoint.json and is not there/),
        });
      }
    });

    test("two records that change places", async () => {
      const key = small.segmentOf(25);
      const { both, alone } = await findingsOf(small, (copy) =>
        editRecords(copy, key, ([first, second, ...rest]) =>
          first && second ? [second, first, ...rest] : [],
        ),
      );
      const [first, second] = [small.recordAt(21), small.recordAt(22)];
      expect(places(both)).toContainEqual({
        object: key,
        index: 21,
        shard: second.shard,
        sequence: second.sequence,
      });
      for (const report of [both, alone]) {
        expect(places(report)).toContainEqual(
          expect.objectContaining({ object: key, index: 22, shard: first.shard, sequence: first.sequence }),
        );
      }
    });

    test("a root_after, a root_before, and shard heads that are not those", async () => {
      const key = small.segmentOf(25);
      const wrong = asHash(new Uint8Array(32).fill(7));
      const edits: [RegExp, (segment: Segment) => Segment][] = [
        [/does not lead to the root it names/, (segment) => ({ ...segment, rootAfter: wrong })],
        [/continues another tree/, (segment) => ({ ...segment, rootBefore: wrong })],
        [
          /left the chains/,
          (segment) => ({
            ...segment,
            shardHeads: segment.shardHeads.map((head, shard) =>
              shard === 2 ? { ...head, hash: wrong } : head,
            ),
          }),
        ],
        [/another manifest/, (segment) => ({ ...segment, manifestHash: wrong })],
      ];
      for (const [problem, edit] of edits) {
        const { both, alone } = await findingsOf(small, (copy) => copy.editSegment(key, edit));
        for (const report of [both, alone]) {
          expect(objects(report)[0]).toBe(key);
          expect(report.problems).toContainEqual({
            object: key,
            index: 21,
            problem: expect.stringMatching(problem),
          });
        }
      }
    });

    test("a missing one, in the midst and at the end", async () => {
      const middle = small.segmentOf(25);
      for (const report of Object.values(
        await findingsOf(small, ({ evidence }) => evidence.delete(middle)),
      )) {
        expect(report.problems).toContainEqual({ index: 21, problem: expect.stringContaining("to 50") });
        expect(report.problems).toContainEqual({
          object: middle,
          problem: expect.stringContaining("not there"),
        });
        expect(report.checked.records).toBe(30);
        expect(report.notChecked).toContain("the evidence of entries 21 to 50");
      }
      const last = small.segmentOf(61);
      const { both, alone } = await findingsOf(small, ({ evidence }) => evidence.delete(last));
      expect(both.problems).toContainEqual({
        index: 61,
        problem: "the public log has 62 entries, the evidence 61",
      });
      for (const report of [both, alone]) expect(objects(report)).toContain(last);
    });

    test("a second one for the same entries, which the checkpoint does not name: unreferenced", async () => {
      const fork = await TestLog.create({ layout, commits: [20, 25, 10] });
      const key = fork.segmentOf(25);
      const body = fork.evidence.get(key) ?? new Uint8Array();
      expect(small.evidence.has(key)).toBe(false);
      for (const report of Object.values(
        await findingsOf(small, ({ evidence }) => evidence.set(key, body)),
      )) {
        expect(report.problems).toEqual([]);
        expect(report.unreferenced).toEqual([key]);
      }
    });

    test("a second one in a block that is not signed yet: two histories, unless the public log tells", async () => {
      const log = await TestLog.create({ layout, commits: [20, 30], open: true });
      const fork = await TestLog.create({ layout, commits: [20, 25], open: true });
      const key = fork.segmentOf(25);
      const body = fork.evidence.get(key) ?? new Uint8Array();
      const { both, alone } = await findingsOf(log, ({ evidence }) => evidence.set(key, body));
      expect(both.problems).toEqual([]);
      expect(both.unreferenced).toEqual([key]);
      expect(alone.problems.map((found) => found.problem).join("\n")).toMatch(/two histories/);
    });

    test("a second one after the signed size: the next signature tells", async () => {
      const log = await TestLog.create({ layout, commits: [20, 30], open: true });
      const fork = await TestLog.create({ layout, commits: [20, 25], open: true });
      const key = fork.segmentOf(25);
      const { both, alone } = await findingsOf(log, (copy) => {
        copy.evidence.set(key, fork.evidence.get(key) ?? new Uint8Array());
        copy.published.set("checkpoint", copy.sign({ size: treeSize(21), root: treeOf(log, 21).root() }));
      });
      expect(both.problems).toEqual([]);
      expect(both.unreferenced).toEqual([]);
      expect(both.notChecked).toContain(
        "entries from 21 on: two segments have them, and the next signature tells which is the log's",
      );
      expect(alone.problems.map((found) => found.problem).join("\n")).toMatch(/two histories/);
    });

    test("a second one after what is signed: not checked from there on, whatever follows", async () => {
      const fork = await TestLog.create({ layout, ...largeFork });
      const first = large.segmentKeys.find((key) => !fork.evidence.has(key)) ?? "";
      const index = parseSegmentKey(first)?.first ?? 0;
      const key = fork.segmentOf(index);
      const { both, alone } = await findingsOf(large, (copy) => {
        for (const number of [1, 2]) copy.evidence.delete(checkpointKey(copy.electionId, number));
        copy.evidence.set(key, fork.evidence.get(key) ?? new Uint8Array());
        const tree = treeOf(large, index);
        for (const { path, bytes } of tree.takeTiles()) copy.published.set(path, bytes);
        copy.published.set("checkpoint", copy.sign({ size: tree.size, root: tree.root() }));
      });
      expect(both.problems).toEqual([]);
      expect(both.notChecked.join("\n")).toContain(`entries from ${index} on: two segments have them`);
      expect(both.unreferenced).toEqual([]);
      expect(alone.problems.map((found) => found.problem).join("\n")).toMatch(/two histories/);
    });

    test("all of them another history, of the same manifest and rightly chained", async () => {
      const fork = await TestLog.create({ layout, commits: [20, 30, 10] });
      const { both, alone } = await findingsOf(small, (copy) => {
        for (const key of fork.segmentKeys) copy.writeSegment(key, fork.segment(key));
      });
      expect(both.problems).toContainEqual({
        object: small.segmentOf(1),
        index: 1,
        shard: fork.recordAt(1).shard,
        sequence: fork.recordAt(1).sequence,
        problem: "the public log has another entry here",
      });
      expect(objects(alone)).toContain(checkpointKey(small.electionId, 1));
    });

    test("all of the evidence of another history, signed with another key", async () => {
      const fork = await TestLog.create({ layout, commits: [20, 30, 10] });
      const { both } = await findingsOf(small, (copy) => {
        copy.evidence.clear();
        for (const [key, body] of fork.evidence) copy.evidence.set(key, body);
      });
      // Signed by the same key here, so that only the public log tells.
      expect(both.ok).toBe(false);
      expect(both.problems[0]).toMatchObject({ object: small.segmentOf(1), index: 1 });
    });

    test("a voter who votes twice", async () => {
      const log = await TestLog.create({ layout, commits: [20], doubleVote: true });
      const { shard, sequence, voterPseudonym } = log.recordAt(21);
      expect(shardOf(voterPseudonym, 4)).toBe(shard);
      for (const report of Object.values(await findingsOf(log, () => {}))) {
        expect(report.problems).toEqual([
          {
            object: log.segmentOf(21),
            index: 21,
            shard,
            sequence,
            problem: "a second vote of the voter of sequence 1",
          },
        ]);
      }
    });
  });

  describe("tampering with the other objects is named", () => {
    const checkpoint = () => checkpointKey(small.electionId, 1);
    const edit = (change: (checkpoint: VoteCheckpoint) => VoteCheckpoint) =>
      findingsOf(small, ({ evidence }) =>
        evidence.edit(checkpoint(), (body) => encodeVoteCheckpoint(change(parseVoteCheckpoint(body)))),
      );
    const wrong = asHash(new Uint8Array(32).fill(7));

    test.each<[string, (checkpoint: VoteCheckpoint) => VoteCheckpoint]>([
      ["another tree", (file) => ({ ...file, treeRoot: wrong })],
      ["shard_heads", (file) => ({ ...file, shardHeads: [...file.shardHeads].reverse() })],
      ["last_vote_id", (file) => ({ ...file, lastVote: null })],
      ["last_vote_id", (file) => ({ ...file, lastVote: file.lastVote && { ...file.lastVote, hash: wrong } })],
      [
        "signature",
        (file) => ({ ...file, note: file.note.replace(/.(?=..\n$)/, (c) => (c === "A" ? "B" : "A")) }),
      ],
      ["not a|three lines|blank line", (file) => ({ ...file, note: "nothing" })],
      [
        "names a version",
        (file) => ({ ...file, segments: file.segments.map((one) => ({ ...one, versionId: "0" })) }),
      ],
    ])("checkpoint.json with another %s", async (problem, change) => {
      const { both, alone } = await edit(change);
      for (const report of [both, alone]) {
        expect(objects(report)).toEqual([checkpoint()]);
        expect(report.problems[0]?.problem).toMatch(new RegExp(problem));
        expect(report.checked.records).toBe(60);
      }
    });

    test("checkpoint.json with another hash or length of a segment, and with another version too", async () => {
      const key = small.segmentOf(25);
      const editSegment = (part: Partial<VoteCheckpoint["segments"][number]>) =>
        edit((file) => ({
          ...file,
          segments: file.segments.map((one) => (one.key === key ? { ...one, ...part } : one)),
        }));
      for (const part of [{ sha256: "0".repeat(64) }, { bytes: 17 }]) {
        const { both } = await editSegment(part);
        expect(both.problems).toEqual([
          {
            object: checkpoint(),
            problem: `names another hash or length of ${key} than the version that it names has`,
          },
        ]);
        // Nothing in the store is what it names: which of the two was changed, the public log has to tell.
        const { both: alsoVersion } = await editSegment({ ...part, versionId: "0" });
        expect(alsoVersion.problems).toEqual([
          { object: key, problem: `has other bytes than ${checkpoint()} names` },
        ]);
      }
    });

    test("checkpoint.json that is garbage, or missing", async () => {
      const garbage = await findingsOf(small, ({ evidence }) => evidence.set(checkpoint(), utf8("garbage")));
      const missing = await findingsOf(small, ({ evidence }) => evidence.delete(checkpoint()));
      for (const report of [...Object.values(garbage), ...Object.values(missing)]) {
        expect(objects(report)).toEqual([checkpoint()]);
        expect(report.checked.records).toBe(60);
      }
      const first = checkpointKey(large.electionId, 1);
      const { both, alone } = await findingsOf(large, ({ evidence }) => evidence.delete(first));
      expect([objects(both), objects(alone)]).toEqual([[first], [first]]);
    });

    test("the manifest, without which there is nothing to verify against", async () => {
      const key = manifestKey(small.electionId);
      for (const change of [flip(40), () => utf8("garbage"), () => new Uint8Array()]) {
        const { both, alone } = await findingsOf(small, ({ evidence }) => evidence.edit(key, change));
        expect([objects(both), objects(alone)]).toEqual([[key], [key]]);
      }
      const { alone } = await findingsOf(small, ({ evidence }) => evidence.delete(key));
      expect(alone.problems).toEqual([{ object: key, problem: "is not there" }]);
    });

    test("an object that has no place there", async () => {
      for (const key of [
        "test/notes.txt",
        "test/votes/extra.json",
        "test/votes/checkpoint_0000000001/extra.json",
        "test/votes/checkpoint_0000000001/deeper/checkpoint.json",
        "test/votes/checkpoint_0000000002/entries_0000000001-0000000002.ndjson.zst",
        "test/votes/checkpoint_0000000000/checkpoint.json",
      ]) {
        const { both } = await findingsOf(small, ({ evidence }) => evidence.set(key, utf8("x")));
        expect(both.problems).toEqual([{ object: key, problem: "has no place in an evidence store" }]);
      }
    });

    test("evidence of another election under this one's name", async () => {
      const { alone } = await findingsOf(small, (copy) => {
        copy.evidence.edit(manifestKey(small.electionId), (body) =>
          utf8(new TextDecoder().decode(body).replace('"election_id":"test"', '"election_id":"other"')),
        );
      });
      expect(objects(alone)).toEqual([manifestKey(small.electionId)]);
    });
  });

  test("evidence is compared with the public log even where its tiles cannot be read", async () => {
    const fork = await TestLog.create({ layout, commits: [20, 30, 10] });
    const { both } = await findingsOf(small, (copy) => {
      copy.published.edit("tile/0/000.p/62", flip(3));
      for (const [key, body] of fork.evidence) copy.evidence.set(key, body);
    });
    expect(both.problems.map(({ problem }) => problem)).toContainEqual(
      "the evidence and the public log differ within the first 62 entries",
    );
    expect(both.notChecked).toEqual(["segment by segment, that the evidence is what the public log has"]);
  });
});

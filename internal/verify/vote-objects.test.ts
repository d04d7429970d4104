import { beforeAll, expect, test } from "vitest";
import { toHex, utf8 } from "../core/bytes.ts";
import { voteId } from "../core/ids.ts";
import { sha256 } from "../core/sha256.ts";
import { checkpointKey, voteKey } from "../evidence/layout.ts";
import { decodeSegmentLines, encodeSegment } from "../evidence/segment.ts";
import type { VoteReference } from "../evidence/segment-line.ts";
import { encodeVoteObject } from "../evidence/vote-object.ts";
import type { VerificationReport } from "./report.ts";
import { flip, TestLog } from "./test-log.ts";

let log: TestLog;
let open: TestLog;
/** The object of the vote at index 25, and the segment that names it. */
let vote: string;
let segment: string;

beforeAll(async () => {
  log = await TestLog.create({ layout: "object-per-vote", commits: [20, 30, 10] });
  open = await TestLog.create({ layout: "object-per-vote", commits: [20], open: true });
  vote = log.voteKeyAt(25);
  segment = log.segmentOf(25);
});

/** What is found with the public log beside the evidence, and in the evidence alone. */
async function findings(of: TestLog, change: (copy: TestLog) => void): Promise<VerificationReport[]> {
  const copy = of.clone();
  change(copy);
  return [(await copy.verify()).report, (await copy.verify({ public: false })).report];
}

test("every vote is an object, and a segment holds none", async () => {
  const votes = [...log.evidence.keys()].filter((key) => key.includes("/vote_"));
  expect(votes).toHaveLength(60);
  for (const key of log.segmentKeys) {
    const { entries } = decodeSegmentLines(log.evidence.get(key) ?? new Uint8Array());
    expect(entries.some(({ type }) => type === "vote")).toBe(false);
  }
  for (const report of await findings(log, () => {})) {
    expect(report.problems).toEqual([]);
    expect(report.unreferenced).toEqual([]);
    expect(report.checked).toMatchObject({ segments: 5, records: 60 });
  }
});

test("a vote that is missing is named by its object and index, and so is each other", async () => {
  const others = [21, 49].map((index) => ({ index, object: log.voteKeyAt(index) }));
  for (const report of await findings(log, ({ evidence }) => {
    for (const { object } of others) evidence.delete(object);
    evidence.delete(vote);
  })) {
    const problem = `is named by ${segment} and is not there`;
    expect(report.problems).toHaveLength(3);
    expect(report.problems).toEqual(
      expect.arrayContaining(
        [...others, { index: 25, object: vote }].map((place) => ({ ...place, problem })),
      ),
    );
    expect(report.notChecked).toContain("the evidence of entries 21 to 50");
    // What their names say is known all the same: none of the others is unreferenced.
    expect(report.unreferenced).toEqual([]);
  }
});

test("a vote whose bytes changed is named, and what it now says is checked", async () => {
  const { shard, sequence } = log.recordAt(25);
  const bytes = { object: vote, problem: `has other bytes than ${segment} names` };
  for (const report of await findings(log, ({ evidence }) => evidence.edit(vote, flip(20)))) {
    expect(report.problems).toContainEqual(bytes);
    expect(report.problems).toContainEqual(expect.objectContaining({ object: vote, index: 25 }));
  }
  const changed = encodeVoteObject({ ...log.recordAt(25), revision: 2 });
  for (const report of await findings(log, ({ evidence }) => evidence.set(vote, changed))) {
    expect(report.problems[0]).toEqual(bytes);
    expect(report.problems).toContainEqual(
      expect.objectContaining({ object: segment, index: 25, shard, sequence }),
    );
  }
});

test("a vote in the place of another is named", async () => {
  const other = log.evidence.get(log.voteKeyAt(26)) ?? new Uint8Array();
  for (const report of await findings(log, ({ evidence }) => evidence.set(vote, other))) {
    expect(report.problems).toContainEqual(
      expect.objectContaining({
        object: vote,
        index: 25,
        problem: expect.stringContaining("another vote id"),
      }),
    );
  }
});

test("a reference to another version or hash is the segment's fault", async () => {
  const refer = (copy: TestLog, part: Partial<VoteReference>) =>
    copy.evidence.edit(segment, (body) => {
      const lines = decodeSegmentLines(body);
      const entries = lines.entries.map((line, position) =>
        lines.firstIndex + position === 25 ? ({ ...line, ...part } as VoteReference) : line,
      );
      return encodeSegment({ ...lines, entries });
    });
  for (const report of await findings(log, (copy) => refer(copy, { sha256: "0".repeat(64) }))) {
    expect(report.problems).toContainEqual({
      object: segment,
      problem: `names another hash or length of ${vote} than the version that it names has`,
    });
  }
  for (const report of await findings(log, (copy) => refer(copy, { versionId: "0" }))) {
    expect(report.problems).toContainEqual({
      object: segment,
      problem: `names a version of ${vote} that the store does not have`,
    });
  }
});

test("a vote that no segment names is unreferenced in a finished block, and may be on its way in another", async () => {
  const stray = voteKey(log.electionId, 1, voteId(4_000));
  const body = utf8("whatever it is\n");
  for (const report of await findings(log, ({ evidence }) => evidence.set(stray, body))) {
    expect(report.problems).toEqual([]);
    expect(report.unreferenced).toEqual([stray]);
  }
  const [both, alone] = await findings(open, ({ evidence }) => evidence.set(stray, body));
  const yet = "vote objects of block 1 that no segment names yet";
  expect(both).toMatchObject({ problems: [], unreferenced: [], notChecked: [yet] });
  expect(alone).toMatchObject({ problems: [], unreferenced: [] });
  expect(alone?.notChecked).toContain(yet);
});

test("votes alone make no block", async () => {
  const stray = voteKey(open.electionId, 2, voteId(4_000));
  const [both] = await findings(open, ({ evidence }) => evidence.set(stray, utf8("{}\n")));
  expect(both?.problems).toEqual([]);
  expect(both?.notChecked).toEqual(["vote objects of block 2 that no segment names yet"]);
});

test("in a block of whose segments one is lost, it is not known which votes are unreferenced", async () => {
  const stray = voteKey(log.electionId, 1, voteId(4_000));
  for (const report of await findings(log, ({ evidence }) => {
    evidence.set(stray, utf8("{}\n"));
    evidence.edit(segment, flip(30));
  })) {
    expect(report.unreferenced).toEqual([]);
    expect(report.notChecked).toContain("which vote objects of block 1 no segment names: not all were read");
  }
});

test("what only looks like a vote's key has no place", async () => {
  for (const name of [
    "vote_0.json",
    "vote_01.json",
    "vote_1.json.json",
    "vote_9007199254740992.json",
    "vote_.json",
  ]) {
    const object = `${log.electionId}/votes/checkpoint_0000000001/${name}`;
    const [both] = await findings(log, ({ evidence }) => evidence.set(object, utf8("{}\n")));
    expect(both?.problems).toEqual([{ object, problem: "has no place in an evidence store" }]);
  }
});

test("the checkpoint names segments alone, which hold for the votes", () => {
  const text = new TextDecoder().decode(log.evidence.get(checkpointKey(log.electionId, 1)));
  expect(text).not.toContain("/vote_");
  const digest = toHex(sha256(log.evidence.get(segment) ?? new Uint8Array()));
  expect(text).toContain(`"sha256":"${digest}"`);
});

import { beforeAll, expect, test } from "vitest";
import { EventKey } from "../audit/event-key.ts";
import { electionId } from "../core/ids.ts";
import { signEvent } from "../evidence/event.ts";
import type { Segment } from "../evidence/segment.ts";
import { NoteSigner } from "../tlog/note.ts";
import { TEST_EVENT_KEY, TestLog } from "./test-log.ts";

let log: TestLog;
let eventKey: string;

beforeAll(async () => {
  log = await TestLog.create({ commits: [20, 30], events: 2 });
  eventKey = TEST_EVENT_KEY.verifierKey(log.manifest);
});

test("a log with events verifies, and says of whom it knows that they are", async () => {
  const { report, log: verified, evidence } = await log.verify({ eventKey });
  expect(report.problems).toEqual([]);
  expect(report.notChecked).toEqual([]);
  expect(report.checked).toMatchObject({ entries: 56, records: 50, events: 4 });
  expect(verified?.checkpoint.size).toBe(1 + 50 + 4 + 1);
  expect(verified?.closing?.totalVotes).toBe(50);
  expect(evidence?.closing?.totalVotes).toBe(50);
  const unknown = await log.verify();
  expect(unknown.report.problems).toEqual([]);
  expect(unknown.report.notChecked).toEqual([
    "who signed the events: give --event-key to demand the key you know",
  ]);
});

test("events that another key signed are named, each by its object and index", async () => {
  const other = new EventKey(new Uint8Array(32).fill(8)).verifierKey(log.manifest);
  const { report } = await log.verify({ eventKey: other });
  const indices = [21, 22, 53, 54];
  expect(report.problems).toEqual(
    indices.map((index) => ({
      object: log.segmentOf(index),
      index,
      problem: expect.stringMatching(/^the event: no trusted key signed the note/),
    })),
  );
});

/** A log whose event at index 22 is another. */
function changed(note: (before: string) => string): TestLog {
  const copy = log.clone();
  copy.editSegment(copy.segmentOf(22), (segment: Segment) => ({
    ...segment,
    entries: segment.entries.map((entry, i) =>
      entry.type === "event" && segment.firstIndex + i === 22 ? { ...entry, note: note(entry.note) } : entry,
    ),
  }));
  return copy;
}

test("a changed event is named, whether or not its signature is known", async () => {
  const copy = changed((note) => note.replace('{"number":1}', '{"number":7}'));
  const place = { object: log.segmentOf(22), index: 22 };
  const { report } = await copy.verify({ eventKey });
  expect(report.problems).toContainEqual({ ...place, problem: expect.stringMatching(/does not verify/) });
  const another = { ...place, problem: "the public log has another entry here" };
  expect(report.problems).toContainEqual(another);
  expect((await copy.verify()).report.problems).toContainEqual(another);
});

test("an event of another election cannot be written, and one of no form is refused with its segment", async () => {
  const signer = NoteSigner.fromSeed("psephos.test/audit-service", new Uint8Array(32).fill(7));
  const other = { electionId: electionId("other"), kind: "worm-probe", at: 1, details: {} } as const;
  expect(() => changed(() => signEvent(other, signer))).toThrow(/line 3: an event of another election/);
  expect(() => changed(() => "no note")).toThrow(/line 3: event: /);
});

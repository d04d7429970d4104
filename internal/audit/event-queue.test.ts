import { expect, test } from "vitest";
import type { EventKind } from "../evidence/event.ts";
import { EventQueue } from "./event-queue.ts";

const MOST = 16;

function queueOf(...kinds: EventKind[]): EventQueue {
  const queue = new EventQueue();
  for (const [number, kind] of kinds.entries()) expect(queue.add({ kind, note: `${number}` })).toBe(true);
  return queue;
}

async function drained(queue: EventQueue, limit = 100): Promise<string[]> {
  const notes: string[] = [];
  await queue.drain(limit, async (events) => {
    for (const event of events) if (event.type === "event") notes.push(event.note);
  });
  return notes;
}

const full = (kind: EventKind) => queueOf(...Array<EventKind>(MOST).fill(kind));

test("hands over what waits, the oldest first, and so many at once", async () => {
  const queue = queueOf("worm-probe", "reconciliation", "worm-probe");
  expect(await drained(queue, 2)).toEqual(["0", "1"]);
  expect(queue.size).toBe(1);
  expect(await drained(queue)).toEqual(["2"]);
});

test("keeps, in order, what could not be committed", async () => {
  const queue = queueOf("worm-probe", "worm-probe");
  const failure = new Error("not committed");
  await expect(
    queue.drain(1, async () => {
      queue.add({ kind: "worm-probe", note: "2" });
      throw failure;
    }),
  ).rejects.toBe(failure);
  expect(await drained(queue)).toEqual(["0", "1", "2"]);
});

test("when full, the newest event of a kind replaces the one before it", async () => {
  const queue = full("worm-probe");
  expect(queue.add({ kind: "worm-probe", note: "passed again" })).toBe(true);
  expect(queue.size).toBe(MOST);
  const notes = await drained(queue);
  expect(notes.slice(-2)).toEqual(["14", "passed again"]);
  expect(notes).not.toContain("15");
});

test("when full of another kind, takes no more", async () => {
  const queue = full("worm-probe");
  expect(queue.add({ kind: "reconciliation", note: "new" })).toBe(false);
  expect(await drained(queue)).not.toContain("new");
});

test("what was forgotten does not come back, also from a commit that fails afterwards", async () => {
  const queue = queueOf("worm-probe", "worm-probe");
  const commit = queue.drain(1, async () => {
    queue.forget();
    throw new Error("not committed");
  });
  await expect(commit).rejects.toThrow("not committed");
  expect(queue.size).toBe(0);
});

import { cp } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import type { OfferedHead } from "./log-publisher.ts";
import { TestElection } from "./test-election.ts";
import { DiskFault, type FaultAt, TestFileSystem } from "./test-file-system.ts";
import type { Outsider } from "./test-outsider.ts";
import { failure, TestDirectories } from "./test-publisher.ts";

// Some hundred crashes take a while on a slow disk.
vi.setConfig({ testTimeout: 60_000 });

// A log is closed within its first tile's edge: full and partial tiles, a numbered checkpoint, and new folders for some.
const OLD_SIZE = 250;
const NEW_SIZE = 300;

let before: TestDirectories;
const election = new TestElection();
let offered: OfferedHead;
const fork = new TestElection();
let forked: OfferedHead;
// Equal in the full tile, so that no file of one contradicts a file of the other.
const lateFork = new TestElection();
let lateForked: OfferedHead;

beforeAll(async () => {
  before = await TestDirectories.create({ inMemory: true });
  await using publisher = await before.open(election);
  await publisher.submit(election.id, election.grow(OLD_SIZE).head());
  offered = election
    .grow(NEW_SIZE - 1)
    .close()
    .head();
  forked = fork
    .grow(OLD_SIZE)
    .grow(NEW_SIZE - 1, "other votes")
    .close()
    .head();
  lateForked = lateFork
    .grow(256)
    .grow(NEW_SIZE - 2, "other votes")
    .head();
});

afterAll(() => before[Symbol.asyncDispose]());

/** Directories as they were before the head was offered. */
async function copyOf(start: "a log" | "nothing"): Promise<TestDirectories> {
  const directories = await TestDirectories.create({ inMemory: true });
  if (start === "a log") {
    await cp(before.state, directories.state, { recursive: true });
    await cp(before.public, directories.public, { recursive: true });
  }
  return directories;
}

interface Plan extends Omit<FaultAt, "step"> {
  readonly start: "a log" | "nothing";
  /** What is offered next in the same process. */
  readonly second?: () => { readonly log: TestElection; readonly head: OfferedHead };
  /** The state too, where a restart will make it public. */
  readonly visible: "public" | "public and state";
}

/** Starts, offers the head and then perhaps another, and stops. Whatever is answered, and may be shown, is seen. */
async function run(
  directories: TestDirectories,
  outsider: Outsider,
  fs: TestFileSystem,
  { second, visible }: Pick<Plan, "second" | "visible">,
): Promise<void> {
  let source = election;
  try {
    await using publisher = await directories.open({ get: (key) => source.get(key) }, { fs });
    const submit = async (head: OfferedHead) => {
      const note = await publisher.submit(election.id, head).catch(() => undefined);
      if (note) outsider.see(note);
    };
    await submit(offered);
    await lookAround(directories, outsider, visible);
    if (!second) return;
    const { log, head } = second();
    source = log;
    await submit(head);
  } catch (error) {
    // It could not start.
    if (!(error instanceof DiskFault)) throw error;
  } finally {
    await lookAround(directories, outsider, visible);
  }
}

async function lookAround(
  directories: TestDirectories,
  outsider: Outsider,
  visible: Plan["visible"],
): Promise<void> {
  const paths = ["checkpoint", "checkpoints/0000000001"];
  if (visible === "public and state") paths.push(`../../state/${election.id}.checkpoint`);
  for (const path of paths) {
    const note = await directories.file(`${election.id}/${path}`);
    if (note) outsider.see(note);
  }
}

/** Starts where nothing fails any more, and offers first another history and then the same head again. */
async function goOn(directories: TestDirectories, outsider: Outsider): Promise<void> {
  let source = fork;
  await using publisher = await directories.open({ get: (key) => source.get(key) });
  await outsider.check();
  const forkNote = await publisher.submit(fork.id, forked).catch((error: unknown) => error);
  source = election;
  const again = publisher.submit(election.id, offered);
  if (typeof forkNote === "string") {
    // That is right only if nobody has seen the first head; the outsider would remember.
    outsider.see(forkNote);
    expect(await failure(again)).toMatchObject({ reason: "FORKED_HEAD" });
  } else {
    expect(forkNote).toMatchObject({ reason: "FORKED_HEAD" });
    outsider.see(await again);
  }
  expect(await outsider.check()).toBe(NEW_SIZE);
}

/** Runs once for each step that starting and signing the head takes, with a fault there. */
async function atEveryStep(
  plan: Plan,
  then: (directories: TestDirectories, outsider: Outsider, fs: TestFileSystem) => Promise<void>,
): Promise<void> {
  for (let step = 1; ; step++) {
    await using directories = await copyOf(plan.start);
    const outsider = directories.outsider(election);
    const fs = new TestFileSystem({ step, ...plan });
    await run(directories, outsider, fs, plan);
    await then(directories, outsider, fs);
    if (fs.steps < step) {
      // There are not as many: all have been tried. A handful would mean that none was.
      expect(step).toBeGreaterThan(40);
      return;
    }
  }
}

// A step that is not done when the process dies is the one before, done. So `done` is all there is to try here.
const crash = { done: true, fatal: true } as const;

test("a process that dies at any step", async () => {
  await atEveryStep({ start: "a log", ...crash, visible: "public and state" }, goOn);
});

test.each(["a log", "nothing"] as const)("a power cut at any step, starting from %s", async (start) => {
  await atEveryStep({ start, ...crash, visible: "public" }, async (directories, outsider, fs) => {
    await fs.powerCut();
    await goOn(directories, outsider);
  });
});

describe.each([{ done: true }, { done: false }])(
  "any step that reports failure, done: $done,",
  ({ done }) => {
    const plan = { start: "a log", done, fatal: false, visible: "public and state" } as const;

    test("and the same head again", async () => {
      const second = () => ({ log: election, head: offered });
      await atEveryStep({ ...plan, second }, async (directories, outsider, fs) => {
        await fs.powerCut();
        await goOn(directories, outsider);
      });
    });

    test("and then another history", async () => {
      const second = () => ({ log: lateFork, head: lateForked });
      await atEveryStep({ ...plan, second }, async (directories, outsider) => {
        await using _ = await directories.open(election);
        await outsider.check();
      });
    });
  },
);

import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { treeSize } from "../core/ids.ts";
import type { Publisher } from "../publisher/publisher.ts";
import { TestElection } from "../publisher/test-election.ts";
import { serveDirectory } from "../publisher/test-mirror.ts";
import { TestDirectories } from "../publisher/test-publisher.ts";
import { addCheckpoint } from "../publisher/witness-client.ts";
import { NoteVerifier } from "../tlog/note-verifier.ts";
import { TestWitness } from "../witness/test-witness.ts";
import { fileName } from "../witness/witness-state.ts";
import { ExitCode } from "./exit-code.ts";
import { run } from "./run.ts";

let resources: AsyncDisposableStack;
let directories: TestDirectories;
let publisher: Publisher;
let election: TestElection;
let url: string;
/** Of size 200. */
let older: string;

beforeEach(async () => {
  resources = new AsyncDisposableStack();
  directories = resources.use(await TestDirectories.create({ inMemory: true }));
  election = new TestElection();
  publisher = resources.use(await directories.open(election));
  ({ url } = resources.use(await serveDirectory(directories.public)));
  older = await publisher.submit(election.id, election.grow(200).head());
  await publisher.submit(election.id, election.grow(300).head());
});
afterEach(() => resources.disposeAsync());

/** Runs it until it ends, or until it has printed so many results; does something once it has printed the first. */
async function monitor(
  args: readonly string[],
  results = Number.POSITIVE_INFINITY,
  afterFirst: () => void = () => {},
) {
  const data: string[] = [];
  const said: string[] = [];
  const stop = new AbortController();
  const terminal = {
    data: (line: string) => {
      data.push(line);
      if (data.length === 1) afterFirst();
      if (data.length >= results) stop.abort();
    },
    say: (line: string) => said.push(line),
    progress: () => ({ update: () => {}, end: () => {} }),
  };
  const common = ["--election", election.id, "--state", join(directories.root, "seen")];
  const code = await run({
    args: ["monitor", url, ...common, ...args],
    terminal,
    stopSignal: () => stop.signal,
  });
  return { code, data, said: said.join("\n") };
}

test("one look answers with its exit status, and in JSON or words", async () => {
  const well = await monitor(["--once", "--json", "--log-key", election.logKey]);
  expect(well.code).toBe(ExitCode.ok);
  expect(JSON.parse(well.data.join())).toEqual({
    log: `${url}/${election.id}`,
    verified: 300,
    closed: false,
    alerts: [],
  });
  await writeFile(join(directories.public, election.id, "manifest.json"), "{}");
  const bad = await monitor(["--once"]);
  expect(bad.code).toBe(ExitCode.failed);
  expect(bad.data.join()).toContain("ALERT manifest: manifest.json is another than the log began with");
  url = "http://127.0.0.1:1";
  expect((await monitor(["--once"])).code).toBe(ExitCode.unavailable);
});

test("it follows until it is stopped, and its exit status is that of the worst look", async () => {
  let published: Promise<unknown> | undefined;
  const running = monitor(["--interval", "0", "--json", "--metrics", "127.0.0.1:0"], 2, () => {
    published = publisher.submit(election.id, election.grow(400).head());
  });
  expect(await running).toMatchObject({ code: ExitCode.ok });
  await published;
  await writeFile(join(directories.public, election.id, "checkpoint"), "none\n");
  expect(await monitor(["--interval", "0"], 1)).toMatchObject({ code: ExitCode.failed });
});

test("it compares with a witness, which has not seen the log, and then has", async () => {
  const witness = resources.use(await TestWitness.start({ logs: [election.logKey] }));
  const [origin = ""] = election.logKey.split("+");
  const compare = ["--once", "--compare", `${witness.url}/${fileName(origin)}/checkpoint`];
  expect((await monitor(compare)).code).toBe(ExitCode.ok);
  const note = await readFile(join(directories.public, election.id, "checkpoint"), "utf8");
  await addCheckpoint({
    witness: NoteVerifier.parse(witness.verifierKey),
    url: witness.url,
    oldSize: treeSize(0),
    proof: [],
    note,
    signal: AbortSignal.timeout(10_000),
  });
  expect((await monitor(compare)).code).toBe(ExitCode.ok);
  // Here the log goes back behind what the witness saw.
  await rm(join(directories.root, "seen"), { recursive: true });
  await writeFile(join(directories.public, election.id, "checkpoint"), older);
  const ahead = await monitor(compare);
  expect(ahead).toMatchObject({ code: ExitCode.failed });
  expect(ahead.data.join()).toContain("ALERT rollback: checkpoint is of size 200, after one of 300 was seen");
  await witness.stop();
  expect((await monitor(compare)).code).toBe(ExitCode.unavailable);
});

test("a mistake on the command line is one", async () => {
  expect((await monitor(["--once", "--policy", join(directories.root, "none")])).code).not.toBe(ExitCode.ok);
  expect((await monitor(["--once", "--compare", "nowhere"])).code).toBe(ExitCode.usage);
  expect((await monitor(["--once", "--stall", "soon"])).code).toBe(ExitCode.usage);
  expect((await monitor(["--once", "--log-key", "town"])).code).toBe(ExitCode.usage);
  const webhook = "https://user:secret@alerts.example.org";
  expect((await monitor(["--once", "--webhook", webhook])).code).toBe(ExitCode.usage);
});

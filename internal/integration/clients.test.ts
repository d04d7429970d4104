// The client examples of docs/clients, in Go and in Python, against one deployment: their own tests, which cast, watch and
// verify, and their commands as a user runs them.
import { type ChildProcess, spawn } from "node:child_process";
import { cp, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { findPython } from "../../deploy/local/python.ts";
import { runProgram } from "../../deploy/local/run-program.ts";
import { TemporaryFolder } from "../../deploy/local/temporary-folder.ts";
import { decodeEntry } from "../ballot/entry.ts";
import { fromHex } from "../core/bytes.ts";
import { NoteVerifier } from "../tlog/note-verifier.ts";
import { parseTlogProof, verifyTlogProof } from "../tlog/tlog-proof.ts";
import { leafHash } from "../tlog/tree.ts";
import { type Finished, finished, ROOT, writeProfile } from "./cli-fixture.ts";
import { type TestElection, TestStack, until } from "./election-fixture.ts";

/** The votes that the tests of either language record. */
const VOTES_OF_TESTS = 3;
/** A compiler's first run, on a core that others use, too. */
const LIMIT_MS = 300_000;

const resources = new AsyncDisposableStack();
let stack: TestStack;
let election: TestElection;
let folder: string;
let env: Readonly<Record<string, string>>;

interface Language {
  /** Where its example is. */
  readonly cwd: string;
  /** Its checks of types and the like, and its tests. */
  readonly checks: readonly (readonly string[])[];
  /** Its example as a program. */
  readonly program: readonly string[];
}
const languages = {} as Record<"go" | "python", Language>; // In beforeAll.

beforeAll(async () => {
  folder = resources.use(await TemporaryFolder.create()).path;
  const starting = TestStack.start().then((started) => resources.use(started));
  [stack] = await Promise.all([starting, prepareGo(), preparePython()]);
  election = await stack.createElection("clients");
  env = { PSEPHOS_PROFILE: await writeProfile(stack, folder, { election: election.id }) };
}, 2 * LIMIT_MS);

afterAll(() => resources.disposeAsync());

async function prepareGo(): Promise<void> {
  const cwd = join(ROOT, "docs/clients/go");
  const program = join(folder, "client");
  await runProgram({ file: "go", args: ["build", "-o", program, "."], cwd, timeoutMs: LIMIT_MS });
  const checks = [
    ["go", "vet", "./..."],
    ["go", "test", "-count=1", "./..."],
  ];
  languages.go = { cwd, checks, program: [program] };
}

/** gen/python is installed as its users do, into a folder of its own. */
async function preparePython(): Promise<void> {
  const python = join(await findPython(), "python3");
  const copy = join(folder, "source"); // setuptools writes beside what it packs.
  await cp(join(ROOT, "gen/python"), copy, { recursive: true });
  const packages = join(folder, "packages");
  const offline = [
    "--quiet",
    "--disable-pip-version-check",
    "--no-index",
    "--no-deps",
    "--no-build-isolation",
  ];
  const args = ["-m", "pip", "install", ...offline, "--target", packages, copy];
  await runProgram({ file: python, args, timeoutMs: LIMIT_MS });
  const cwd = join(ROOT, "docs/clients/python");
  const run = ["env", "PYTHONDONTWRITEBYTECODE=1", `PYTHONPATH=${packages}`, `MYPYPATH=${packages}`, python];
  const checks = [
    [...run, "-m", "mypy", "--cache-dir", join(folder, "mypy"), "."],
    [...run, "-m", "pytest", "--quiet"],
  ];
  languages.python = { cwd, checks, program: [...run, "main.py"] };
}

describe.each(["go", "python"] as const)("%s", (name) => {
  test(
    "its checks and tests pass, and each vote is recorded once",
    async () => {
      const before = await election.recorded();
      for (const check of languages[name].checks) {
        const { status, stdout, stderr } = await run(name, check);
        expect(status, `${check.join(" ")}:\n${stdout}${stderr}`).toBe(0);
      }
      expect((await election.recorded()) - before).toBe(VOTES_OF_TESTS);
    },
    LIMIT_MS,
  );

  test("its commands cast, repeat, get a receipt and verify it", async () => {
    const log = NoteVerifier.parse(election.manifest.logKey);
    const client = (...args: string[]) =>
      run(name, [...languages[name].program, "--log-key", election.manifest.logKey, ...args]);
    const before = await election.recorded();
    const vote = ["--request", "once", "cast", `voter in ${name}`, "ada"];
    const cast = await client(...vote);
    expect(cast).toMatchObject({ status: 0, stderr: "" });
    const [, voteId = "", hash = ""] = /^vote (\d+), record hash ([0-9a-f]{64})$/m.exec(cast.stdout) ?? [];
    expect(await client(...vote)).toEqual(cast);
    expect((await election.recorded()) - before).toBe(1);

    const receipt = await client("receipt", voteId);
    expect(receipt).toMatchObject({ status: 0, stderr: "" });
    // To the project's own code it is the same.
    const proof = parseTlogProof(receipt.stdout);
    const entry = proof.extra ?? new Uint8Array();
    const { checkpoint } = verifyTlogProof({ proof, leaf: leafHash(entry), log });
    expect(decodeEntry(entry)).toMatchObject({ type: "vote", recordHash: fromHex(hash) });

    const file = join(folder, `${name}.tlog-proof`);
    await writeFile(file, receipt.stdout);
    expect(await client("verify", file)).toMatchObject({
      status: 0,
      stdout: expect.stringContaining(`entry ${proof.index} of ${checkpoint.size}`),
    });
    await writeFile(file, receipt.stdout.replace(/^index \d+/m, "index 0"));
    expect(await client("verify", file)).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("the entry is not in the log"),
    });
  });

  test("it watches on when the Publisher has been away", async () => {
    const command = [...languages[name].program, "watch"];
    const child = start(name, command);
    let seen = "";
    child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      seen += text;
    });
    const ended = finished(child);
    const largest = () =>
      Math.max(0, ...[...seen.matchAll(/^(\d+) entries, root /gm)].map(([, size]) => Number(size)));
    try {
      await until("it has seen a checkpoint", () => largest() > 0);
      await stack.stack.services.publisher.restart();
      const before = largest();
      await election.cast([election.ballot()]);
      await until("it has seen one that came after", () => largest() > before);
    } finally {
      child.kill("SIGINT");
    }
    expect(await ended).toMatchObject({ status: 0, stderr: "" });
  });
});

function run(name: keyof typeof languages, command: readonly string[]): Promise<Finished> {
  return finished(start(name, command));
}

function start(name: keyof typeof languages, [file = "", ...args]: readonly string[]): ChildProcess {
  const { cwd } = languages[name];
  return spawn(file, args, {
    cwd,
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
    timeout: LIMIT_MS,
  });
}

// The first thing anyone runs, as they run it: whole, interrupted, twice, and anew. The real election with its 370,968
// ballots goes the same way; here it is the first of them.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { createClient } from "@connectrpc/connect";
import { afterAll, beforeAll, expect, test } from "vitest";
import { TemporaryFolder } from "../../deploy/local/temporary-folder.ts";
import { ElectionService } from "../../gen/ts/psephos/vote/v1/election_pb.js";
import { loadProfile } from "../cli/profile.ts";
import { grpcTls } from "../config/fields.ts";
import { ServiceError } from "../core/errors.ts";
import { createGrpcTransport } from "../grpc/transport.ts";
import { createLogger } from "../telemetry/logger.ts";
import { type Finished, finished, psephos, ROOT, saying, spawnPsephos } from "./cli-fixture.ts";
import { until } from "./election-fixture.ts";

/** Enough that casting them takes seconds on any machine. */
const BALLOTS = 20_000;
const ELECTION = `vermont-2020-first-${BALLOTS}`;

let folder: TemporaryFolder;
let env: Record<string, string>;

beforeAll(async () => {
  folder = await TemporaryFolder.create();
  env = { PSEPHOS_HOME: join(folder.path, "home") };
});
afterAll(() => folder?.[Symbol.asyncDispose]());

/** Processes that were started, by however many others, with our state folder in their environment. */
async function ours(): Promise<string[]> {
  const found: string[] = [];
  for (const pid of await readdir("/proc")) {
    if (!/^\d+$/.test(pid)) continue;
    try {
      const environment = await readFile(join("/proc", pid, "environ"), "utf8");
      if (!environment.split("\0").includes(`PSEPHOS_HOME=${env.PSEPHOS_HOME}`)) continue;
      found.push(`${pid} ${(await readFile(join("/proc", pid, "cmdline"), "utf8")).replaceAll("\0", " ")}`);
    } catch {
      // It has ended, or is another user's.
    }
  }
  return found;
}

async function expectNobodyLeft(): Promise<void> {
  // The reapers see the end of their pipes a moment after those who held them are gone.
  await until("every process is gone", async () => (await ours()).length === 0, 10_000).catch(async () => {
    expect(await ours()).toEqual([]);
  });
}

/** `npm start`, as from a shell: the leader of a process group of its own. */
function npmStart(...args: string[]): ChildProcess {
  return spawn("npm", ["start", "--", ...args], {
    cwd: ROOT,
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
}

test.each([
  ["Postgres is being made, to npm's whole process group", "initdb", -1],
  ["the services start, to npm alone", "cmd/audit-service", 1],
])("SIGINT while %s, leaves no process behind", async (_, command, group) => {
  const npm = npmStart("--exit", "--ballots", String(BALLOTS));
  const ended = once(npm, "exit");
  npm.stdout?.resume();
  npm.stderr?.resume();
  await until(`${command} runs`, async () => (await ours()).some((process) => process.includes(command)));
  process.kill(group * (npm.pid ?? 0), "SIGINT");
  await ended;
  await expectNobodyLeft();
});

test.each([
  ["npm's whole process group, as Ctrl-C at a terminal does", -1],
  ["npm alone", 1],
])("SIGINT in the midst of casting, to %s, leaves no process behind", async (_, group) => {
  const npm = npmStart("--exit", "--ballots", String(BALLOTS));
  const ended = once(npm, "exit");
  npm.stdout?.resume();
  await saying(npm, "all are healthy");
  const before = await votesRecorded();
  await until("votes are being cast", async () => (await votesRecorded()) >= before + 500);
  expect((await ours()).length).toBeGreaterThan(5);
  process.kill(group * (npm.pid ?? 0), "SIGINT");
  await ended;
  await expectNobodyLeft();
});

/** How many votes the election has by now; 0 while there is none. */
async function votesRecorded(): Promise<number> {
  const profile = await loadProfile(join(env.PSEPHOS_HOME ?? "", "profile.json"));
  const identity = profile?.identities.client;
  if (!profile || !identity) throw new Error("there is no profile");
  await using transport = createGrpcTransport({
    address: profile.edge,
    tls: grpcTls(identity),
    trustDomain: profile.trust_domain,
    expectedServer: "service/vote-service",
    logger: createLogger({ service: "test", level: "silent" }),
  });
  try {
    const client = createClient(ElectionService, transport);
    return Number((await client.getElection({ electionId: ELECTION })).election?.votes);
  } catch (error) {
    if (error instanceof ServiceError && error.kind === "not-found") return 0;
    throw error;
  }
}

/** The line that `--json` ends with. */
function resultOf({ status, stdout, stderr }: Finished): unknown {
  expect(status, stderr).toBe(0);
  expect(stdout).toMatch(/^\{.*\}\n$/);
  return JSON.parse(stdout);
}

test("a start after that finishes the election exactly", async () => {
  const run = await psephos(["start", "--exit", "--json", "--ballots", String(BALLOTS)], { env });
  expect(resultOf(run)).toEqual({
    election: ELECTION,
    cast: BALLOTS,
    refused: BALLOTS / 500,
    log_size: BALLOTS + 2,
    vote_checkpoints: 3,
    audit: "ok",
    tally_matches: true,
    votes_per_second: expect.any(Number),
    seconds: expect.any(Number),
  });
  expect(run.stderr).toContain("40 of 40 second attempts were refused");
  expect(run.stderr).toMatch(/\nall +20,000 +20,000 +yes\n/);
  await expectNobodyLeft();
});

test("a second start works on what is there, says what to try, and has the folder for itself", async () => {
  const child = spawnPsephos(["start", "--json", "--ballots", String(BALLOTS)], { env });
  const run = finished(child);
  await saying(child, "Ctrl-C stops everything");

  for (const more of [["--exit"], ["--reset"]]) {
    const refused = await psephos(["start", ...more], { env });
    expect([refused.status, refused.stdout]).toEqual([2, ""]);
    expect(refused.stderr).toContain(`is in use by process ${child.pid}`);
  }
  const verify = await psephos(["verify", "--databases", "--json"], { env });
  expect(JSON.parse(verify.stdout)).toMatchObject({ result: "ok", checked: { rows: BALLOTS } });
  const receipt = await psephos(["receipt", String(BALLOTS / 2)], { env });
  expect(receipt.stdout).toContain("c2sp.org/tlog-proof@v1");

  child.kill("SIGINT");
  const done = await run;
  expect(resultOf(done)).toMatchObject({ election: ELECTION, cast: BALLOTS, votes_per_second: null });
  expect(done.stderr).toContain("nothing to cast");
  expect(done.stderr).toMatch(new RegExp(`curl http://127.0.0.1:\\d+/${ELECTION}/checkpoint`));
  expect(done.stderr).toContain("stopping everything");
  await expectNobodyLeft();
});

test("--reset begins anew", async () => {
  const evidence = join(env.PSEPHOS_HOME ?? "", "evidence");
  expect(await readdir(evidence)).toContain(ELECTION);
  const run = await psephos(["start", "--reset", "--exit", "--json", "--ballots", "300"], { env });
  expect(resultOf(run)).toMatchObject({ election: "vermont-2020-first-300", cast: 300, refused: 1 });
  expect((await readdir(evidence)).filter((name) => !name.startsWith("."))).toEqual([
    "vermont-2020-first-300",
  ]);
  await expectNobodyLeft();
});

import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeEach, describe, expect, test, vi } from "vitest";
import { TemporaryFolder } from "../../deploy/local/temporary-folder.ts";
import { ServiceError } from "../core/errors.ts";
import { TlogError } from "../tlog/errors.ts";
import { SourceError } from "../verify/http-source.ts";
import { ExitCode, exitCodeOf } from "./exit-code.ts";
import { run } from "./run.ts";

let folder: TemporaryFolder;
const COMMANDS = [
  "start",
  "election",
  "cast",
  "replay",
  "status",
  "verify",
  "audit",
  "tally",
  "receipt",
  "query",
  "cost",
  "restore",
  "worm",
  "reconcile",
  "witness",
  "monitor",
];

beforeEach(async () => {
  folder = await TemporaryFolder.create();
  vi.stubEnv("PSEPHOS_HOME", folder.path);
  return async () => {
    vi.unstubAllEnvs();
    await folder[Symbol.asyncDispose]();
  };
});

/** A command without a deployment, and all it wrote. */
async function psephos(...args: string[]) {
  const data: string[] = [];
  const said: string[] = [];
  const terminal = {
    data: (line: string) => data.push(line),
    say: (line: string) => said.push(line),
    progress: () => ({ update: () => {}, end: () => {} }),
  };
  const stopSignal = () => new AbortController().signal;
  const code = await run({ args, terminal, stopSignal });
  return { code, data: data.join("\n"), said: said.join("\n") };
}

function writeProfile(profile: unknown): Promise<void> {
  return writeFile(join(folder.path, "profile.json"), JSON.stringify(profile));
}

/** A deployment that is nowhere. */
const NOWHERE = {
  trust_domain: "psephos.test",
  edge: "127.0.0.1:1",
  public: "http://127.0.0.1:9",
  identities: {},
  election: "test",
};

describe("help", () => {
  test("lists the commands and what their exit status means, on standard output", async () => {
    const { code, data, said } = await psephos("--help");
    expect(code).toBe(0);
    expect(said).toBe("");
    for (const command of COMMANDS) expect(data).toMatch(new RegExp(`^  ${command}\\b`, "m"));
    expect(data).toMatch(/Exit status:\n {2}0 .*\n {2}1 .*\n {2}2 .*\n {2}3 /);
  });

  test.each([...COMMANDS, "election create", "election close", "election show", "worm init"])(
    "of %s",
    async (command) => {
      const { code, data, said } = await psephos(...command.split(" "), "--help");
      expect([code, said]).toEqual([0, ""]);
      expect(data).toContain(`psephos ${command}`);
      expect(data).toContain("Exit status:");
      expect(data).toContain("--json");
    },
  );

  test("comes with a command line that names no command", async () => {
    const { code, data, said } = await psephos();
    expect([code, data]).toEqual([2, ""]);
    expect(said).toContain("Usage: psephos");
  });
});

describe("a wrong command line has exit status 2 and a message that names what to do", () => {
  test.each([
    ["frobnicate", "unknown command 'frobnicate'"],
    ["verify --frobnicate", "unknown option '--frobnicate'"],
    ["verify --public localhost:80 --election e", "https://host:port"],
    ["verify --election e --evidence s3://", "write it like s3://bucket/prefix"],
    ["verify --election e --evidence http://host", "write it like s3://bucket/prefix"],
    ["verify --election e --evidence s3://Loud", "must be the name of a bucket"],
    ["verify --election e --s3-endpoint http://host", "name the bucket with --evidence s3://bucket"],
    ["verify --election e --evidence s3://town --s3-ca /nonexistent.crt", "/nonexistent.crt"],
    ["worm init", "name the bucket with --evidence s3://bucket"],
    ["worm init --evidence folder", "a folder has no locks"],
    ["worm init --evidence s3://town --days 0", "whole number from 1"],
    ["worm init --evidence s3://town --mode NONE", "Allowed choices are COMPLIANCE, GOVERNANCE"],
    ["worm init --evidence s3://town --s3-ca /nonexistent.crt", "/nonexistent.crt"],
    ["start --store tape", "Allowed choices are directory, s3"],
    ["start --store directory --s3-server minio", "--s3-… options are for --store s3"],
    ["start --s3-bucket town", "for an S3 that --s3-endpoint names"],
    ["start --s3-endpoint http://host --s3-bucket Loud", "cannot be the name of a bucket"],
    ["start --layout files", "Allowed choices are segments, object-per-vote"],
    ["verify --log-key nonsense", "not a verifier key"],
    ["audit --election e", "one of --full, --since and --checkpoint"],
    ["audit --election e --full --since 2", "one of --full, --since and --checkpoint"],
    ["audit --election e --since 0", "whole number from 1"],
    ["audit --election e --full", "name the evidence store with --evidence"],
    ["audit --election e --full --retention-mode LEGAL", "Allowed choices are COMPLIANCE, GOVERNANCE"],
    ["audit --election e --full --evidence . --restore", "a folder has no cold tier"],
    ["audit --election e --full --evidence . --workers 1000", "at most 256"],
    ["cast --voter v", "required option '--candidate <id>' not specified"],
    ["receipt", "missing required argument 'vote-id'"],
    ["receipt 0", "whole number from 1"],
    ["start --ballots many", "whole number from 1"],
    ["tally", "required option '--share <file...>' not specified"],
    ["replay", "missing required argument 'file.csv'"],
    ["query --election e", "missing required argument 'sql'"],
    ["query --election e --as-of noon SELECT", "2026-11-03T08:00:00Z"],
    ["cost", "required option '--voters <number>' not specified"],
    [
      "election create e --title t --trustees-out x --revoting maybe",
      "Allowed choices are forbidden, last-counts",
    ],
    ["election create e --title t --trustees-out x --trustees 2of3", "write it like 2/3"],
    ["election create e --title t --trustees-out x --choice ada", "write it like ada=Ada Lovelace"],
    ["election create e --title t --trustees-out x --closes-at noon", "2026-11-03T08:00:00Z"],
    ["election create e --title t --trustees-out x", "--choice or --choices"],
    ["election create E --title t --trustees-out x --choice a=A", "an election id is 1 to 63 of a-z"],
    ["verify", "name an election with --election"],
    ["verify --election e", 'start a local deployment with "npm start"'],
    ["status --election e", 'start a local deployment with "npm start"'],
    ["--profile /nonexistent verify", "there is no profile at /nonexistent"],
    ["tally --election e --share /nonexistent.json", "/nonexistent.json"],
    ["replay /nonexistent.csv", "/nonexistent.csv"],
  ])("%s", async (line, message) => {
    const { code, data, said } = await psephos(...line.split(" "));
    expect([code, data]).toEqual([2, ""]);
    expect(said).toContain(message);
  });

  test("a folder to reset that has no deployment in it is left alone", async () => {
    const file = join(folder.path, "important.txt");
    await writeFile(file, "important");
    const { code, said } = await psephos("start", "--reset", "--home", folder.path);
    expect([code, said]).toEqual([2, expect.stringContaining("nothing was deleted")]);
    expect(await readFile(file, "utf8")).toBe("important");
  });

  test("a profile that is not one, with every mistake in it", async () => {
    await writeProfile({ edge: "", public: "localhost", surprise: 1 });
    const { code, said } = await psephos("status");
    expect(code).toBe(2);
    for (const mistake of ["trust_domain", "edge", "public", "identities", "surprise"]) {
      expect(said).toContain(mistake);
    }
    await writeFile(join(folder.path, "profile.json"), "{");
    expect(await psephos("status")).toMatchObject({ code: 2 });
  });

  test("a profile that has not what the command needs", async () => {
    await writeProfile(NOWHERE);
    expect(await psephos("cast", "--voter", "v", "--candidate", "c")).toMatchObject({
      code: 2,
      said: 'psephos: the profile has no identity of kind "client", which this command needs',
    });
    expect((await psephos("receipt", "7")).code).toBe(3);
    const { said } = await psephos("verify", "--databases");
    expect(said).toContain('does not say "shard_router"');
  });
});

describe("what cannot be reached has exit status 3", () => {
  test("a public endpoint, for somebody without a profile", async () => {
    const { code, data, said } = await psephos(
      "verify",
      "--election",
      "e",
      "--public",
      "http://127.0.0.1:3999",
    );
    expect([code, data]).toEqual([3, ""]);
    expect(said).toContain("http://127.0.0.1:3999/e/");
  });

  test("the deployment of a profile, and how to start one", async () => {
    await writeProfile({ ...NOWHERE, public: "http://127.0.0.1:3999" });
    const { code, said } = await psephos("verify");
    expect(code).toBe(3);
    expect(said).toContain("profile.json");
    expect(said).toContain("npm start");
  });

  test.each(["verify", "worm init"])("S3, for %s", async (command) => {
    vi.stubEnv("AWS_ACCESS_KEY_ID", "town");
    vi.stubEnv("AWS_SECRET_ACCESS_KEY", "town");
    const place = ["--evidence", "s3://town", "--s3-endpoint", "http://127.0.0.1:3999"];
    const election = command === "verify" ? ["--election", "e"] : [];
    const { code, data, said } = await psephos(...command.split(" "), ...election, ...place);
    expect([code, data]).toEqual([3, ""]);
    expect(said).toContain("it cannot be reached (connect ECONNREFUSED 127.0.0.1:3999)");
  });

  test("an evidence store", async () => {
    const { code, said } = await psephos("verify", "--election", "e", "--evidence", "/nonexistent");
    expect([code, said]).toEqual([3, "psephos: there is no evidence store in /nonexistent"]);
  });
});

test("an evidence store without the election in it is checked, and not right", async () => {
  const evidence = join(folder.path, "evidence");
  await mkdir(evidence);
  const text = await psephos("verify", "--election", "e", "--evidence", evidence);
  expect(text.code).toBe(1);
  expect(text.data).toContain("PROBLEM e/manifest.json: is not there");
  expect(text.data).toMatch(/result: FAILED, 1 problem$/);
  const json = await psephos("verify", "--election", "e", "--evidence", evidence, "--json");
  expect(json.code).toBe(1);
  expect(JSON.parse(json.data)).toMatchObject({
    result: "failed",
    problems: [{ object: "e/manifest.json", problem: "is not there" }],
    not_checked: ["the public log", expect.stringContaining("--databases")],
  });
});

test("an error's exit status is that of its kind", () => {
  const service = (kind: ConstructorParameters<typeof ServiceError>[0]) =>
    exitCodeOf(new ServiceError(kind, ""));
  expect(service("invalid-argument")).toBe(ExitCode.usage);
  expect(service("not-found")).toBe(ExitCode.usage);
  expect(service("already-exists")).toBe(ExitCode.usage);
  expect(service("permission-denied")).toBe(ExitCode.usage);
  expect(service("unavailable")).toBe(ExitCode.unavailable);
  expect(service("deadline-exceeded")).toBe(ExitCode.unavailable);
  expect(service("internal")).toBe(ExitCode.internal);
  expect(exitCodeOf(new TlogError("unverified", ""))).toBe(ExitCode.failed);
  expect(exitCodeOf(new SourceError(""))).toBe(ExitCode.unavailable);
  expect(exitCodeOf(Object.assign(new Error(), { syscall: "open", code: "EACCES" }))).toBe(
    ExitCode.unavailable,
  );
  expect(exitCodeOf(new TypeError())).toBe(ExitCode.internal);
  expect(exitCodeOf("text")).toBe(ExitCode.internal);
});

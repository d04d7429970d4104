// Every command of psephos, as a process, against a whole deployment: what it writes where, and its exit status.
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { TemporaryFolder } from "../../deploy/local/temporary-folder.ts";
import { AuditService } from "../../gen/ts/psephos/audit/v1/audit_pb.js";
import { decodeEntry } from "../ballot/entry.ts";
import { electionId, voteIdOf } from "../core/ids.ts";
import { NoteVerifier } from "../tlog/note-verifier.ts";
import { parseTlogProof, verifyTlogProof } from "../tlog/tlog-proof.ts";
import { leafHash } from "../tlog/tree.ts";
import { type Finished, finished, psephos, saying, spawnPsephos, writeProfile } from "./cli-fixture.ts";
import { TestStack, until } from "./election-fixture.ts";

let stack: TestStack;
let folder: TemporaryFolder;

beforeAll(async () => {
  folder = await TemporaryFolder.create();
  stack = await TestStack.start();
  await writeProfile(stack, folder.path, { election: electionId("town") });
});
afterAll(async () => {
  await stack?.[Symbol.asyncDispose]();
  await folder?.[Symbol.asyncDispose]();
});

const inFolder = (name: string) => join(folder.path, name);

/** Runs a command in the folder with the profile, which is found there. */
function cli(...args: string[]): Promise<Finished> {
  return finished(spawnCli(...args));
}

function spawnCli(...args: string[]): ChildProcess {
  return spawnPsephos(args, { cwd: folder.path, env: { PSEPHOS_HOME: folder.path } });
}

/** What a command answers on standard output, one line of JSON, when it succeeds. */
async function json(...args: string[]) {
  const { status, stdout, stderr } = await cli(...args, "--json");
  expect(status, stderr).toBe(0);
  expect(stdout).toMatch(/^\{.*\}\n$/);
  return JSON.parse(stdout);
}

/** What a command says when it fails, with nothing on standard output. */
async function failing(status: number, ...args: string[]): Promise<string> {
  const finished = await cli(...args);
  expect({ status: finished.status, stdout: finished.stdout }, finished.stderr).toEqual({
    status,
    stdout: "",
  });
  expect(finished.stderr).not.toMatch(/\n\s+at /); // No stack traces.
  return finished.stderr;
}

const CHOICES = ["--choice", "ada=Ada Lovelace", "--choice", "bob=Bob"];

describe("election create", () => {
  const create = (id: string, trustees: string, ...more: string[]) => [
    ...["election", "create", id, "--title", "Town clerk", ...CHOICES, "--trustees-out", trustees],
    ...more,
  ];

  test("creates an election and its trustees' shares", async () => {
    const { status, stdout, stderr } = await cli(...create("town", "town-trustees"));
    expect(status, stderr).toBe(0);
    expect(stdout).toMatch(/^election {2,}town\ntitle {2,}Town clerk\nstate {2,}open\nvotes {2,}0\n/);
    expect(stdout).toMatch(/\nchoices {2,}ada {2}Ada Lovelace\n {2,}bob {2}Bob\n/);
    expect(stdout).toMatch(
      /\npromise key {2,}psephos\.local\/town\/promise\+\S+\npromised delay {2,}86400 s\n/,
    );
    expect(stderr).toContain("hand the share files in town-trustees to the trustees");
    expect((await readdir(inFolder("town-trustees"))).sort()).toEqual([
      "manifest.json",
      "share-1.json",
      "share-2.json",
      "share-3.json",
    ]);
  });

  test("again is the same election; with other settings, or in its folder, it is refused", async () => {
    const share = await readFile(inFolder("town-trustees/share-1.json"));
    const again = await json(...create("town", "town-trustees"));
    expect(again).toMatchObject({ election_id: "town", state: "open" });
    expect(await readFile(inFolder("town-trustees/share-1.json"))).toEqual(share);

    const other = await failing(2, ...create("town", "town-trustees", "--shards", "4"));
    expect(other).toContain("--trustees-out");
    // It exists, so that new shares are good for nothing: none are left behind.
    const taken = await failing(2, ...create("town", "other-trustees"));
    expect(taken).toContain("another election town");
    expect(existsSync(inFolder("other-trustees"))).toBe(false);
    await mkdir(inFolder("full"));
    await writeFile(inFolder("full/notes.txt"), "");
    expect(await failing(2, ...create("village", "full"))).toContain("name a new folder with --trustees-out");
    expect(await readdir(folder.path)).not.toContain("full.unfinished");
  });

  test("with every option", async () => {
    await writeFile(inFolder("choices.json"), '[{"id":"yes","name":"Yes"},{"id":"no","name":"No"}]');
    const { manifest } = await json(
      ...["election", "create", "poll", "--title", "A poll", "--choices", "choices.json", "--shards", "3"],
      ...["--revoting", "last-counts", "--trustees", "3/5", "--trustees-out", "poll-trustees"],
      ...["--opens-at", "2026-01-01T00:00:00Z", "--closes-at", "2200-01-01T00:00:00Z"],
      ...["--promise-delay", "600"],
    );
    expect(manifest).toMatchObject({
      choices: [
        { id: "yes", name: "Yes" },
        { id: "no", name: "No" },
      ],
      shards: 3,
      revoting: "last-counts",
      trustees: { threshold: 3, shares: 5 },
      opens_at: 1_767_225_600_000_000,
      closes_at: 7_258_118_400_000_000,
      promise_delay: 600,
    });
  });

  test("says everything that is wrong with a definition, and leaves no shares", async () => {
    const said = await failing(
      2,
      ...create("bad", "bad-trustees", "--choice", "ada=Again", "--shards", "1000"),
    );
    expect(said).toContain("choices");
    expect(said).toContain("shards");
    expect(existsSync(inFolder("bad-trustees"))).toBe(false);
    await writeFile(inFolder("bad.json"), '{"ada": "Ada"}');
    const file = await failing(
      2,
      ...[
        "election",
        "create",
        "bad",
        "--title",
        "t",
        "--choices",
        "bad.json",
        "--trustees-out",
        "bad-trustees",
      ],
    );
    expect(file).toContain("bad.json must be a JSON list");
  });
});

/** A vote whose receipt is asked for later. */
let vote: { vote_id: number; record_hash: string };

describe("voting", () => {
  test("cast records a vote, once", async () => {
    const args = ["cast", "--voter", "jane", "--candidate", "ada", "--request", "r1"];
    vote = await json(...args);
    expect(vote).toMatchObject({ status: "recorded", revision: 1, request_id: "r1" });
    expect(vote.vote_id).toBeGreaterThan(0);
    expect(await json(...args)).toEqual(vote);
    // Each repetition is promised again.
    expect(await json(...args, "--promise-out", "vote.promise")).toEqual(vote);
    const said = await failing(2, "cast", "--voter", "jane", "--candidate", "bob");
    expect(said).toMatch(/^psephos: .*already voted/);
    expect(said).not.toContain("jane");
    expect(await failing(2, "cast", "--voter", "joe", "--candidate", "eve")).toContain("candidate_id");
    expect(await failing(2, ...args, "--election", "nowhere")).toMatch(/^psephos: .*election/);
    const { stdout } = await cli("cast", "--voter", "joe", "--candidate", "bob");
    expect(stdout).toMatch(/^vote id {2,}\d+\nstatus {2,}recorded\n/);
  });

  test("replay casts a table of results, and again changes nothing", async () => {
    await writeFile(
      inFolder("results.csv"),
      'county,candidate,votes\nEssex,Ada,30\nEssex,"Bob",20\nOrange,Ada,5\nOrange,Bob,0\n',
    );
    for (let round = 0; round < 2; round++) {
      expect(await json("replay", "results.csv")).toMatchObject({ recorded: 55, refused: 0 });
    }
    expect(await json("election", "show")).toMatchObject({ state: "open", votes: 57 });
  });

  test("replay writes the choices of a table, and casts none that the ballot has not", async () => {
    await writeFile(inFolder("more.csv"), "candidate,votes\nAda,1\nEve Adams,1\n");
    expect(await failing(2, "replay", "more.csv")).toContain("has no choice eve-adams");
    expect((await json("election", "show")).votes).toBe(57);
    const { status, stdout } = await cli("replay", "more.csv", "--choices-out", "more.json");
    expect([status, stdout]).toEqual([0, ""]);
    expect(JSON.parse(await readFile(inFolder("more.json"), "utf8"))).toEqual([
      { id: "ada", name: "Ada" },
      { id: "eve-adams", name: "Eve Adams" },
    ]);
    await writeFile(inFolder("bad.csv"), "candidate,votes\nAda,few\n");
    expect(await failing(2, "replay", "bad.csv")).toContain("bad.csv, line 2");
  });
});

describe("election show, status and close", () => {
  test("show an election, or all of them", async () => {
    expect(await failing(2, "election", "show", "nowhere")).toMatch(/^psephos: /);
    const { elections } = await json("election", "show", "--all");
    expect(elections.map((one: { election_id: string }) => one.election_id)).toEqual(["poll", "town"]);
    const { stdout } = await cli("election", "show", "--all");
    expect(stdout).toMatch(
      /^election +state +votes +title\npoll +open +0 +A poll\ntown +open +57 +Town clerk\n$/,
    );
  });

  test("close takes no more votes, and the log is completed", async () => {
    expect(await json("election", "close")).toMatchObject({
      election_id: "town",
      state: "closed",
      votes: 57,
    });
    expect(await json("election", "close", "town")).toMatchObject({ state: "closed", votes: 57 });
    expect(await failing(2, "cast", "--voter", "late", "--candidate", "ada")).toContain("closed");
    await until("the log is complete", async () => {
      const { sealing, published_size } = await json("status");
      return sealing === "complete" && published_size === 59;
    });
    const { stdout } = await cli("status");
    expect(stdout).toMatch(/\nvotes +57\nlog entries +59\nsealing +complete\nsigned and public +59\n$/);
  });
});

describe("verify", () => {
  test("checks the public log and the evidence", async () => {
    const { status, stdout } = await cli("verify");
    expect(status).toBe(0);
    expect(stdout).toMatch(/^checked: 59 public entries/);
    expect(stdout).toMatch(/\nresult: ok\n$/);
    const report = await json("verify", "--databases");
    expect(report).toMatchObject({
      result: "ok",
      log_size: 59,
      closed: true,
      checked: { entries: 59, records: 57, checkpoints: 1, rows: 57, notes: 3 },
      problems: [],
    });
  });

  test("checks what is named, without a profile", async () => {
    const { addresses, folders } = stack.stack;
    const stranger = (...args: string[]) =>
      psephos(["verify", "--election", "town", "--json", ...args], { cwd: folder.path });
    const shown = await json("election", "show");
    const outside = await stranger(
      "--public",
      `http://${addresses.public}`,
      "--log-key",
      shown.manifest.log_key,
    );
    expect(outside.status).toBe(0);
    expect(JSON.parse(outside.stdout)).toMatchObject({
      result: "ok",
      checked: { entries: 59, records: 0 },
      not_checked: [expect.stringContaining("evidence store"), expect.stringContaining("databases")],
    });
    const inside = await stranger("--evidence", folders.evidence);
    expect(JSON.parse(inside.stdout)).toMatchObject({ result: "ok", checked: { entries: 0, records: 57 } });
    const nobody = await psephos([
      "verify",
      "--election",
      "nobody",
      "--public",
      `http://${addresses.public}`,
    ]);
    expect(nobody.status).toBe(1);
    expect(nobody.stdout).toContain("PROBLEM checkpoint: is not there");
  });
});

describe("tally", () => {
  const share = (number: number, of = "town") => inFolder(`${of}-trustees/share-${number}.json`);

  test("counts with enough shares, any of them", async () => {
    expect(await json("tally", "--share", share(1), share(3))).toEqual({
      closed: true,
      counts: { ada: 36, bob: 21 },
      spoilt: { malformed: 0, undecryptable: 0, "no-such-choice": 0 },
      voters: 57,
      records: 57,
    });
    const { stdout } = await cli("tally", "--share", share(2), "--share", share(3));
    expect(stdout).toMatch(/^choice +votes\nAda Lovelace +36\nBob +21\n\(spoilt\) +0\nall voters +57\n$/);
  });

  test("refuses too few shares, one given twice, one of another election, and a damaged one", async () => {
    expect(await failing(2, "tally", "--share", share(1))).toContain("2 shares are needed, 1 were given");
    expect(await failing(2, "tally", "--share", share(1), share(1))).toContain("given twice");
    expect(await failing(2, "tally", "--share", share(1), share(1, "poll"))).toContain("another election");
    const text = await readFile(share(2), "utf8");
    const damaged = text.replace(/("share": ".{10})(.)/, (_, start, c) => start + (c === "A" ? "B" : "A"));
    expect(damaged).not.toBe(text);
    await writeFile(inFolder("damaged.json"), damaged);
    const said = await failing(2, "tally", "--share", share(1), inFolder("damaged.json"));
    expect(said).toMatch(/damaged\.json: tally share: damaged/);
  });

  test("counts nothing that does not verify", async () => {
    const evidence = inFolder("evidence");
    await mkdir(join(evidence, "town"), { recursive: true });
    const said = await failing(1, "tally", "--evidence", evidence, "--share", share(1), share(2));
    expect(said).toContain("PROBLEM town/manifest.json: is not there");
    expect(said).toContain("nothing was counted");
  });
});

describe("tally of an election that was closed a moment ago", () => {
  const shares = [1, 2, 3].map((number) => `poll-trustees/share-${number}.json`);
  const tally = ["tally", "--election", "poll", "--share", ...shares, "--wait"];

  test("waits for its closing checkpoint, and has exit status 3 without", async () => {
    const { publisher } = stack.stack.services;
    expect(await json("cast", "--election", "poll", "--voter", "jane", "--candidate", "yes")).toBeDefined();
    await publisher.stop();
    let counted: Promise<Finished>;
    try {
      await json("election", "close", "poll");
      const audit = await stack.client(AuditService, "operator/test");
      await until("the closing entry is stored", async () => {
        const { head } = await audit.getHead({ electionId: "poll" });
        return head?.treeSize === 3n;
      });
      const said = await failing(3, ...tally, "0");
      expect(said).toContain("the closing checkpoint of poll is not yet published");
      expect(said).toContain("try again");
      const child = spawnCli(...tally, "60", "--json");
      counted = finished(child);
      await saying(child, "waiting up to 60 s for the closing checkpoint");
    } finally {
      await publisher.start();
    }
    const { status, stdout, stderr } = await counted;
    expect(status, stderr).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ closed: true, counts: { yes: 1, no: 0 } });
  });
});

describe("receipt", () => {
  test("is a tlog-proof of the vote in the signed log", async () => {
    const { status, stdout } = await cli("receipt", String(vote.vote_id), "--out", "vote.tlog-proof");
    expect([status, stdout]).toEqual([0, ""]);
    const text = await readFile(inFolder("vote.tlog-proof"), "utf8");
    const proof = parseTlogProof(text);
    const { manifest } = await json("election", "show");
    const entry = decodeEntry(proof.extra ?? new Uint8Array());
    expect(entry).toMatchObject({
      type: "vote",
      recordHash: Uint8Array.from(Buffer.from(vote.record_hash, "hex")),
    });
    if (entry.type === "vote") expect(voteIdOf(entry.shard, entry.sequence, 16)).toBe(vote.vote_id);
    const log = NoteVerifier.parse(manifest.log_key);
    const leaf = leafHash(proof.extra ?? new Uint8Array());
    expect(verifyTlogProof({ proof, leaf, log }).checkpoint.size).toBe(59);

    expect(await json("receipt", String(vote.vote_id))).toEqual({ vote_id: vote.vote_id, receipt: text });

    const { record_hash } = vote;
    const checked = ["verify", "receipt", "vote.tlog-proof", "--log-key", manifest.log_key];
    expect(await json(...checked)).toMatchObject({
      result: "ok",
      log_size: 59,
      index: proof.index,
      record_hash,
    });
    // The vote's promise says of the same record that it would come.
    expect(await json("verify", "promise", "vote.promise")).toMatchObject({
      ...{ result: "kept", vote_id: vote.vote_id, record_hash, log_size: 59, index: proof.index },
    });
  });

  test("there is none of a vote that is not in the log, or with another key", async () => {
    expect(await failing(3, "receipt", "999999")).toContain("not among the 59 entries that are signed");
    const { manifest } = await json("election", "show", "poll");
    expect(await failing(1, "receipt", String(vote.vote_id), "--log-key", manifest.log_key)).toMatch(/town/);
    expect(await failing(2, "receipt", String(vote.vote_id), "--out", "/nonexistent/file")).toContain(
      "/nonexistent",
    );
  });
});

describe("a service that is not there", () => {
  test("has exit status 3, and a message that says what to do", async () => {
    const { services } = stack.stack;
    await services["vote-service"].stop();
    try {
      for (const args of [["cast", "--voter", "v", "--candidate", "ada"], ["election", "show"], ["status"]]) {
        expect(await failing(3, ...args)).toMatch(/^psephos: vote-service cannot be reached .*npm start/);
      }
    } finally {
      await services["vote-service"].start();
    }
    await services.publisher.stop();
    try {
      const [verify, receipt] = await Promise.all([
        failing(3, "verify"),
        failing(3, "receipt", String(vote.vote_id)),
      ]);
      expect(verify).toMatch(/\/town\/.*ECONNREFUSED.*npm start/s);
      expect(receipt).toMatch(/ECONNREFUSED/);
      // What does not need it goes on.
      expect((await json("status")).published_size).toBeUndefined();
    } finally {
      await services.publisher.start();
    }
    await services["shard-router"].stop();
    try {
      expect(await failing(3, "verify", "--databases")).toContain("shard-router cannot be reached");
    } finally {
      await services["shard-router"].start();
    }
  });
});

test("output that nobody reads to its end is no error", async () => {
  const child = spawnPsephos(["--help"]);
  child.stdout?.destroy();
  const [code] = await once(child, "exit");
  expect(code).toBe(0);
});

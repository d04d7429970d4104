import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { flip, TestLog } from "../verify/test-log.ts";
import { run } from "./run.ts";

let log: TestLog;
let folder: string;

beforeAll(async () => {
  log = await TestLog.create({ commits: [20, 30] });
  folder = await mkdtemp(join(tmpdir(), "psephos-query-cli-"));
  vi.stubEnv("PSEPHOS_PROFILE", join(folder, "none.json"));
  await write(log, "evidence");
});

afterAll(() => rm(folder, { recursive: true, force: true }));

async function write(of: TestLog, name: string): Promise<string> {
  for (const [key, body] of of.evidence) {
    await mkdir(dirname(join(folder, name, key)), { recursive: true });
    await writeFile(join(folder, name, key), body);
  }
  return join(folder, name);
}

/** A command of somebody without a profile, and all it wrote. */
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
  return { code, data, said: said.join("\n") };
}

const query = (...args: string[]) =>
  psephos("query", "--election", "test", "--evidence", join(folder, "evidence"), ...args);

describe("psephos query", () => {
  test("shows a table, and says what it rests on", async () => {
    const { code, data, said } = await query("SELECT count(*) AS votes, 'x' AS text FROM votes");
    expect([code, data]).toEqual([0, ["votes  text\n   50  x"]]);
    expect(said).toContain("verified 52 log entries");
    expect(said).toContain("not checked: the public log");
    expect(said).toContain("1 row");
  });

  test("as lines of JSON, or as CSV", async () => {
    const sql = `SELECT range AS n, 'a "b", c' AS text, NULL AS none FROM range(2)`;
    expect((await query("--json", sql)).data).toEqual([
      `{"n":0,"text":"a \\"b\\", c","none":null}`,
      `{"n":1,"text":"a \\"b\\", c","none":null}`,
    ]);
    expect((await query("--csv", sql)).data).toEqual(["n,text,none", '0,"a ""b"", c",', '1,"a ""b"", c",']);
    expect((await query("SELECT 1 AS one WHERE false")).data).toEqual(["one"]);
  });

  test("as of a moment, or of a vote checkpoint", async () => {
    const [first = 0] = log.records.flat().map(({ castAt }) => castAt);
    const before = new Date(first / 1000 - 1_000).toISOString();
    const count = "SELECT count(*) AS n FROM votes";
    expect((await query("--as-of", before, "--json", count)).data).toEqual(['{"n":0}']);
    expect((await query("--checkpoint", "1", "--json", count)).data).toEqual(['{"n":50}']);
    const { code, said } = await query("--checkpoint", "2", count);
    expect([code, said]).toEqual([2, expect.stringContaining("no vote checkpoint 2: the newest is 1")]);
  });

  test("shows only what is signed, and asks that the evidence leads to it", async () => {
    await using server = await serve(log.published);
    const { code, data, said } = await query(
      "--public",
      server.url,
      "--json",
      "SELECT count(*) AS n FROM votes",
    );
    expect([code, data]).toEqual([0, ['{"n":50}']]);
    expect(said).toContain("of which 52 are signed and public");

    await using other = await serve((await TestLog.create({ commits: [50] })).published);
    const forked = await query("--public", other.url, "SELECT 1");
    expect([forked.code, forked.data]).toEqual([1, []]);
  });

  test("shows nothing of evidence that does not verify, and names what is wrong", async () => {
    const bad = log.clone();
    const key = bad.segmentOf(30);
    bad.evidence.edit(key, flip(-10));
    const evidence = await write(bad, "bad");
    const result = await psephos("query", "--election", "test", "--evidence", evidence, "SELECT 1");
    expect([result.code, result.data]).toEqual([1, []]);
    expect(result.said).toContain(key);
    expect(result.said).toContain("nothing is shown");

    const twice = await write(await TestLog.create({ doubleVote: true }), "twice");
    const double = await psephos("query", "--election", "test", "--evidence", twice, "SELECT 1");
    expect([double.code, double.data]).toEqual([1, []]);
    expect(double.said).toMatch(/shard \d+, sequence \d+: another vote of a voter who has voted/);
  });

  test.each([
    ["SELECT nothing FROM votes", 'Referenced column "nothing" not found'],
    ["SELECT * FROM read_text('/etc/passwd')", "file system operations are disabled"],
    ["DROP VIEW votes", "a query only reads"],
    ["SELECT 1; SELECT 2", "one SQL statement"],
    ["", "there is no SQL statement"],
  ])("refuses %s, with exit status 2", async (sql, message) => {
    const { code, data, said } = await query(sql);
    expect([code, data]).toEqual([2, []]);
    expect(said).toContain(message);
  });

  test("refuses two formats, and two moments", async () => {
    expect((await query("--csv", "--json", "SELECT 1")).code).toBe(2);
    expect((await query("--as-of", "2026-11-03T08:00:00Z", "--checkpoint", "1", "SELECT 1")).code).toBe(2);
  });
});

describe("psephos cost", () => {
  test("of one object a vote is $1,500 for the objects of votes alone", async () => {
    const { code, data } = await psephos(
      "cost",
      "--voters",
      "300000000",
      "--layout",
      "object-per-vote",
      "--json",
    );
    expect(code).toBe(0);
    const { objects, years } = JSON.parse(data[0] ?? "");
    expect((objects[0].count / 1000) * 0.005).toBe(1_500);
    expect(years).toHaveLength(10);
  });

  test("in segments, as people read it", async () => {
    const { code, data } = await psephos("cost", "--voters", "300000000", "--years", "2");
    expect(code).toBe(0);
    expect(data[0]).toMatch(
      /^votes {2,}300,000,000\nlayout {2,}segments\nbytes a vote {2,}170\.6 \(assumed\)\n/,
    );
    expect(data[0]).toMatch(/\nall requests {2,}\$4\.\d\d\n/);
    expect(data[0]).toMatch(/\nall of it, 2 years: \$[\d,.]+$/);
  });

  test("with the bytes that a store's objects have", async () => {
    const args = ["cost", "--voters", "1000", "--election", "test", "--evidence", join(folder, "evidence")];
    const { code, data } = await psephos(...args, "--json");
    expect(code).toBe(0);
    const { bytes_a_vote, measured_objects, votes_a_segment } = JSON.parse(data[0] ?? "");
    expect(measured_objects).toBe(log.segmentKeys.length + 1);
    expect(votes_a_segment).toBe(52 / log.segmentKeys.length);
    const bytes = log.segmentKeys.reduce((sum, key) => sum + (log.evidence.get(key)?.length ?? 0), 0);
    expect(bytes_a_vote).toBeGreaterThan(bytes / 52);
  });

  test("refuses what it cannot calculate with", async () => {
    const bad = join(folder, "prices.json");
    await writeFile(bad, "{}");
    for (const args of [
      ["--voters", "0"],
      ["--voters", "5", "--layout", "one"],
      ["--voters", "5", "--prices", bad],
    ]) {
      expect(await psephos("cost", ...args)).toMatchObject({ code: 2, data: [] });
    }
  });
});

/** Serves what a log publishes, as `<url>/test/…`. */
async function serve(
  published: ReadonlyMap<string, Uint8Array>,
): Promise<AsyncDisposable & { readonly url: string }> {
  const server = createServer((request, response) => {
    const body = published.get((request.url ?? "").replace(/^\/test\//, ""));
    response.writeHead(body ? 200 : 404).end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  // listen() was told a port: the address has one.
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
    },
  };
}

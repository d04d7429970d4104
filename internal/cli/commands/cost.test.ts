import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { TestLog } from "../../verify/test-log.ts";
import { run } from "../run.ts";

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "psephos-cost-"));
  vi.stubEnv("PSEPHOS_PROFILE", join(folder, "none.json"));
  for (const [key, body] of (await TestLog.create({ commits: [20] })).evidence) {
    await mkdir(dirname(join(folder, key)), { recursive: true });
    await writeFile(join(folder, key), body);
  }
});

afterAll(() => rm(folder, { recursive: true, force: true }));

/** A command of somebody without a profile, and all it wrote. */
async function cost(...args: string[]) {
  const data: string[] = [];
  const said: string[] = [];
  const terminal = {
    data: (line: string) => data.push(line),
    say: (line: string) => said.push(line),
    progress: () => ({ update: () => {}, end: () => {} }),
  };
  const stopSignal = () => new AbortController().signal;
  const code = await run({ args: ["cost", "--voters", "1000", ...args], terminal, stopSignal });
  return { code, data: data.join("\n"), said: said.join("\n") };
}

test("a calculation over more than a century is refused, and not shortened", async () => {
  expect((await cost("--years", "100")).code).toBe(0);
  expect(await cost("--years", "101")).toMatchObject({ code: 2, data: "" });
});

test("what was measured in one layout is not used for the other", async () => {
  const measured = ["--election", "test", "--evidence", folder];
  const { code, data } = await cost(...measured, "--json");
  expect([code, JSON.parse(data)]).toMatchObject([0, { layout: "segments" }]);
  expect((await cost(...measured, "--layout", "segments")).code).toBe(0);
  const other = await cost(...measured, "--layout", "object-per-vote");
  expect(other).toMatchObject({ code: 2, data: "", said: expect.stringContaining("in the layout segments") });
});

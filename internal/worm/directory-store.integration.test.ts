import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { equalBytes, utf8 } from "../core/bytes.ts";
import { DirectoryStore } from "./directory-store.ts";
import { keys } from "./object-store.contract.ts";

const module = fileURLToPath(new URL("./directory-store.ts", import.meta.url));

async function newDirectory() {
  const directory = await mkdtemp(join(tmpdir(), "psephos-worm-"));
  return { directory, [Symbol.asyncDispose]: () => rm(directory, { recursive: true, force: true }) };
}

/** Runs `body` in a process of its own, where `store` is a DirectoryStore over `directory`. */
function start(directory: string, body: string): ChildProcess {
  const script = `
    import { DirectoryStore } from ${JSON.stringify(module)};
    const store = new DirectoryStore({ directory: ${JSON.stringify(directory)} });
    ${body}`;
  return spawn(process.execPath, ["--input-type=module", "--eval", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
}

async function linesOf(child: ChildProcess): Promise<string[]> {
  const lines: string[] = [];
  if (!child.stdout) throw new Error("no pipe");
  const closed = once(child, "close");
  for await (const line of createInterface(child.stdout)) lines.push(line);
  await closed;
  return lines;
}

test("of processes that create the same names, one wins each and the others are told", async () => {
  await using place = await newDirectory();
  const writers = ["one", "two", "three"];
  const outcomes = await Promise.all(
    writers.map((writer) =>
      linesOf(
        start(
          place.directory,
          `for (let i = 0; i < 100; i++) {
             const body = new TextEncoder().encode(${JSON.stringify(writer)} + " wrote " + i);
             await store.put("folder-" + (i % 7) + "/" + i, body).then(() => console.log("won " + i), (e) => console.log(e.name + " " + i));
           }`,
        ),
      ),
    ),
  );
  for (let i = 0; i < 100; i++) {
    const winners = writers.filter((_, w) => outcomes[w]?.includes(`won ${i}`));
    const losers = writers.filter((_, w) => outcomes[w]?.includes(`ObjectConflictError ${i}`));
    expect([winners.length, losers.length]).toEqual([1, 2]);
    const store = new DirectoryStore({ directory: place.directory });
    expect(await store.get(`folder-${i % 7}/${i}`)).toEqual(utf8(`${winners[0]} wrote ${i}`));
  }
  expect(await readdir(join(place.directory, ".tmp"))).toEqual([]);
});

test("a writer killed at any moment leaves whole objects only, among them all that it was promised", async () => {
  await using place = await newDirectory();
  const size = 20_000;
  let total = 0;
  for (let round = 0; round < 4; round++) {
    const child = start(
      place.directory,
      `for (let i = 0; ; i++) {
         await Promise.all(Array.from({ length: 8 }, async (_, k) => {
           const key = "round-${round}/" + (i * 8 + k);
           await store.put(key, new Uint8Array(${size}).fill((i * 8 + k) % 256));
           process.stdout.write(key + "\\n");
         }));
       }`,
    );
    // From its first promise on, for starting takes as long as the machine is busy.
    child.stdout?.once("data", () => setTimeout(() => child.kill("SIGKILL"), 10 + 30 * round));
    const promised = await linesOf(child);

    const store = new DirectoryStore({ directory: place.directory });
    const there = new Set(await keys(store, `round-${round}/`));
    expect(promised.filter((key) => !there.has(key))).toEqual([]);
    for (const key of there) {
      const expected = new Uint8Array(size).fill(Number(key.split("/")[1]) % 256);
      const found = await store.get(key);
      expect(found !== undefined && equalBytes(found, expected), key).toBe(true);
    }
    total += promised.length;
  }
  expect(total).toBeGreaterThan(0);
  // What the killed writers had begun does not stop the next one.
  const store = new DirectoryStore({ directory: place.directory });
  expect(await store.put("round-0/next", utf8("x"))).toMatchObject({ bytes: 1 });
});

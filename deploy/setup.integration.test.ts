import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const setup = fileURLToPath(new URL("setup.mjs", import.meta.url));

/** Runs the fixture by setup.mjs, and resolves when it says that it is there. */
async function start(...args: string[]) {
  const child = spawn(process.execPath, [setup, "deploy/setup.fixture.ts", ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = once(child, "exit");
  const lines: string[] = [];
  const output = createInterface(child.stdout).on("line", (line) => lines.push(line));
  await once(output, "line");
  const hello: { pid: number; node: string; args: string[] } = JSON.parse(lines.shift() ?? "");
  // The end of the output is the end of the script, which may outlive setup.mjs.
  return { child, ended, hello, lines, silent: once(output, "close") };
}

async function untilGone(pid: number): Promise<void> {
  for (;;) {
    try {
      process.kill(pid, 0);
    } catch {
      return;
    }
    await sleep(20);
  }
}

test("the script runs on the Node that was installed, with its arguments", async () => {
  const { child, ended, hello } = await start("--json", "a b");
  expect(hello.node).toMatch(/^v24\./);
  expect(hello.args).toEqual(["--json", "a b"]);
  child.kill("SIGTERM");
  expect(await ended).toEqual([7, null]);
});

test("one Ctrl-C, which npm passes on and the terminal sends as well, is one signal", async () => {
  const { child, ended, lines, silent, hello } = await start();
  child.kill("SIGINT");
  await sleep(50);
  child.kill("SIGINT");
  await silent;
  expect(lines).toEqual(["SIGINT"]);
  expect(await ended).toEqual([7, null]);
  await untilGone(hello.pid);
});

test("the script ends in order when setup.mjs is killed", async () => {
  const { child, ended, lines, silent, hello } = await start();
  child.kill("SIGKILL");
  expect(await ended).toEqual([null, "SIGKILL"]);
  await silent;
  expect(lines).toEqual(["SIGTERM"]);
  await untilGone(hello.pid);
});

test("a script that dies by a signal is a failure", async () => {
  const { ended, hello } = await start();
  process.kill(hello.pid, "SIGKILL");
  expect(await ended).toEqual([128 + 9, null]);
});

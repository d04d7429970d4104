import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { expect, test } from "vitest";
import { FileLock } from "./lock.ts";
import { TemporaryFolder } from "./temporary-folder.ts";

test("one holder at a time, here too", async () => {
  await using folder = await TemporaryFolder.create();
  const path = join(folder.path, "below", "lock");
  const first = await FileLock.tryAcquire(path);
  expect(await FileLock.tryAcquire(path)).toBeUndefined();

  let waited = false;
  const second = FileLock.acquire(path, () => {
    waited = true;
    first?.[Symbol.dispose]();
  });
  using _held = await second;
  expect(waited).toBe(true);
});

test("a holder that is killed holds nothing", async () => {
  await using folder = await TemporaryFolder.create();
  const path = join(folder.path, "lock");
  const program = `
    const { FileLock } = await import(${JSON.stringify(new URL("lock.ts", import.meta.url).href)});
    await FileLock.tryAcquire(${JSON.stringify(path)});
    console.log("held");
    setInterval(() => {}, 60_000);`;
  const holder = spawn(process.execPath, ["--input-type=module", "-e", program], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  await once(holder.stdout, "data");
  expect(await FileLock.tryAcquire(path)).toBeUndefined();
  holder.kill("SIGKILL");
  await once(holder, "exit");
  using lock = await FileLock.tryAcquire(path);
  expect(lock).toBeDefined();
});

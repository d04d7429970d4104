import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { DirectoryLock } from "./directory-lock.ts";
import { TestDirectories } from "./test-publisher.ts";

const MODULE = fileURLToPath(new URL("directory-lock.ts", import.meta.url));

/** A process that tries to take the lock, says how it went, and stays as long as this one. */
async function otherProcess(directory: string): Promise<{ child: ChildProcess; says: string }> {
  const program = `
    import { DirectoryLock } from ${JSON.stringify(MODULE)};
    try {
      globalThis.lock = new DirectoryLock({ directory: ${JSON.stringify(directory)} });
      console.log("held");
    } catch (error) {
      console.log(error.name);
    }
    process.stdin.resume().on("close", () => process.exit());`;
  const child = spawn(process.execPath, ["--input-type=module", "--eval", program], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const [says] = await once(child.stdout, "data");
  return { child, says: String(says).trim() };
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  const closed = once(child, "close");
  child.kill(signal);
  await closed;
}

test("another process is kept out until the holder has died, however that was", async () => {
  await using directories = await TestDirectories.create();
  for (const signal of ["SIGKILL", "SIGTERM"] as const) {
    const { child, says } = await otherProcess(directories.root);
    expect(says).toBe("held");
    expect(() => new DirectoryLock({ directory: directories.root })).toThrow("another process is writing");
    await end(child, signal);
    using _ = new DirectoryLock({ directory: directories.root });
  }
});

test("a second try in the same process is refused, and does not let others in", async () => {
  await using directories = await TestDirectories.create();
  using _ = new DirectoryLock({ directory: directories.root });
  for (let attempt = 0; attempt < 2; attempt++) {
    expect(() => new DirectoryLock({ directory: directories.root })).toThrow("another process is writing");
  }
  const { child, says } = await otherProcess(directories.root);
  expect(says).toBe("DirectoryLockedError");
  await end(child, "SIGKILL");
});

test("a directory that is not there is another error", () => {
  expect(() => new DirectoryLock({ directory: "/nonexistent" })).toThrow("unable to open database file");
});

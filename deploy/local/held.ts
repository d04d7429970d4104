// For tests of what becomes of a stack whose parent is killed.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

const fixture = fileURLToPath(new URL("servers.fixture.ts", import.meta.url));

/** Has another process start `what` in a folder. Resolves, when it is up, to that process and those it started. */
export async function hold(
  what: "servers" | "stack",
  folder: string,
): Promise<{ parent: ChildProcess; pids: number[] }> {
  const args = [...process.execArgv, fixture, what, folder];
  const parent = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  const [line] = await once(parent.stdout, "data");
  return { parent, pids: JSON.parse(String(line)) };
}

export function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

export async function untilDead(pids: readonly number[]): Promise<void> {
  for (const deadline = Date.now() + 15_000; pids.some(isAlive); await sleep(50)) {
    if (Date.now() > deadline) throw new Error(`still alive: ${pids.filter(isAlive).join(", ")}`);
  }
}

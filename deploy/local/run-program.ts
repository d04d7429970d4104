import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import type { Command } from "./process.ts";
import { tether } from "./reaper.ts";

export interface RunOptions extends Command {
  /** What it reads from standard input. */
  readonly input?: string;
  /** Default one minute. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal | undefined;
}

/** Runs a program to its end and returns what it wrote to standard output. It does not outlive this process. */
export async function runProgram(options: RunOptions): Promise<string> {
  const { file, args, env, input = "", timeoutMs = 60_000, signal, ...place } = options;
  signal?.throwIfAborted();
  const child = spawn(file, args, {
    ...place,
    env: { ...process.env, ...env },
    detached: true, // A process group of its own, so that what it starts ends with it.
    stdio: ["pipe", "pipe", "pipe"],
  });
  const { pid } = child;
  const untether = pid === undefined ? () => {} : tether(pid, "KILL");
  const limit = AbortSignal.timeout(timeoutMs);
  const ended = signal === undefined ? limit : AbortSignal.any([limit, signal]);
  const kill = () => pid !== undefined && process.kill(-pid, "SIGKILL");
  ended.addEventListener("abort", kill, { once: true });

  child.stdin.on("error", () => {}); // It ended before it had read everything. Its exit code says how that is.
  child.stdin.end(input);
  try {
    const [[code, by], output, errors] = await Promise.all([
      once(child, "exit"),
      text(child.stdout),
      text(child.stderr),
    ]);
    if (code === 0) return output;
    ended.throwIfAborted();
    throw new Error(`${file} ${args.join(" ")} failed (${by ?? `exit code ${code}`}): ${errors.trim()}`);
  } finally {
    ended.removeEventListener("abort", kill);
    untether();
  }
}

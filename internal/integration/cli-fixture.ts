// The psephos command as its users run it: a process, with its exit status and what it wrote where.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { COMPILE_CACHE, NODE_FLAGS } from "../../deploy/local/service-process.ts";
import type { Profile } from "../cli/profile.ts";
import type { TestStack } from "./election-fixture.ts";

export const ROOT = fileURLToPath(new URL("../..", import.meta.url));
export const MAIN = join(ROOT, "cmd", "psephos", "main.ts");

export interface Finished {
  /** The exit status, or the signal that ended it. */
  readonly status: number | NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface PsephosOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** A command that runs; whoever starts it sees to its end. */
export function spawnPsephos(
  args: readonly string[],
  { cwd = ROOT, env = {} }: PsephosOptions = {},
): ChildProcess {
  return spawn(process.execPath, [...NODE_FLAGS, MAIN, ...args], {
    cwd,
    // Dozens of processes compile the same modules.
    env: { ...process.env, NODE_COMPILE_CACHE: COMPILE_CACHE, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
}

export async function finished(child: ChildProcess): Promise<Finished> {
  const { stdout, stderr } = child;
  if (!stdout || !stderr) throw new TypeError("its output is not piped");
  const [[code, signal], output, errors] = await Promise.all([
    once(child, "exit"),
    text(stdout),
    text(stderr),
  ]);
  return { status: code ?? signal, stdout: output, stderr: errors };
}

export function psephos(args: readonly string[], options?: PsephosOptions): Promise<Finished> {
  return finished(spawnPsephos(args, options));
}

/** Resolves when the process has said something on standard error. Rejects with all it said if it ends before. */
export function saying(child: ChildProcess, what: string): Promise<void> {
  let said = "";
  return new Promise((resolve, reject) => {
    child.stderr?.on("data", (chunk) => {
      said += chunk;
      if (said.includes(what)) resolve();
    });
    child.once("exit", () => reject(new Error(`it ended before it said "${what}":\n${said}`)));
  });
}

/** Writes the profile of a stack to a file in its folder, and answers where. */
export async function writeProfile(
  { stack }: TestStack,
  folder: string,
  changes: Partial<Profile> = {},
): Promise<string> {
  const { addresses, evidence, trustDomain } = stack;
  const profile: Profile = {
    trust_domain: trustDomain,
    edge: addresses["vote-service"],
    rest: `https://${addresses.voteHttp}`,
    shard_router: addresses["shard-router"],
    audit: addresses["audit-service"],
    publisher: addresses.publisher,
    nats: stack.nats.url,
    public: `http://${addresses.public}`,
    evidence: evidence.config,
    identities: {
      operator: await stack.identity("operator/local"),
      client: await stack.identity("client/local"),
      auditor: await stack.identity("auditor/local"),
    },
    ...changes,
  };
  const file = join(folder, "profile.json");
  await writeFile(file, JSON.stringify(profile));
  return file;
}

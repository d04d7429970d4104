import { access, constants, mkdir, rename, rm } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { runProgram } from "./run-program.ts";

/** The program `name`, looked for as a shell does, and then in the folders `more`. */
export async function onPath(name: string, more: readonly string[] = []): Promise<string | undefined> {
  const folders = (process.env.PATH ?? "").split(delimiter).filter((folder) => folder !== "");
  for (const folder of [...folders, ...more]) {
    const file = join(folder, name);
    const executable = await access(file, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (executable) return file;
  }
  return undefined;
}

/** Gets a program in a folder of its own and moves it into the cache in one step: nobody sees half of it. */
export async function intoCache(cached: string, get: (folder: string) => Promise<string>): Promise<string> {
  const folder = `${cached}.new`; // Ours alone: the lock is held.
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  try {
    await rename(await get(folder), cached);
    return cached;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

export interface GoBuild {
  /** Its import path and version, as `go install` takes them. */
  readonly module: string;
  /** What it is called when it is built. */
  readonly program: string;
  /** Where it goes. */
  readonly cached: string;
  /** Called when there is a Go to build with. */
  readonly onBuild: () => void;
  readonly timeoutMs: number;
  readonly signal: AbortSignal | undefined;
}

/** Builds a program of Go's module proxy into the cache. Go checks what it downloads against its checksum database. */
export async function buildWithGo(build: GoBuild): Promise<string> {
  const { module, program, cached, onBuild, timeoutMs, signal } = build;
  const go = await onPath("go");
  if (go === undefined) throw new Error("go is not on PATH");
  onBuild();
  return intoCache(cached, async (folder) => {
    const env = { GOBIN: folder, CGO_ENABLED: "0", GOFLAGS: "" };
    const args = ["install", "-trimpath", "-ldflags=-s -w", module];
    await runProgram({ file: go, args, env, timeoutMs, signal });
    return join(folder, program);
  });
}

/** The command that failed and the last thing it said. */
export function summary(error: unknown): string {
  const lines = (error instanceof Error ? error.message : String(error)).trim().split("\n");
  return [...new Set([lines.at(0), lines.at(-1)])].join(": ");
}

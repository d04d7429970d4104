import { access, constants, mkdir, rename, rm } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { cacheFolder } from "./cache.ts";
import { FileLock } from "./lock.ts";
import { runProgram } from "./run-program.ts";

/** The program `name`, looked for as a shell does, and then in the folders `more`. */
export async function onPath(name: string, more: readonly string[] = []): Promise<string | undefined> {
  const folders = (process.env.PATH ?? "").split(delimiter).filter((folder) => folder !== "");
  for (const folder of [...folders, ...more]) {
    const file = join(folder, name);
    if (await isExecutable(file)) return file;
  }
  return undefined;
}

export async function isExecutable(file: string): Promise<boolean> {
  return access(file, constants.X_OK).then(
    () => true,
    () => false,
  );
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

/** A Go build on one slow core, with 1.6 GB of modules over a slow line. */
const BUILD_LIMIT_MS = 1_800_000;

/** A program that is built from one version of a Go module. */
export interface GoSource {
  /** What it is called when it is built. */
  readonly name: string;
  /** Its import path. */
  readonly module: string;
  readonly version: string;
  /** How long it takes on two cores, such as "a minute". */
  readonly minutes: string;
}

export interface GetOptions {
  /** Hears of what takes long. */
  readonly progress?: ((message: string) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** The file of a program that an earlier run built into the cache, or that is built now. Two runs at once build it once. */
export async function buildOnce(source: GoSource, options: GetOptions = {}): Promise<string> {
  const { name, module, version, minutes } = source;
  const { progress = () => {}, signal } = options;
  // The version is part of the name: not every program says it.
  const file = `${name}-${version}-${process.platform}-${process.arch}`;
  const cached = join(cacheFolder(), file);
  const waiting = () => progress(`another run is building ${name}; waiting for it`);
  const onBuild = () =>
    progress(`building ${name} ${version} with Go, once for this machine (about ${minutes})`);
  if (await isExecutable(cached)) return cached;
  using _lock = await FileLock.acquire(`${cached}.lock`, waiting, signal);
  const build = { module: `${module}@${version}`, program: name, cached, onBuild, signal };
  return (await isExecutable(cached)) ? cached : buildWithGo({ ...build, timeoutMs: BUILD_LIMIT_MS });
}

/** The command that failed and the last thing it said. */
export function summary(error: unknown): string {
  const lines = (error instanceof Error ? error.message : String(error)).trim().split("\n");
  return [...new Set([lines.at(0), lines.at(-1)])].join(": ");
}

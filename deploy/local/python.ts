import { existsSync } from "node:fs";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { toHex, utf8 } from "../../internal/core/bytes.ts";
import { sha256 } from "../../internal/core/sha256.ts";
import { cacheFolder } from "./cache.ts";
import { FileLock } from "./lock.ts";
import { type GetOptions, onPath, summary } from "./outside-program.ts";
import { runProgram } from "./run-program.ts";

const REQUIREMENTS = fileURLToPath(new URL("../python/requirements.txt", import.meta.url));
const OLDEST = [3, 10] as const;

/** Thirty packages over a slow line. */
const LIMIT_MS = 600_000;

/**
 * The folder of programs of a Python environment with exactly what deploy/python/requirements.txt asks for, made once
 * for the machine. pip refuses what has another hash, and builds nothing.
 */
export async function findPython(options: GetOptions = {}): Promise<string> {
  const { progress = () => {}, signal } = options;
  const hash = toHex(sha256(utf8(await readFile(REQUIREMENTS, "utf8")))).slice(0, 12);
  const folder = join(cacheFolder(), `python-${hash}-${process.platform}-${process.arch}`);
  const programs = join(folder, "bin");
  // An environment cannot be moved into its place when it is ready, for its programs name it. This file says that it is.
  const ready = join(folder, "ready");
  if (existsSync(ready)) return programs;
  const waiting = () => progress("another run is making the Python environment; waiting for it");
  using _lock = await FileLock.acquire(`${folder}.lock`, waiting, signal);
  if (existsSync(ready)) return programs;
  try {
    const python = await systemPython();
    progress("making a Python environment with pip, once for this machine (about a minute)");
    await rm(folder, { recursive: true, force: true });
    await mkdir(folder, { recursive: true });
    await runProgram({ file: python, args: ["-m", "venv", folder], timeoutMs: LIMIT_MS, signal });
    const pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"];
    const what = ["--require-hashes", "--only-binary", ":all:", "--requirement", REQUIREMENTS];
    const file = join(programs, "python3");
    await runProgram({ file, args: [...pip, ...what], timeoutMs: LIMIT_MS, signal });
    await writeFile(ready, "");
    return programs;
  } catch (error) {
    signal?.throwIfAborted();
    throw new Error(
      [
        `no Python environment, and none could be made: ${summary(error)}`,
        `Install Python ≥ ${OLDEST.join(".")} with its venv and pip (on Debian: python3-venv) so that python3 is on PATH.`,
      ].join("\n"),
    );
  }
}

async function systemPython(): Promise<string> {
  const python = await onPath("python3");
  if (python === undefined) throw new Error("python3 is not on PATH");
  const version = await runProgram({
    file: python,
    args: ["-c", "import sys; print(*sys.version_info[:2])"],
    timeoutMs: 10_000,
  });
  const [major = 0, minor = 0] = version.trim().split(" ").map(Number);
  if (major < OLDEST[0] || (major === OLDEST[0] && minor < OLDEST[1])) {
    throw new Error(`${python} is Python ${major}.${minor}`);
  }
  return python;
}

import { createHash } from "node:crypto";
import { mkdir, readFile, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { cacheFolder } from "./cache.ts";
import { FileLock } from "./lock.ts";
import type { PostgresAccount } from "./postgres-account.ts";
import type { PostgresBinaries } from "./postgres-binaries.ts";
import { runProgram } from "./run-program.ts";

const INITDB = [
  ...["-U", "postgres", "--auth=reject", "--no-instructions"],
  // The same order and case rules on every machine, not those of its C library.
  ...["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"],
];

/** Makes a cluster in an empty folder and provisions it, before anybody could connect. */
export async function createCluster(
  binaries: PostgresBinaries,
  account: PostgresAccount,
  data: string,
): Promise<void> {
  await runProgram({ file: binaries.initdb, args: ["-D", data, ...INITDB], ...account.user });
  // In single-user mode with -j, an empty line ends a statement (postgres manual, "postgres").
  await runProgram({
    file: binaries.postgres,
    args: ["--single", "-j", "-c", "exit_on_error=on", "-D", data, "postgres"],
    input: await provision(),
    ...account.user,
  });
}

/**
 * Copies a cluster that was made once for this machine: a tenth of the work. Two copies take each other for the same
 * cluster (one "system identifier"), and nothing is flushed, so it is for tests alone.
 */
export async function copyCluster(
  binaries: PostgresBinaries,
  account: PostgresAccount,
  data: string,
): Promise<void> {
  const template = await templateCluster(binaries, account);
  // What is in it, not itself: join() would take the dot away.
  await runProgram({ file: "cp", args: ["-R", `${template}/.`, data], ...account.user });
}

async function templateCluster(binaries: PostgresBinaries, account: PostgresAccount): Promise<string> {
  const version = await runProgram({ file: binaries.postgres, args: ["--version"] });
  const made = createHash("sha256").update(JSON.stringify([version, INITDB, await provision()]));
  const folder = join(cacheFolder(), `postgres-cluster-${made.digest("hex").slice(0, 16)}`);
  await mkdir(folder, { recursive: true });
  const home = await account.reachable(folder);
  await mkdir(home, { recursive: true });
  const template = join(home, "data");
  // No server ever runs on it: once it has its name it does not change, and is copied without the lock.
  if (await exists(template)) return template;
  using _lock = await FileLock.acquire(`${folder}.lock`);
  if (await exists(template)) return template;
  const unfinished = `${template}.new`; // What a crash leaves is made anew.
  await rm(unfinished, { recursive: true, force: true });
  await account.createFolder(unfinished);
  await createCluster(binaries, account, unfinished);
  await rename(unfinished, template);
  return template;
}

/** The file that a Postgres of any deployment is provisioned with, not only a local one. */
function provision(): Promise<string> {
  return readFile(new URL("../postgres/provision.sql", import.meta.url), "utf8");
}

function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

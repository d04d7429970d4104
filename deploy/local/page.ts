import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { concat, toHex, u64, utf8 } from "../../internal/core/bytes.ts";
import { sha256 } from "../../internal/core/sha256.ts";
import { cacheFolder } from "./cache.ts";
import { FileLock } from "./lock.ts";
import { intoCache } from "./outside-program.ts";
import { runProgram } from "./run-program.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
/** What the page is made of: its own folder, and those that it may import of (internal/import-directions.test.ts). */
const SOURCES = ["page", "core", "tlog", "ballot", "evidence", "receipt", "verify"];
const LIMIT_MS = 120_000;

/** The folder of the page for people, built once for each version of its sources (some seconds). */
export async function findPage(): Promise<string> {
  const cached = join(cacheFolder(), `page-${await version()}`);
  if (existsSync(cached)) return cached;
  using _lock = await FileLock.acquire(join(cacheFolder(), "page.lock"));
  if (existsSync(cached)) return cached;
  return intoCache(cached, async (folder) => {
    const vite = join(ROOT, "node_modules/vite/bin/vite.js");
    const args = [vite, "build", join(ROOT, "internal/page"), "--outDir", folder, "--logLevel", "warn"];
    await runProgram({ file: process.execPath, args, timeoutMs: LIMIT_MS });
    return folder;
  });
}

/** Names the sources' contents, and the versions of the packages. */
async function version(): Promise<string> {
  const names = ["package-lock.json"];
  for (const folder of SOURCES) {
    for (const name of await readdir(join(ROOT, "internal", folder))) {
      if (/\.(?:tsx?|css|html|json)$/.test(name) && !/\.test\.ts$|^test-|^vectors/.test(name)) {
        names.push(`internal/${folder}/${name}`);
      }
    }
  }
  const files = names.sort().map(async (name) => {
    const bytes = await readFile(join(ROOT, name));
    return concat(utf8(`${name}\n`), u64(bytes.length), bytes);
  });
  return toHex(sha256(concat(...(await Promise.all(files))))).slice(0, 16);
}

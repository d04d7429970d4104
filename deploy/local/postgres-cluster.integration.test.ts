import { readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, expect, test, vi } from "vitest";
import { PostgresAccount } from "./postgres-account.ts";
import { postgresBinaries } from "./postgres-binaries.ts";
import { copyCluster } from "./postgres-cluster.ts";
import { TemporaryFolder } from "./temporary-folder.ts";

afterEach(() => vi.unstubAllEnvs());

test("runs that need a first copy at once make one template, over what a crash left of another", async () => {
  await using folder = await TemporaryFolder.create();
  vi.stubEnv("XDG_CACHE_HOME", folder.path);
  const account = await PostgresAccount.find();
  const binaries = await account.reachableBinaries(await postgresBinaries());
  const copy = async (name: string) => {
    const data = join(folder.path, name);
    await account.createFolder(data);
    await copyCluster(binaries, account, data);
    return data;
  };
  const copies = await Promise.all(["one", "two"].map(copy));

  // Killed before the template had its name, a run leaves one that may lack anything.
  const cache = join(folder.path, "psephos");
  const [template] = (await readdir(cache)).filter((name) => /^postgres-cluster-\w+$/.test(name));
  const home = join(cache, template ?? "");
  expect(await readdir(home)).toEqual(["data"]);
  await rename(join(home, "data"), join(home, "data.new"));
  await rm(join(home, "data.new", "PG_VERSION"));
  copies.push(await copy("three"));

  for (const data of copies) {
    expect((await stat(data)).mode & 0o777).toBe(0o700);
    expect(await readFile(join(data, "PG_VERSION"), "utf8")).toBe("18\n");
    expect(await readdir(data)).toContain("pg_wal");
  }
  expect(await readdir(home)).toEqual(["data"]);
});

// The public directory is the log: whoever copies its files has all of it, and psephos verify takes the copy for it.
import { cp, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { TestElection } from "../publisher/test-election.ts";
import { serveDirectory } from "../publisher/test-mirror.ts";
import { TestDirectories } from "../publisher/test-publisher.ts";
import { psephos } from "./cli-fixture.ts";

const resources = new AsyncDisposableStack();
let directories: TestDirectories;

beforeAll(async () => {
  directories = resources.use(await TestDirectories.create({ inMemory: true }));
  const election = new TestElection();
  await using publisher = await directories.open(election);
  await publisher.submit(election.id, election.grow(10_000).head());
  await publisher.submit(election.id, election.grow(10_700).close().head());
});

afterAll(() => resources.disposeAsync());

const verify = (url: string) => psephos(["verify", "--json", "--election", "vermont-2020", "--public", url]);

describe("a copy of the folder on a static file server", () => {
  test("is the log, the index and what tells of it", async () => {
    const mirror = join(directories.root, "mirror");
    await cp(directories.public, mirror, { recursive: true });
    await using server = await serveDirectory(mirror);
    const { status, stdout, stderr } = await verify(server.url);
    expect(status, stderr).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ result: "ok", log_size: 10_701, closed: true });
    const { elections } = JSON.parse(await (await fetch(`${server.url}/index.json`)).text());
    expect(elections).toMatchObject([{ election_id: "vermont-2020" }]);
    for (const name of ["log.json", "closing.json", "history.json"]) {
      expect((await fetch(`${server.url}/vermont-2020/${name}`)).status).toBe(200);
    }
  });

  test("is refused when the mirror changed a byte of it", async () => {
    const mirror = join(directories.root, "changed");
    await cp(directories.public, mirror, { recursive: true });
    const bundle = (await directories.file("vermont-2020/tile/entries/003")) ?? Buffer.alloc(0);
    bundle.writeUInt8(bundle.readUInt8(1000) ^ 1, 1000);
    await writeFile(join(mirror, "vermont-2020/tile/entries/003"), bundle);
    await using server = await serveDirectory(mirror);
    const { status, stdout } = await verify(server.url);
    expect(status).toBe(1);
    expect(JSON.parse(stdout).problems).toMatchObject([{ object: "tile/entries/003" }]);
  });
});

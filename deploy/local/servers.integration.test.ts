import { chmod, readdir } from "node:fs/promises";
import { join } from "node:path";
import pg from "pg";
import { expect, test } from "vitest";
import { hold, isAlive, untilDead } from "./held.ts";
import type { LocalPostgres } from "./postgres.ts";
import { LocalServers } from "./servers.ts";
import { StateFolder } from "./state-folder.ts";
import { TemporaryFolder } from "./temporary-folder.ts";

const TWO = { postgresInstances: 2, postgresCopied: true } as const;

async function query(postgres: LocalPostgres, sql: string) {
  const client = new pg.Client(await postgres.clientConfig("psephos_owner"));
  await client.connect();
  try {
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}

test("no server survives its parent's SIGKILL, and the next run goes on with the data and the addresses", async () => {
  await using folder = await TemporaryFolder.create();
  let ports: number[];
  {
    await using first = await LocalServers.start({ folder: folder.path, ...TWO });
    ports = [...first.postgres, first.nats].map((server) => server.port);
    for (const postgres of first.postgres) await query(postgres, "CREATE TABLE kept (x int)");
  }
  const { parent, pids } = await hold("servers", folder.path);
  expect(pids.filter(isAlive)).toHaveLength(3);
  // While it holds the folder nobody else gets it.
  await expect(LocalServers.start({ folder: folder.path, postgresCopied: true })).rejects.toThrow(
    `in use by process ${parent.pid}`,
  );
  await expect(StateFolder.reset(folder.path)).rejects.toThrow("in use");

  parent.kill("SIGKILL");
  await untilDead(pids);

  await using next = await LocalServers.start({ folder: folder.path, ...TWO });
  expect([...next.postgres, next.nats].map((server) => server.port)).toEqual(ports);
  for (const postgres of next.postgres)
    expect(await query(postgres, "SELECT count(*)::int AS n FROM kept")).toEqual([{ n: 0 }]);
});

test("two stacks run at once", async () => {
  await using folder = await TemporaryFolder.create();
  const [one, two] = await Promise.all(
    ["one", "two"].map((name) => LocalServers.start({ folder: join(folder.path, name), ...TWO })),
  );
  await using _one = one;
  await using _two = two;
  const ports = [one, two].flatMap((stack) =>
    [...(stack?.postgres ?? []), stack?.nats].map((server) => server?.port),
  );
  expect(new Set(ports).size).toBe(6);
});

test("a server that ends by itself is reported with what it said last", async () => {
  await using folder = await TemporaryFolder.create();
  const { promise, resolve } = Promise.withResolvers<Error>();
  await using servers = await LocalServers.start({
    folder: folder.path,
    postgresCopied: true,
    onUnexpectedExit: resolve,
  });
  process.kill(servers.nats.pid ?? 0, "SIGKILL");
  const error = await promise;
  expect(error.message).toMatch(/^nats ended unexpectedly \(SIGKILL\)/);
  expect(error.message).toContain("Server is ready");
  expect(servers.nats.running).toBe(false);
});

test("a server that cannot start says why, and leaves nothing running", async () => {
  await using folder = await TemporaryFolder.create();
  const options = { folder: folder.path, postgresCopied: true, postgresSettings: { shared_buffers: "much" } };
  await expect(LocalServers.start(options)).rejects.toThrow(
    /postgres-0 ended at once.*\n.*invalid value for parameter "shared_buffers"/,
  );
  // The folder is free again.
  await using _state = await StateFolder.open(folder.path);
});

test("reset leaves an empty folder", async () => {
  await using folder = await TemporaryFolder.create();
  {
    await using servers = await LocalServers.start({ folder: folder.path, postgresCopied: true });
    for (const postgres of servers.postgres) await query(postgres, "CREATE TABLE gone (x int)");
  }
  await StateFolder.reset(folder.path);
  expect(await readdir(folder.path)).toEqual([".lock"]);
  await using again = await LocalServers.start({ folder: folder.path, postgresCopied: true });
  for (const postgres of again.postgres)
    await expect(query(postgres, "SELECT * FROM gone")).rejects.toThrow(/does not exist/);
});

// Below root's home, for one: the user whom Postgres then runs as cannot get there.
test.runIf(process.getuid?.() === 0)("a folder that is root's alone will do", async () => {
  await using folder = await TemporaryFolder.create();
  await chmod(folder.path, 0o700);
  const path = join(folder.path, "state");
  await using _cleanUp = { [Symbol.asyncDispose]: () => StateFolder.reset(path) };
  const start = () => LocalServers.start({ folder: path });
  const inEach = async ({ postgres }: LocalServers, sql: string) =>
    Promise.all(postgres.map((server) => query(server, sql)));
  {
    await using servers = await start();
    await inEach(servers, "CREATE TABLE kept (x int)");
  }
  {
    await using servers = await start();
    expect(await inEach(servers, "SELECT * FROM kept")).toEqual([[]]);
  }
  await StateFolder.reset(path);
  await using servers = await start();
  await expect(inEach(servers, "SELECT * FROM kept")).rejects.toThrow(/does not exist/);
});

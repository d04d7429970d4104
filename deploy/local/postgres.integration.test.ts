import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { DevelopmentCa, type TlsFiles } from "./dev-ca.ts";
import { PortBook } from "./ports.ts";
import { LocalPostgres, type PostgresRole } from "./postgres.ts";
import { TemporaryFolder } from "./temporary-folder.ts";

let resources: AsyncDisposableStack;
let folder: string;
let ca: DevelopmentCa;
let postgres: LocalPostgres;

beforeAll(async () => {
  resources = new AsyncDisposableStack();
  folder = resources.use(await TemporaryFolder.create()).path;
  const ports = resources.use(await PortBook.open(join(folder, "ports.json")));
  ca = await DevelopmentCa.open(join(folder, "tls"));
  const port = await ports.port("postgres-0");
  postgres = resources.use(
    new LocalPostgres({ name: "postgres-0", folder: join(folder, "postgres-0"), port, ca }),
  );
  await postgres.start();
});

afterAll(() => resources.disposeAsync());

async function query(role: PostgresRole, sql: string, tls?: TlsFiles) {
  const config = await postgres.clientConfig(role);
  const files = tls && { ca: config.ssl.ca, cert: await readFile(tls.cert), key: await readFile(tls.key) };
  const client = new pg.Client({ ...config, ssl: files ?? config.ssl });
  client.on("error", () => {}); // The server goes away under some of them.
  await client.connect();
  try {
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}

describe("who may connect", () => {
  test.each(["psephos_owner", "psephos_router", "psephos_audit", "postgres"] as const)(
    "%s, with its certificate and TLS 1.3",
    async (role) => {
      const rows = await query(
        role,
        "SELECT current_user, current_database(), (SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()) AS tls",
      );
      expect(rows).toEqual([{ current_user: role, current_database: "psephos", tls: "TLSv1.3" }]);
    },
  );

  test("not a role with another role's certificate", async () => {
    const other = await ca.databaseRole("psephos_audit");
    await expect(query("psephos_router", "SELECT 1", other)).rejects.toThrow(
      /certificate authentication failed/,
    );
  });

  test("not an identity of the mesh", async () => {
    const service = await ca.identity("service/shard-router");
    await expect(query("psephos_router", "SELECT 1", service)).rejects.toThrow(
      /certificate authentication failed/,
    );
  });

  test("not with the same name from another CA", async () => {
    const stranger = await DevelopmentCa.open(join(folder, "other-tls"));
    const forged = await stranger.databaseRole("psephos_router");
    await expect(query("psephos_router", "SELECT 1", forged)).rejects.toThrow(/unknown ca|ECONNRESET|EPIPE/);
  });

  test("not without a certificate, and not without TLS", async () => {
    const { ssl, ...config } = await postgres.clientConfig("psephos_router");
    await expect(new pg.Client({ ...config, ssl: { ca: ssl.ca } }).connect()).rejects.toThrow(
      /client certificate/,
    );
    await expect(new pg.Client(config).connect()).rejects.toThrow(/no pg_hba.conf entry .* no encryption/);
  });

  test("the router can neither make tables nor temporary ones", async () => {
    await expect(query("psephos_router", "CREATE TABLE t (x int)")).rejects.toThrow(/permission denied/);
    await expect(query("psephos_router", "CREATE TEMPORARY TABLE t (x int)")).rejects.toThrow(
      /permission denied/,
    );
  });
});

test("nothing is switched off that makes a commit durable", async () => {
  const rows = await query(
    "postgres",
    "SELECT name, setting FROM pg_settings WHERE name IN ('fsync', 'synchronous_commit', 'full_page_writes', 'data_checksums') ORDER BY 1",
  );
  expect(rows.map(({ name, setting }) => `${name} ${setting}`)).toEqual([
    "data_checksums on",
    "fsync on",
    "full_page_writes on",
    "synchronous_commit on",
  ]);
});

test("neither statements nor keys of rows reach the log", async () => {
  await query(
    "psephos_owner",
    "CREATE TABLE planted (id text PRIMARY KEY); INSERT INTO planted VALUES ('planted-voter')",
  );
  await expect(query("psephos_owner", "INSERT INTO planted VALUES ('planted-voter')")).rejects.toThrow(
    /duplicate key/,
  );
  const log = await readFile(postgres.logFile, "utf8");
  expect(log).toContain("duplicate key value violates unique constraint");
  expect(log).not.toContain("planted-voter");
});

test("keys are for their owner alone", async () => {
  const { tls } = await postgres.connection("psephos_router");
  expect((await stat(tls.key)).mode & 0o777).toBe(0o600);
  expect((await stat(join(folder, "tls", "ca.key"))).mode & 0o777).toBe(0o600);
});

test("what was committed survives SIGKILL and comes back under the same address", async () => {
  await query("psephos_owner", "CREATE TABLE kept (x int)");
  const busy = query(
    "psephos_owner",
    "INSERT INTO kept SELECT i FROM generate_series(1, 1000) i; SELECT pg_sleep(60)",
  );
  busy.catch(() => {});
  await query("psephos_owner", "INSERT INTO kept VALUES (42)");
  const before = postgres.pid;
  await postgres.kill();
  expect(postgres.running).toBe(false);
  await expect(busy).rejects.toThrow();
  await expect(query("psephos_owner", "SELECT 1")).rejects.toThrow(/ECONNREFUSED/);

  await postgres.start();
  expect(postgres.pid).not.toBe(before);
  expect(await query("psephos_owner", "SELECT x FROM kept WHERE x = 42")).toEqual([{ x: 42 }, ...[]]);
  await postgres.restart();
  expect(await query("psephos_owner", "SELECT count(*)::int AS n FROM kept WHERE x = 42")).toEqual([
    { n: 1 },
  ]);
});

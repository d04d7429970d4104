// Real Postgres servers for tests, with TLS and roles as in production.
import { join } from "node:path";
import pg from "pg";
import { DevelopmentCa } from "../../deploy/local/dev-ca.ts";
import { PortBook } from "../../deploy/local/ports.ts";
import { LocalPostgres } from "../../deploy/local/postgres.ts";
import { TemporaryFolder } from "../../deploy/local/temporary-folder.ts";
import { createLogger } from "../telemetry/logger.ts";
import type { ConnectionOptions, Role } from "./connection.ts";
import { migrate } from "./migrate.ts";

export const silent = createLogger({ service: "test", level: "silent" });

/** Servers that exist for one test file. Each has the schema unless it was asked for `bare` ones. */
export class TestPostgres implements AsyncDisposable {
  readonly servers: readonly LocalPostgres[];
  readonly #resources: AsyncDisposableStack;

  private constructor(servers: readonly LocalPostgres[], resources: AsyncDisposableStack) {
    this.servers = servers;
    this.#resources = resources;
  }

  static async start(instances: number, options: { bare?: boolean } = {}): Promise<TestPostgres> {
    const resources = new AsyncDisposableStack();
    const folder = resources.use(await TemporaryFolder.create()).path;
    const ports = resources.use(await PortBook.open(join(folder, "ports.json")));
    const ca = await DevelopmentCa.open(join(folder, "tls"));
    const servers = await Promise.all(
      Array.from({ length: instances }, async (_, index) => {
        const name = `pg${index}`;
        const port = await ports.port(name);
        return resources.use(new LocalPostgres({ name, folder: join(folder, name), port, ca, copied: true }));
      }),
    );
    await Promise.all(servers.map((server) => server.start()));
    const started = new TestPostgres(servers, resources);
    if (!options.bare) {
      await Promise.all(
        servers.map(async (_, index) => migrate(await started.connection("psephos_owner", index), silent)),
      );
    }
    return started;
  }

  async connection(role: Role, index = 0): Promise<ConnectionOptions> {
    const { host, port, database, tls } = await this.server(index).connection(role);
    return { name: `pg${index}`, host, port, database, role, tls };
  }

  server(index = 0): LocalPostgres {
    const server = this.servers[index];
    if (server === undefined) throw new RangeError(`no server ${index}`);
    return server;
  }

  /** The rows of a statement run as any role, the superuser included. */
  async query<Row extends object>(
    role: Role | "postgres",
    text: string,
    values: unknown[] = [],
    index = 0,
  ): Promise<Row[]> {
    const client = new pg.Client({
      ...(await this.server(index).clientConfig(role)),
      options: "-c search_path=psephos",
    });
    await client.connect();
    try {
      return (await client.query<Row>(text, values)).rows;
    } finally {
      await client.end();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#resources.disposeAsync();
  }
}

import { chown, mkdir, readFile, realpath, rename, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { DevelopmentCa, TlsFiles } from "./dev-ca.ts";
import { LISTEN_ADDRESS } from "./ports.ts";
import { PostgresAccount } from "./postgres-account.ts";
import { type PostgresBinaries, postgresBinaries } from "./postgres-binaries.ts";
import { copyCluster, createCluster } from "./postgres-cluster.ts";
import { type Command, ServerProcess } from "./process.ts";

export const DATABASE = "psephos";

/** The roles that can connect, each with a client certificate of that common name; `postgres` is the superuser. */
export type PostgresRole = "psephos_owner" | "psephos_router" | "psephos_audit" | "postgres";

export interface PostgresConnection {
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly user: PostgresRole;
  readonly tls: TlsFiles;
}

export interface LocalPostgresOptions {
  readonly name: string;
  /** Holds everything of this instance; it is created when it is not there. */
  readonly folder: string;
  readonly port: number;
  readonly ca: DevelopmentCa;
  /** Server settings over those of ../postgres/postgresql.conf. */
  readonly settings?: Readonly<Record<string, string>>;
  /** For tests: a new data folder is the copy of one that was made before. */
  readonly copied?: boolean | undefined;
  readonly onUnexpectedExit?: ((error: Error) => void) | undefined;
}

/**
 * A Postgres instance with the database `psephos` and its roles, as an administrator would hand it over: there is no
 * schema in it yet. Connections are TCP with TLS 1.3 and a client certificate, as in production; there is no password
 * and no socket.
 */
export class LocalPostgres extends ServerProcess {
  readonly port: number;
  readonly #folder: string;
  readonly #ca: DevelopmentCa;
  readonly #settings: Readonly<Record<string, string>>;
  readonly #copied: boolean;

  constructor(options: LocalPostgresOptions) {
    super({
      name: options.name,
      logFile: join(options.folder, "postgres.log"),
      stopSignal: "SIGINT", // "Fast shutdown": ends the sessions, writes a checkpoint (postgres manual, 18.5).
      stopTimeoutMs: 30_000,
      orphanSignal: "QUIT", // "Immediate shutdown": no checkpoint; the next start recovers, as after a crash.
      onUnexpectedExit: options.onUnexpectedExit,
    });
    this.port = options.port;
    this.#folder = options.folder;
    this.#ca = options.ca;
    this.#settings = options.settings ?? {};
    this.#copied = options.copied ?? false;
  }

  /** How to connect to the database as `role`. */
  async connection(role: PostgresRole): Promise<PostgresConnection> {
    const tls = await this.#ca.databaseRole(role);
    return { host: "localhost", port: this.port, database: DATABASE, user: role, tls };
  }

  /** The same as pg's client options. */
  async clientConfig(role: PostgresRole) {
    const { tls, ...where } = await this.connection(role);
    const [ca, cert, key] = await Promise.all([readFile(tls.ca), readFile(tls.cert), readFile(tls.key)]);
    return { ...where, ssl: { ca, cert, key } };
  }

  override async start(): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await super.start();
      } catch (error) {
        // After a SIGKILL the children of the old postmaster end by themselves, but only once they notice.
        const others = error instanceof Error && error.message.includes("is still in use");
        if (!others || attempt === 20) throw error;
        await sleep(500);
      }
    }
  }

  protected override async prepare(): Promise<Command> {
    const account = await PostgresAccount.find();
    const binaries = await account.reachableBinaries(await postgresBinaries());
    const data = await this.#dataFolder(account, binaries);
    await this.#configure(account, data);
    return { file: binaries.postgres, args: ["-D", data], ...account.user };
  }

  /** As pg_ctl waits: the postmaster writes its state as line 8 of its pid file (miscadmin.h, LOCK_FILE_LINE_PM_STATUS). */
  protected override async isReady(pid: number): Promise<boolean> {
    const lines = (await readFile(join(this.#folder, "data", "postmaster.pid"), "utf8")).split("\n");
    return lines[0] === String(pid) && lines[7]?.trim() === "ready";
  }

  /**
   * The data folder, made if it is not there. It gets its name last, so that a folder by that name is complete. Where
   * it cannot lie in our folder, a link there points to it.
   */
  async #dataFolder(account: PostgresAccount, binaries: PostgresBinaries): Promise<string> {
    await mkdir(this.#folder, { recursive: true });
    const link = join(this.#folder, "data");
    const found = await realpath(link).catch(() => undefined);
    if (found !== undefined) return found;

    const home = await account.reachable(this.#folder);
    const data = join(home, "data");
    const unfinished = join(home, "data.new");
    await mkdir(home, { recursive: true });
    await rm(data, { recursive: true, force: true });
    await rm(unfinished, { recursive: true, force: true });
    await account.createFolder(unfinished);
    await (this.#copied ? copyCluster : createCluster)(binaries, account, unfinished);
    await rename(unfinished, data);
    if (data !== link) {
      await rm(link, { force: true });
      await symlink(data, link);
    }
    return data;
  }

  /** Writes the settings, who may connect, and the server's certificate. Anew at each start, to follow this file. */
  async #configure(account: PostgresAccount, data: string): Promise<void> {
    const tls = await this.#ca.identity("service/postgres");
    const write = async (name: string, content: string | Buffer) => {
      const file = join(data, name);
      await rm(file, { force: true });
      await writeFile(file, content, { mode: 0o600 });
      if (account.user !== undefined) await chown(file, account.user.uid, account.user.gid);
    };
    const settings = {
      port: String(this.port),
      listen_addresses: LISTEN_ADDRESS,
      unix_socket_directories: "", // A socket's path would have to be short, and nobody needs it.
      ssl_ca_file: "ca.crt",
      ssl_cert_file: "server.crt",
      ssl_key_file: "server.key",
      ...this.#settings,
    };
    const lines = Object.entries(settings).map(
      ([name, value]) => `${name} = '${value.replaceAll("'", "''")}'\n`,
    );
    // Of two lines for one setting, Postgres takes the later.
    await write("postgresql.conf", [await shared("postgresql.conf"), "\n", ...lines].join(""));
    await write("pg_hba.conf", await shared("pg_hba.conf"));
    await write("ca.crt", await readFile(tls.ca));
    await write("server.crt", await readFile(tls.cert));
    await write("server.key", await readFile(tls.key));
  }
}

/** The files that a Postgres of any deployment has, not only a local one. */
function shared(name: "postgresql.conf" | "pg_hba.conf"): Promise<string> {
  return readFile(new URL(`../postgres/${name}`, import.meta.url), "utf8");
}

// The schema, as versioned SQL files applied in order. A release may be rolled out while the one before it still
// runs, so a migration adds; what the old release uses goes away one release later.
import { readdir, readFile } from "node:fs/promises";
import type { Client } from "pg";
import { toHex } from "../core/bytes.ts";
import { ServiceError } from "../core/errors.ts";
import { sha256 } from "../core/sha256.ts";
import type { Logger } from "../telemetry/logger.ts";
import { type ConnectionOptions, connect, discard } from "./connection.ts";
import { failureOf } from "./failure.ts";

interface Migration {
  readonly version: number;
  readonly name: string;
  readonly sql: string;
  /** Of the file, hexadecimal. */
  readonly sha256: string;
}

interface AppliedMigration {
  readonly version: number;
  readonly name: string;
  readonly sha256: string;
}

const FOLDER = new URL("./migrations/", import.meta.url);
/** Any number that nothing else in this database locks. */
const LOCK = 0x7073_6570;
/** An index over hundreds of millions of votes takes its time, and so does another process's migration. */
const STATEMENT_TIMEOUT_MS = 3_600_000;

/**
 * Applies what is not applied yet, as psephos_owner. Any number of processes may do this at once: a lock lets one
 * work, and the others find it done. Each file is one transaction, so a crash leaves a whole number of them.
 */
export async function migrate(options: ConnectionOptions, logger: Logger): Promise<void> {
  const migrations = await loadMigrations();
  await withClient({ ...options, statementTimeoutMs: STATEMENT_TIMEOUT_MS }, async (client) => {
    // Of the session: the end of the connection, however it comes, frees it.
    await client.query("SELECT pg_advisory_lock($1)", [LOCK]);
    await client.query("CREATE SCHEMA IF NOT EXISTS psephos");
    await client.query(`CREATE TABLE IF NOT EXISTS psephos.migrations (
      version    integer     PRIMARY KEY,
      name       text        NOT NULL,
      sha256     text        NOT NULL,
      applied_at timestamptz NOT NULL DEFAULT now())`);
    for (const migration of missing(options.name, migrations, await readApplied(client))) {
      await apply(client, migration);
      logger.info({ instance: options.name, migration: migration.name }, "migration applied");
    }
  });
}

/** Rejects unless every migration is applied: for a deployment in which another process applies them. */
export async function requireMigrated(options: ConnectionOptions): Promise<void> {
  const migrations = await loadMigrations();
  const applied = await withClient(options, readApplied);
  const [next] = missing(options.name, migrations, applied);
  if (next !== undefined) throw mismatch(`instance ${options.name} lacks migration ${next.name}`);
}

async function apply(client: Client, { version, name, sql, sha256 }: Migration): Promise<void> {
  await client.query("BEGIN");
  await client.query(sql);
  await client.query("INSERT INTO psephos.migrations (version, name, sha256) VALUES ($1, $2, $3)", [
    version,
    name,
    sha256,
  ]);
  await client.query("COMMIT");
}

async function readApplied(client: Client): Promise<AppliedMigration[]> {
  const { rows } = await client.query<AppliedMigration>(
    "SELECT version, name, sha256 FROM psephos.migrations ORDER BY version",
  );
  return rows;
}

/**
 * What is still to be applied. A migration that was changed after it was applied is refused: nobody knows what schema
 * this is. Versions newer than this program's are not: while a new release is rolled out, the old one goes on.
 */
function missing(
  instance: string,
  migrations: readonly Migration[],
  applied: readonly AppliedMigration[],
): Migration[] {
  const known = new Map(applied.map((migration) => [migration.version, migration]));
  return migrations.filter(({ version, name, sha256 }) => {
    const found = known.get(version);
    if (found !== undefined && found.sha256 !== sha256) {
      throw mismatch(`migration ${name} was changed after instance ${instance} applied it`);
    }
    return found === undefined;
  });
}

/** The files `0001_name.sql`, `0002_name.sql` …, without a gap. */
async function loadMigrations(): Promise<Migration[]> {
  const names = (await readdir(FOLDER)).filter((name) => name.endsWith(".sql")).sort();
  return Promise.all(
    names.map(async (name, index) => {
      const version = index + 1;
      if (!name.startsWith(`${String(version).padStart(4, "0")}_`)) {
        throw mismatch(`the migration after number ${index} is ${name}`);
      }
      const bytes = await readFile(new URL(name, FOLDER));
      return { version, name, sql: bytes.toString("utf8"), sha256: toHex(sha256(bytes)) };
    }),
  );
}

async function withClient<T>(options: ConnectionOptions, work: (client: Client) => Promise<T>): Promise<T> {
  try {
    const client = await connect(options);
    try {
      return await work(client);
    } finally {
      discard(client);
    }
  } catch (error) {
    throw failureOf(options.name, error);
  }
}

function mismatch(message: string): ServiceError {
  return new ServiceError("failed-precondition", message, { reason: "SCHEMA_MISMATCH" });
}

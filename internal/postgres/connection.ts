// Connections to Postgres: mutual TLS, every statement with a time limit, and never a connection on which a commit
// is not durable.
import { readFileSync } from "node:fs";
import pg, { Client, type ClientConfig, TypeOverrides } from "pg";
import { ServiceError } from "../core/errors.ts";

/** A role of the database; its client certificate has it as common name. Created by the superuser beforehand. */
export type Role = "psephos_owner" | "psephos_router" | "psephos_audit";

export interface ConnectionOptions {
  /** What the instance is called in the placement map, logs and errors. */
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly role: Role;
  /** PEM files. Read for each connection, so that renewed certificates are used without a restart. */
  readonly tls: { readonly ca: string; readonly cert: string; readonly key: string };
  /** Default 3 s. */
  readonly connectTimeoutMs?: number;
  /** How long the server works on a statement, waiting for locks included. Default 5 s. */
  readonly statementTimeoutMs?: number;
}

const CONNECT_TIMEOUT_MS = 3_000;
const STATEMENT_TIMEOUT_MS = 5_000;
/** How much longer the client waits than the server works, so that a living server's own answer comes first. */
const ANSWER_GRACE_MS = 1_000;

const SETTINGS: Readonly<Record<string, string | number>> = {
  search_path: "psephos",
  // Every query here goes by key through an index. The planner, which has no statistics in an election's first
  // minute, would rather scan or hash the whole table of records for each group of votes, and then keep that plan.
  enable_seqscan: "off",
  enable_bitmapscan: "off",
  enable_hashjoin: "off",
  enable_mergejoin: "off",
  jit: "off",
  // So there is only one plan to be had, and no use in planning a prepared statement again for each execution.
  plan_cache_mode: "force_generic_plan",
  // A client that froze in a transaction, or whose host vanished, must not keep a shard's lock.
  idle_in_transaction_session_timeout: 2_000,
  tcp_keepalives_idle: 10,
  tcp_keepalives_interval: 5,
  tcp_keepalives_count: 3,
};

const types = new TypeOverrides();
// int8 comes as text. The counts here are safe integers (internal/core/ids.ts).
types.setTypeParser(pg.types.builtins.INT8, (text) => {
  const value = Number(text);
  if (!Number.isSafeInteger(value)) throw new RangeError("an int8 above 2^53 - 1");
  return value;
});

/** How pg is to connect. `pipeline` sends statements without waiting for the answers to those before. */
export function clientConfig(options: ConnectionOptions, pipeline = false): ClientConfig {
  const { ca, cert, key } = options.tls;
  const statementTimeoutMs = options.statementTimeoutMs ?? STATEMENT_TIMEOUT_MS;
  return {
    host: options.host,
    port: options.port,
    database: options.database,
    user: options.role,
    application_name: options.role.replace("_", "-"),
    ssl: { ca: readFileSync(ca), cert: readFileSync(cert), key: readFileSync(key), minVersion: "TLSv1.3" },
    connectionTimeoutMillis: options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS,
    statement_timeout: statementTimeoutMs,
    query_timeout: statementTimeoutMs + ANSWER_GRACE_MS,
    keepAlive: true,
    options: Object.entries(SETTINGS)
      .map(([name, value]) => `-c ${name}=${value}`)
      .join(" "),
    types,
    pipeline,
  };
}

/** A connection of one's own. Rejects when it cannot be had or would not be durable. */
export async function connect(options: ConnectionOptions, pipeline = false): Promise<Client> {
  const client = new Client(clientConfig(options, pipeline));
  // Without a listener, the end of an idle connection would end the process. The next query reports it.
  client.on("error", () => {});
  try {
    await client.connect();
    await requireDurable(client);
    return client;
  } catch (error) {
    discard(client);
    throw error;
  }
}

/** Lets go of a connection in whatever state it is. The server rolls back what was not committed. */
export function discard(client: Client): void {
  client.end().catch(() => {});
}

/**
 * Refuses a server on which a commit is answered before it is on disk, here and on the synchronous standby where there
 * is one: a vote is acknowledged on the strength of that answer.
 */
export async function requireDurable(client: Pick<Client, "query">): Promise<void> {
  const { rows } = await client.query<{ fsync: string; commit: string }>(
    "SELECT current_setting('fsync') AS fsync, current_setting('synchronous_commit') AS commit",
  );
  const [setting] = rows;
  // remote_apply is on, and then some. The others answer before a synchronous standby has the commit on its disk.
  const durable = setting?.fsync === "on" && (setting.commit === "on" || setting.commit === "remote_apply");
  if (durable) return;
  throw new ServiceError("unavailable", "a database server that answers commits before they are durable", {
    reason: "NOT_DURABLE",
    cause: new Error(`fsync = ${setting?.fsync}, synchronous_commit = ${setting?.commit}`),
  });
}

import pg, { Client } from "pg";
import type { Logger } from "../telemetry/logger.ts";
import { type ConnectionOptions, clientConfig, requireDurable } from "./connection.ts";
import { failureOf } from "./failure.ts";

/** A statement with its parameters. Under a name it is parsed and planned once a connection. */
export interface Statement {
  readonly name?: string;
  readonly text: string;
  readonly values?: readonly unknown[];
}

export interface PoolOptions {
  readonly connection: ConnectionOptions;
  /** How many connections at most. More queries than that wait, for as long as a connection may take. */
  readonly connections: number;
  readonly logger: Logger;
}

/** Connections for single statements, each its own transaction. All failures are ServiceErrors: failure.ts. */
export class Pool implements AsyncDisposable {
  readonly name: string;
  readonly #pool: pg.Pool;

  constructor({ connection, connections, logger }: PoolOptions) {
    this.name = connection.name;
    this.#pool = new pg.Pool({
      max: connections,
      connectionTimeoutMillis: clientConfig(connection).connectionTimeoutMillis,
      // The pool makes its clients itself, always with the same options; this one reads the certificates anew.
      Client: class extends Client {
        constructor() {
          super(clientConfig(connection));
        }
      },
      onConnect: requireDurable,
    });
    this.#pool.on("error", (error) => {
      logger.warn({ error, instance: connection.name }, "an idle database connection ended");
    });
  }

  /** The rows. `Row` restates the statement's column list. */
  async query<Row extends object>(statement: Statement): Promise<Row[]> {
    const { rows } = await this.#run<Row>(statement);
    return rows;
  }

  /** How many rows the statement wrote. */
  async execute(statement: Statement): Promise<number> {
    const { rowCount } = await this.#run(statement);
    return rowCount ?? 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pool.end();
  }

  async #run<Row extends object>({ values = [], ...statement }: Statement): Promise<pg.QueryResult<Row>> {
    try {
      return await this.#pool.query<Row>({ ...statement, values: [...values] });
    } catch (error) {
      throw failureOf(this.name, error);
    }
  }
}

import { rm } from "node:fs/promises";
import { join } from "node:path";
import {
  type DuckDBConnection,
  DuckDBInstance,
  type DuckDBPreparedStatement,
  StatementType,
} from "@duckdb/node-api";
import { messageOf } from "../core/errors.ts";
import { SqlError } from "./sql-error.ts";

export interface LockedDatabaseOptions {
  /** A folder of its own, for the database's file and for what does not fit into memory. */
  readonly folder: string;
  readonly readOnly: boolean;
  /** DuckDB's limit, in its words; beyond it, it works on disk. */
  readonly memory: string;
}

/** What only reads. COPY, ATTACH, SET, PRAGMA, CALL, INSTALL and all that writes are other types. */
const READING: readonly StatementType[] = [StatementType.SELECT, StatementType.EXPLAIN];

/**
 * What stands before the statement that is explained. There is no block comment in it, which may be nested: where this
 * does not match, or not enough, what is left is no SELECT.
 */
const EXPLAIN =
  /^(?:\s|--[^\n\r]*[\n\r])*EXPLAIN\s*(?:\bANALYZE\b|\((?:\s*(?:ANALYZE|FORMAT\s+\w+)\s*,?)*\s*\))?/i;
const REFUSAL =
  "a query only reads: EXPLAIN is for a SELECT, and stands before it without a comment in between";

/**
 * A DuckDB that reaches nothing but its own file. SQL comes from whoever runs the command, who may have it from
 * somebody else: no other file, no network and no extension can be named in it, and none of that can be changed again
 * (https://duckdb.org/docs/stable/operations_manual/securing_duckdb/overview).
 */
export class LockedDatabase implements AsyncDisposable {
  readonly connection: DuckDBConnection;
  readonly #instance: DuckDBInstance;

  static async open({ folder, readOnly, memory }: LockedDatabaseOptions): Promise<LockedDatabase> {
    const file = join(folder, "log.duckdb");
    const instance = await DuckDBInstance.create(file, {
      access_mode: readOnly ? "READ_ONLY" : "READ_WRITE",
      autoinstall_known_extensions: "false",
      autoload_known_extensions: "false",
      memory_limit: memory,
      temp_directory: join(folder, "spill"),
      // Last: it also refuses a change of the folder above.
      enable_external_access: "false",
    });
    const connection = await instance.connect();
    await connection.run("SET lock_configuration = true");
    // Open files outlive their names: whatever ends the process that answers, no copy of the votes stays behind. While it
    // still loads them there is one, in a folder that whoever made it deletes.
    if (readOnly) await rm(file);
    return new LockedDatabase(instance, connection);
  }

  private constructor(instance: DuckDBInstance, connection: DuckDBConnection) {
    this.#instance = instance;
    this.connection = connection;
  }

  /** Reads one statement that only reads. Throws a SqlError. */
  async prepare(sql: string): Promise<DuckDBPreparedStatement> {
    const statements = await inSql(() => this.connection.extractStatements(sql), "there is no SQL statement");
    if (statements.count !== 1) throw new SqlError(`one SQL statement at a time, not ${statements.count}`);
    const prepared = await inSql(() => statements.prepare(0));
    if (!READING.includes(prepared.statementType)) {
      throw new SqlError(
        `a query only reads: not a statement of type ${StatementType[prepared.statementType]}`,
      );
    }
    if (prepared.statementType === StatementType.EXPLAIN) await this.#checkExplained(sql);
    if (prepared.parameterCount > 0) throw new SqlError("a query has no parameters");
    return prepared;
  }

  /** EXPLAIN ANALYZE runs what it explains. What DuckDB has prepared does not say what that is. */
  async #checkExplained(sql: string): Promise<void> {
    const statements = await inSql(
      () => this.connection.extractStatements(sql.replace(EXPLAIN, "")),
      REFUSAL,
    );
    const explained = await inSql(() => statements.prepare(0));
    const { statementType } = explained;
    explained.destroySync();
    if (statementType !== StatementType.SELECT) throw new SqlError(REFUSAL);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.connection.closeSync();
    this.#instance.closeSync();
  }
}

/** Runs what depends on the operator's SQL. `silent` stands for a failure that DuckDB does not explain. */
export async function inSql<T>(action: () => Promise<T>, silent?: string): Promise<T> {
  try {
    return await action();
  } catch (error) {
    const message = messageOf(error);
    // What the binding says of a text without any statement.
    throw new SqlError(silent && message === "Error in native callback" ? silent : message, { cause: error });
  }
}

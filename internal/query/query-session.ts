import { type Cell, cellOf } from "./cell.ts";
import { inSql, type LockedDatabase } from "./locked-database.ts";

export interface QueryResult {
  /** No name twice. */
  readonly columns: readonly string[];
  /** In pages of DuckDB's size, 2,048 rows, each made when the one before was taken. Throws a SqlError. */
  readonly pages: AsyncIterable<readonly (readonly Cell[])[]>;
}

/** A finished database: it answers, and nothing else. */
export class QuerySession implements AsyncDisposable {
  readonly #database: LockedDatabase;

  constructor(database: LockedDatabase) {
    this.#database = database;
  }

  /** Throws a SqlError. */
  async query(sql: string): Promise<QueryResult> {
    const statement = await this.#database.prepare(sql);
    const result = await inSql(() => statement.stream());
    async function* pages() {
      for (;;) {
        const chunk = await inSql(() => result.fetchChunk());
        if (!chunk || chunk.rowCount === 0) return;
        yield chunk.getRows().map((row) => row.map(cellOf));
      }
    }
    return { columns: result.deduplicatedColumnNames(), pages: pages() };
  }

  /** Makes the query under way fail. */
  interrupt(): void {
    this.#database.connection.interrupt();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#database[Symbol.asyncDispose]();
  }
}

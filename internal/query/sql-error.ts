/** A query that cannot be answered, in DuckDB's words: a mistake of whoever wrote it. */
export class SqlError extends Error {
  override readonly name = "SqlError";
}

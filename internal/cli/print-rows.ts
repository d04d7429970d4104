import type { Cell } from "../query/cell.ts";
import type { QueryResult } from "../query/query-session.ts";
import { formatCsvRow } from "./csv.ts";
import { formatTable, type Terminal } from "./terminal.ts";

export type RowFormat = "table" | "json" | "csv";

/** Rows under one table header: columns are as wide as their widest cell, which has to be waited for. */
const PAGE_ROWS = 1_000;

/**
 * Writes a result as it comes, a page in memory: as tables, as a line of JSON a row, or as CSV (RFC 4180) with a header.
 * Answers how many rows there were.
 */
export async function printRows(terminal: Terminal, result: QueryResult, format: RowFormat): Promise<number> {
  const { columns, pages } = result;
  if (format === "csv") terminal.data(formatCsvRow(columns));
  let count = 0;
  for await (const page of pages) {
    if (format === "table") {
      for (let at = 0; at < page.length; at += PAGE_ROWS) {
        terminal.data(tableOf(columns, page.slice(at, at + PAGE_ROWS)));
      }
    } else {
      for (const row of page)
        terminal.data(format === "csv" ? formatCsvRow(row.map(textOf)) : jsonOf(columns, row));
    }
    count += page.length;
  }
  if (format === "table" && count === 0) terminal.data(tableOf(columns, []));
  return count;
}

/** Numbers to the right. */
function tableOf(columns: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const right = columns.flatMap((_, column) => {
    const numeric = rows.every((row) => row[column] === null || typeof row[column] === "number");
    return numeric && rows.length > 0 ? [column] : [];
  });
  return formatTable([columns, ...rows.map((row) => row.map(textOf))], right);
}

function jsonOf(columns: readonly string[], row: readonly Cell[]): string {
  return JSON.stringify(Object.fromEntries(columns.map((name, column) => [name, row[column] ?? null])));
}

/** An empty text for NULL. */
function textOf(cell: Cell): string {
  if (cell === null) return "";
  return typeof cell === "object" ? JSON.stringify(cell) : String(cell);
}

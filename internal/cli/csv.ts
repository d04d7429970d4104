/** A record of a CSV file, and the line it begins on, from 1. */
export interface CsvRow {
  readonly line: number;
  readonly cells: readonly string[];
}

/**
 * Reads comma-separated values (RFC 4180): a cell in quotes may have commas, line ends and doubled quotes in it. Empty
 * lines are left out. Throws a RangeError that names the line of a quote that is out of place.
 */
export function parseCsv(text: string): CsvRow[] {
  const rows: CsvRow[] = [];
  let line = 1;
  let row = { line, cells: [] as string[] };
  // A cell, and what ends it: a comma, the end of the line, or the end of the text.
  const cell = /(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r?\n|$)/y;
  // Some programs begin a file with a byte order mark.
  cell.lastIndex = text.startsWith("\ufeff") ? 1 : 0;
  while (cell.lastIndex < text.length || row.cells.length > 0) {
    const found = cell.exec(text);
    if (!found) throw new RangeError(`line ${line}: a quote is out of place`);
    const [, quoted, plain = "", end] = found;
    row.cells.push(quoted?.replaceAll('""', '"') ?? plain);
    line += found[0].split("\n").length - 1;
    if (end === ",") continue;
    if (row.cells.length > 1 || row.cells[0] !== "") rows.push(row);
    row = { line, cells: [] };
  }
  return rows;
}

/** A record as a line of RFC 4180, without its end. */
export function formatCsvRow(cells: readonly string[]): string {
  return cells.map((cell) => (/[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell)).join(",");
}

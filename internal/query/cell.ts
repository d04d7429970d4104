import {
  DuckDBArrayValue,
  DuckDBBlobValue,
  DuckDBDecimalValue,
  DuckDBListValue,
  DuckDBMapValue,
  DuckDBStructValue,
  DuckDBTimestampTZValue,
  DuckDBTimestampValue,
  type DuckDBValue,
} from "@duckdb/node-api";
import { toHex } from "../core/bytes.ts";

/** A value as JSON has it. */
export type Cell = string | number | boolean | null | readonly Cell[] | { readonly [key: string]: Cell };

/**
 * Integers are numbers as far as those are exact, and strings of digits beyond; bytes are hex; a time is ISO 8601 in UTC
 * with microseconds; what JSON has no form for is as DuckDB writes it.
 */
export function cellOf(value: DuckDBValue): Cell {
  if (value === null || typeof value === "string" || typeof value === "boolean") return value;
  if (typeof value === "number") return Number.isFinite(value) ? value : String(value);
  if (typeof value === "bigint") return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
  if (value instanceof DuckDBBlobValue) return toHex(value.bytes);
  if (value instanceof DuckDBTimestampValue || value instanceof DuckDBTimestampTZValue)
    return isoTime(value.micros);
  if (value instanceof DuckDBDecimalValue) return value.toString();
  if (value instanceof DuckDBListValue || value instanceof DuckDBArrayValue) return value.items.map(cellOf);
  if (value instanceof DuckDBStructValue) {
    return Object.fromEntries(Object.entries(value.entries).map(([key, item]) => [key, cellOf(item)]));
  }
  if (value instanceof DuckDBMapValue) {
    return value.entries.map(({ key, value }) => ({ key: cellOf(key), value: cellOf(value) }));
  }
  return String(value);
}

/** The first and the last that a Date has (ECMA-262, "Time Values"). DuckDB's infinities and beyond are not times. */
const MAX_MS = 8_640_000_000_000_000n;

function isoTime(micros: bigint): string {
  const rest = ((micros % 1_000_000n) + 1_000_000n) % 1_000_000n;
  const ms = (micros - rest) / 1000n;
  if (ms > MAX_MS || ms < -MAX_MS) return `${micros} us`;
  const seconds = new Date(Number(ms)).toISOString().slice(0, -5);
  return `${seconds}.${String(rest).padStart(6, "0")}Z`;
}

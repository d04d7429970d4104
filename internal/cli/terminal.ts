import type { Writable } from "node:stream";

/** Where a command writes: data to standard output, everything for people to standard error. */
export interface Terminal {
  /** Data: a line on standard output. */
  data(line: string): void;
  /** News: a line on standard error. */
  say(line: string): void;
  /** A progress bar that is redrawn on a terminal, and a line now and then elsewhere. */
  progress(label: string, total: number): Progress;
}

export interface Progress {
  update(done: number, note?: string): void;
  /** Leaves the final state on the screen. */
  end(note?: string): void;
}

const REDRAW_MS = 100;
const LINE_MS = 5_000;
const BAR_WIDTH = 28;

/**
 * Much of what is shown quotes what a server sent, which must not move the cursor or rewrite lines. JSON stays what it is:
 * there a control character can only be in a string, where this is its escape.
 */
function printable(text: string): string {
  return text.replace(/[^\P{Cc}\n\t]/gu, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

export function createTerminal(
  stdout: Writable,
  stderr: Writable & { readonly isTTY?: boolean; readonly columns?: number },
): Terminal {
  return {
    data: (line) => stdout.write(`${printable(line)}\n`),
    say: (line) => stderr.write(`${printable(line)}\n`),
    progress(label, total) {
      const tty = stderr.isTTY === true;
      const started = performance.now();
      // A terminal gets its bar at once, a log its first line only when it takes long.
      let last = tty ? 0 : started;
      const line = (done: number, note: string) => {
        const share = total > 0 ? Math.min(1, done / total) : 1;
        const filled = Math.round(share * BAR_WIDTH);
        const bar = "█".repeat(filled) + "░".repeat(BAR_WIDTH - filled);
        const text = `${label}  ${tty ? `${bar}  ` : ""}${formatCount(done)} of ${formatCount(total)}  ${note}`;
        return tty ? text.slice(0, (stderr.columns ?? 100) - 1) : text;
      };
      const rate = (done: number) => {
        const seconds = (performance.now() - started) / 1000;
        return seconds < 0.5 ? "" : `${formatCount(Math.round(done / seconds))}/s  ${seconds.toFixed(0)} s`;
      };
      let latest = 0;
      return {
        update(done, note) {
          latest = done;
          const now = performance.now();
          if (now - last < (tty ? REDRAW_MS : LINE_MS)) return;
          last = now;
          stderr.write(`${tty ? "\r\x1b[K" : ""}${line(done, note ?? rate(done))}${tty ? "" : "\n"}`);
        },
        end(note) {
          stderr.write(`${tty ? "\r\x1b[K" : ""}${line(latest, note ?? rate(latest))}\n`);
        },
      };
    },
  };
}

/** 370,968 */
export function formatCount(value: number): string {
  return value.toLocaleString("en-US", { maximumFractionDigits: 1 });
}

/** A moment in microseconds since 1970, in ISO 8601 and UTC. */
export function formatTime(micros: number): string {
  const date = new Date(micros / 1000);
  // A witness may sign any number of seconds, and Date ends in the year 275760.
  if (Number.isNaN(date.getTime())) return `${micros / 1_000_000} s after 1970`;
  const seconds = date.toISOString().slice(0, -5);
  return `${seconds}.${String(micros % 1_000_000).padStart(6, "0")}Z`;
}

/** Columns padded to their widest cell; those named in `right` are aligned to the right. */
export function formatTable(rows: readonly (readonly string[])[], right: readonly number[] = []): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows
    .map((row) =>
      row
        .map((cell, column) => {
          const width = widths[column] ?? 0;
          return right.includes(column) ? cell.padStart(width) : cell.padEnd(width);
        })
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

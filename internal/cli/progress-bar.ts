import type { Progress, Terminal } from "./terminal.ts";

/** A bar that is drawn once its total is known. Each step is an occasion to stop. */
export function bar(terminal: Terminal, label: string, signal: AbortSignal | undefined) {
  let progress: Progress | undefined;
  return {
    update(done: number, total: number): void {
      signal?.throwIfAborted();
      progress ??= terminal.progress(label, total);
      progress.update(done);
    },
    end(): void {
      progress?.end();
    },
  };
}

/** Time as a port, so that tests decide it. */
export interface Clock {
  /** Wall-clock time in microseconds since 1970-01-01T00:00:00Z. It may jump. */
  nowMicros(): number;
  /** Resolves after `ms` milliseconds, or at once when `signal` aborts. It never rejects. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

export const systemClock: Clock = {
  // Millisecond steps are enough, and performance.now() would drift from the wall clock in a service up for weeks.
  nowMicros: () => Date.now() * 1000,
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const done = () => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      signal?.addEventListener("abort", done, { once: true });
    }),
};

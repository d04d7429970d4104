import { formatCount } from "./terminal.ts";

/** How fast something goes and when it will be done, for a progress bar: "41,000/s  1 min 20 s left". */
export class TimeLeft {
  readonly #started = performance.now();
  readonly #from: number;

  /** `from` is what was done before. */
  constructor(from = 0) {
    this.#from = from;
  }

  note(done: number, total: number): string {
    const seconds = (performance.now() - this.#started) / 1000;
    if (seconds < 0.5 || done <= this.#from) return "";
    const rate = (done - this.#from) / seconds;
    return `${formatCount(Math.round(rate))}/s  ${formatDuration((total - done) / rate)} left`;
  }
}

/** 1 h 5 min; 3 min 20 s; 12 s */
export function formatDuration(seconds: number): string {
  const whole = Math.max(0, Math.ceil(seconds));
  if (whole >= 3_600) return `${Math.floor(whole / 3_600)} h ${Math.floor((whole % 3_600) / 60)} min`;
  return whole >= 60 ? `${Math.floor(whole / 60)} min ${whole % 60} s` : `${whole} s`;
}

// How a log grew, by the Publisher's clock: `history.json`. docs/spec.md, "History".
import { decodeUtf8, utf8 } from "../core/bytes.ts";

export const HISTORY = "history.json";
const FORMAT = "psephos/history/v1";
const ABOUT =
  "POSIX seconds and sizes of checkpoints as they were published, by the Publisher's clock. It is not signed.";

/** As many minutes as a day has, for an election of one day. */
const MAX_SAMPLES = 1_440;
/** Of a file that this process did not write, or half of it. */
const MAX_BYTES = 64 * 1024;

/** When, in POSIX seconds, and how many entries the published checkpoint then had. */
export type Sample = readonly [at: number, size: number];

/**
 * Samples of a log's published sizes, in order of time. While there is room, one a second; whenever there is none, every
 * second sample goes and they come half as often, so that it stays a drawing of the whole election.
 */
export class History {
  readonly #samples: Sample[];
  /** The least time between two samples, in seconds. */
  #interval: number;

  private constructor(samples: Sample[], interval: number) {
    this.#samples = samples;
    this.#interval = interval;
  }

  static empty(): History {
    return new History([], 1);
  }

  /** Throws a RangeError when it is no history. */
  static parse(bytes: Uint8Array): History {
    if (bytes.length > MAX_BYTES) throw new RangeError(`a history has at most ${MAX_BYTES} bytes`);
    const { format, interval, samples } = JSON.parse(decodeUtf8(bytes)) ?? {};
    if (format !== FORMAT || !isCount(interval) || !Array.isArray(samples) || samples.length > MAX_SAMPLES) {
      throw new RangeError("not a history");
    }
    const history = new History([], interval);
    for (const sample of samples) history.#push(sample);
    return history;
  }

  get samples(): readonly Sample[] {
    return this.#samples;
  }

  /** Notes a size, unless the sample before is too young. Answers whether it did. `last`: there will be no other. */
  add(at: number, size: number, { last }: { readonly last: boolean }): boolean {
    const before = this.#samples.at(-1);
    if (before && size <= before[1]) return false;
    // A clock may have been set back.
    const now = Math.max(at, before?.[0] ?? 0);
    if (before && !last && now < before[0] + this.#interval) return false;
    this.#push([now, size]);
    if (this.#samples.length > MAX_SAMPLES) this.#thin();
    return true;
  }

  encode(): Uint8Array {
    const document = { format: FORMAT, about: ABOUT, interval: this.#interval, samples: this.#samples };
    return utf8(`${JSON.stringify(document)}\n`);
  }

  #push(sample: unknown): void {
    const [at, size, ...rest] = Array.isArray(sample) ? sample : [];
    const [lastAt, lastSize] = this.#samples.at(-1) ?? [0, 0];
    if (!isCount(at) || !isCount(size) || rest.length > 0 || at < lastAt || size <= lastSize) {
      throw new RangeError("a history's samples are increasing pairs of seconds and size");
    }
    this.#samples.push([at, size]);
  }

  /** Keeps the first and the newest. */
  #thin(): void {
    const { length } = this.#samples;
    const kept = this.#samples.filter((_, index) => index % 2 === 0 || index === length - 1);
    this.#samples.splice(0, length, ...kept);
    this.#interval *= 2;
  }
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) > 0;
}

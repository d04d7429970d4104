import type { S3Client } from "@aws-sdk/client-s3";
import { type Clock, systemClock } from "../core/clock.ts";
import { ObjectArchivedError, ObjectCorruptError, ObjectStoreError } from "./object-store.ts";
import { CONNECTIONS } from "./s3-client.ts";
import { asStoreError, failureOf } from "./s3-failure.ts";

const ATTEMPTS = 5;
const FIRST_DELAY_MS = 100;
const LONGEST_DELAY_MS = 5_000;
/** After "slow down", which concerns all calls to a bucket and not only the one that was told so. */
const FIRST_PAUSE_MS = 500;
/** The SDK reads the server's clock from whole seconds that were some time on their way. */
const SKEW_MS = 60_000;

/**
 * All that is asked of S3 goes through here, and is tried again here and nowhere below: so many calls at once, up to
 * five attempts each, with full jitter between them; and a server that asks to be called more slowly is left alone by
 * every call for a while, not by one.
 */
export class S3Calls implements Disposable {
  readonly #client: S3Client;
  readonly #clock: Clock;
  readonly #slots = new Slots(CONNECTIONS);
  readonly #closed = new AbortController();
  /** Until it resolves nothing is sent. */
  #pause: Promise<unknown> = Promise.resolve();

  constructor(options: { readonly client: S3Client; readonly clock?: Clock | undefined }) {
    this.#client = options.client;
    this.#clock = options.clock ?? systemClock;
  }

  /**
   * Runs `call`, which sends one request and reads all of its answer.
   *
   * @param action  what it is for in a sentence that begins "S3 did not …", such as "read a/b"
   * @throws ObjectStoreError  after the last attempt, or at once where another would end alike, or the client is closed
   */
  async run<T>(action: string, call: (client: S3Client) => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#attempt(action, call);
      } catch (error) {
        this.#throwIfClosed(action);
        if (isAnswer(error)) throw error;
        const failure = failureOf(error);
        const doubled = 2 ** (attempt - 1);
        // Expired, or changed: whoever asks again in a while shall have the new ones.
        if (failure.kind === "credentials") void this.#renewCredentials();
        if (failure.kind === "throttled")
          this.#slowDown((0.5 + Math.random() / 2) * FIRST_PAUSE_MS * doubled);
        if (!failure.retry || attempt === ATTEMPTS) throw asStoreError(action, failure, error);
        await this.#sleep(Math.random() * Math.min(FIRST_DELAY_MS * doubled, LONGEST_DELAY_MS));
      }
    }
  }

  /** The time, by the server's clock where ours is wrong: that must not shorten what is kept there. */
  now(): Date {
    const { systemClockOffset: offset } = this.#client.config;
    return new Date(this.#clock.nowMicros() / 1000 + (Math.abs(offset) < SKEW_MS ? 0 : offset));
  }

  /** Nothing is sent from now on, not even another attempt. The client's owner destroys it, which ends what is under way. */
  [Symbol.dispose](): void {
    this.#closed.abort();
  }

  async #attempt<T>(action: string, call: (client: S3Client) => Promise<T>): Promise<T> {
    using _slot = await this.#slots.take();
    // Here, and not before the slot: those who waited for one must not go out in a pause that began meanwhile.
    for (let pause: unknown; pause !== this.#pause; ) {
      pause = this.#pause;
      await pause;
    }
    this.#throwIfClosed(action);
    return await call(this.#client);
  }

  #throwIfClosed(action: string): void {
    if (!this.#closed.signal.aborted) return;
    throw new ObjectStoreError("unreachable", "Closed", `S3 did not ${action}: the store has been closed`);
  }

  /** What there are now, even where those in use have not expired by their own word. */
  async #renewCredentials(): Promise<void> {
    await this.#client.config.credentials({ forceRefresh: true }).catch(() => {}); // The next call meets it as well.
  }

  #slowDown(ms: number): void {
    this.#pause = Promise.all([this.#pause, this.#sleep(ms)]);
  }

  #sleep(ms: number): Promise<void> {
    return this.#clock.sleep(ms, this.#closed.signal);
  }
}

/**
 * What `call` itself has made of S3's answer, and mistakes of this program, which another attempt would repeat. A
 * TypeError of the SDK's with an answer beside it is no such mistake: there was a field that it could not parse.
 */
function isAnswer(error: unknown): boolean {
  if (error instanceof Error && "$response" in error) return false;
  return [ObjectCorruptError, ObjectArchivedError, TypeError, RangeError].some(
    (type) => error instanceof type,
  );
}

/** So many at a time; the others wait in the order they came. */
class Slots {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(count: number) {
    this.#free = count;
  }

  async take(): Promise<Disposable> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((go) => this.#waiting.push(go));
    let taken = true;
    return {
      [Symbol.dispose]: () => {
        if (!taken) return;
        taken = false;
        const next = this.#waiting.shift();
        if (next) next();
        else this.#free++;
      },
    };
  }
}

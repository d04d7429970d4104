import type { S3Client } from "@aws-sdk/client-s3";
import type { Clock } from "../../core/clock.ts";

/** What the head of an answer cannot tell: it has whole seconds, and was some time on its way. */
const PRECISION_MS = 2_000;

/**
 * The server's clock, by the Date of its last answer (RFC 9110 section 6.6.1). A lock of a minute is over, or in the past
 * from the start, where the clocks are a minute apart, and that must not look like a lock that does not hold.
 */
export class ServerClock implements Clock {
  readonly #clock: Clock;
  #aheadMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  nowMicros(): number {
    return this.#clock.nowMicros() + this.#aheadMs * 1000;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return this.#clock.sleep(ms, signal);
  }

  /** Learns from every answer that `client` gets, refusals included. */
  follow(client: S3Client): void {
    client.middlewareStack.add(
      (next) => async (args) => {
        try {
          const output = await next(args);
          this.#learn(output.response);
          return output;
        } catch (error) {
          if (error instanceof Error && "$response" in error) this.#learn(error.$response);
          throw error;
        }
      },
      { step: "deserialize", name: "serverClock", priority: "high" },
    );
  }

  #learn(response: unknown): void {
    if (typeof response !== "object" || response === null || !("headers" in response)) return;
    const { headers } = response;
    if (typeof headers !== "object" || headers === null || !("date" in headers)) return;
    const ahead = Date.parse(String(headers.date)) - this.#clock.nowMicros() / 1000;
    if (!Number.isNaN(ahead)) this.#aheadMs = Math.abs(ahead) < PRECISION_MS ? 0 : ahead;
  }
}

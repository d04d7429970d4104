import type { JsMsg } from "nats";
import type { Logger } from "../telemetry/logger.ts";

/**
 * A message as a consumer gets it. It must be answered with one of `ack`, `nak` and `term`, the first of which counts;
 * unanswered, it comes again after the consumer's ack wait. Answers are sent without waiting: one that is lost, as all
 * are whose connection is, also means that the message comes again.
 */
export interface StreamMessage {
  /** `psephos.records.<election id>`; see `electionOfSubject`. */
  readonly subject: string;
  readonly data: Uint8Array;
  /** Its number in the stream, for logs: a stream made anew begins again at 1. */
  readonly sequence: number;
  /** How often it has been delivered, this time included. */
  readonly deliveries: number;
  /** Done with: never again. */
  ack(): void;
  /** Not now: again in `delayMs`, at once if not given. */
  nak(delayMs?: number): void;
  /** Still at it: starts the ack wait anew. */
  working(): void;
  /** Never again, although nothing was done with it. See `RecordStream.park`. */
  term(reason: string): void;
}

export class DeliveredMessage implements StreamMessage {
  readonly #message: JsMsg;
  readonly #logger: Logger;

  constructor(message: JsMsg, logger: Logger) {
    this.#message = message;
    this.#logger = logger;
  }

  get subject(): string {
    return this.#message.subject;
  }

  get data(): Uint8Array {
    return this.#message.data;
  }

  get sequence(): number {
    return this.#message.seq;
  }

  get deliveries(): number {
    return this.#message.info.deliveryCount;
  }

  ack(): void {
    this.#message.ack();
  }

  nak(delayMs?: number): void {
    this.#message.nak(delayMs);
  }

  working(): void {
    this.#message.working();
  }

  term(reason: string): void {
    const { subject, sequence, deliveries } = this;
    this.#logger.warn({ subject, sequence, deliveries, reason }, "a stream message is refused for good");
    // Not sent along: nats-server before 2.10.4 does not know a term with a reason, and would deliver it again.
    this.#message.term();
  }
}

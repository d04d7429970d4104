import type { ConsumerMessages, JsMsg } from "nats";
import { systemClock } from "../core/clock.ts";
import type { Logger } from "../telemetry/logger.ts";
import { backoffMs, isWorthALine } from "./backoff.ts";
import type { NatsLink, Session } from "./nats-link.ts";
import { DeliveredMessage, type StreamMessage } from "./stream-message.ts";
import { type ConsumerLimits, ensureConsumer } from "./streams.ts";

/** How many messages are asked for at a time. Few: what waits behind a slow handler may outlive its ack wait. */
const BATCH = 16;
/** How long an unfilled batch stays open. Messages come as soon as they are there; this only bounds a lost request. */
const BATCH_MS = 5_000;
const LONGEST_NAK_MS = 30_000;

export interface ConsumeOptions {
  readonly link: NatsLink;
  readonly durable: string;
  readonly handler: (message: StreamMessage) => Promise<void>;
  readonly limits: ConsumerLimits;
  readonly timeoutMs: number;
  readonly ensureStreams: () => Promise<void>;
  readonly signal: AbortSignal;
  readonly logger: Logger;
}

/** Pulls and handles messages until `signal` aborts, through every loss of connection, consumer and stream. */
export async function consumeRecords(options: ConsumeOptions): Promise<void> {
  const { link, signal } = options;
  const logger = options.logger.child({ consumer: options.durable });
  for (let failures = 0; ; ) {
    const session = await link.wait(signal);
    if (!session) return;
    try {
      await pull(session, options, logger, () => {
        failures = 0;
      });
    } catch (error) {
      if (isWorthALine(failures) && !signal.aborted && !session.lost.aborted) {
        logger.warn({ error, failures }, "the consumer or its stream is gone; making it again");
      }
      failures++;
      await systemClock.sleep(backoffMs(failures), signal);
    }
  }
}

/** Makes the consumer and pulls from it while it, the session and the caller last. */
async function pull(
  session: Session,
  options: ConsumeOptions,
  logger: Logger,
  progress: () => void,
): Promise<void> {
  const { connection } = session;
  await options.ensureStreams();
  const manager = await connection.jetstreamManager({ checkAPI: false, timeout: options.timeoutMs });
  const info = await ensureConsumer(manager, options.durable, options.limits);
  const consumer = connection.jetstream().consumers.getPullConsumerFor(info);

  const end = AbortSignal.any([options.signal, session.lost]);
  while (!end.aborted) {
    // A batch at a time instead of an endless subscription: each ends with an error when its consumer is gone.
    const messages = await consumer.fetch({ max_messages: BATCH, expires: BATCH_MS });
    await handleAll(messages, end, options, logger);
    progress();
  }
}

async function handleAll(
  messages: ConsumerMessages,
  end: AbortSignal,
  options: ConsumeOptions,
  logger: Logger,
): Promise<void> {
  const stop = () => messages.stop();
  end.addEventListener("abort", stop);
  if (end.aborted) stop();
  try {
    for await (const message of messages) {
      // Not begun: another instance, or the next run of this one, need not wait for the ack wait to have it.
      if (end.aborted) message.nak();
      else await handle(message, options, logger);
    }
  } finally {
    end.removeEventListener("abort", stop);
  }
}

async function handle(message: JsMsg, options: ConsumeOptions, logger: Logger): Promise<void> {
  const delivered = new DeliveredMessage(message, logger);
  try {
    await options.handler(delivered);
  } catch (error) {
    const { subject, sequence, deliveries } = delivered;
    logger.error(
      { error, subject, sequence, deliveries },
      "a stream message could not be handled; it comes again",
    );
    delivered.nak(backoffMs(deliveries + 3, LONGEST_NAK_MS));
  }
}

import { ErrorCode, headers, type JetStreamPublishOptions, type MsgHdrs, NatsError } from "nats";
import { toBase64 } from "../core/bytes.ts";
import { systemClock } from "../core/clock.ts";
import { ServiceError } from "../core/errors.ts";
import type { ElectionId } from "../core/ids.ts";
import { sha256 } from "../core/sha256.ts";
import type { Logger } from "../telemetry/logger.ts";
import { consumeRecords } from "./consume-records.ts";
import { NatsLink, type Session } from "./nats-link.ts";
import type { StreamTls } from "./server-address.ts";
import type { StreamMessage } from "./stream-message.ts";
import {
  type ConsumerLimits,
  ensureStream,
  MAX_MESSAGE_BYTES,
  PARKED_STREAM,
  PARKED_SUBJECT,
  RECORDS_STREAM,
  streamConfigs,
  subjectOf,
} from "./streams.ts";

export interface RecordStreamOptions {
  /** `tls://host:port` of each server of one cluster. */
  readonly servers: readonly string[];
  readonly tls: StreamTls;
  /** The name of the service, shown in the server's monitoring. */
  readonly name: string;
  /** 1 on a single server, 3 in a cluster. */
  readonly replicas: number;
  /** What the stream may hold before it drops its oldest messages. 4 GiB unless given. */
  readonly maxBytes?: number | undefined;
  /** Three days unless given. */
  readonly maxAgeMs?: number | undefined;
  /** How long one `publish` may take, and one call to the server's API. 5 s unless given. */
  readonly timeoutMs?: number | undefined;
  /** How many publishes may be under way. 128 unless given. */
  readonly maxInFlight?: number | undefined;
  /** How long a consumer may take to answer a message before it is delivered again. 10 s unless given. */
  readonly ackWaitMs?: number | undefined;
  /** How many messages a consumer may have unanswered. 1,024 unless given. */
  readonly maxAckPending?: number | undefined;
  /** How often the server is asked whether it is there. After two questions without an answer it is not. 5 s unless given. */
  readonly pingIntervalMs?: number | undefined;
  readonly logger: Logger;
}

const DAY_MS = 24 * 60 * 60 * 1000;
/** What a stop may take before the connection is cut. */
const STOP_MS = 3_000;

/**
 * The stream of committed records, over NATS JetStream. It is transport and nothing else: Postgres holds every record
 * until it is sealed, a lost message costs a read from there, and losing all of the server's data costs no more.
 *
 * The server may be away at any time, also when this starts. Streams and consumers that are missing are made again by
 * whoever misses them.
 */
export class RecordStream implements AsyncDisposable {
  readonly #logger: Logger;
  readonly #link: NatsLink;
  readonly #streams: ReturnType<typeof streamConfigs>;
  readonly #consumerLimits: ConsumerLimits;
  readonly #timeoutMs: number;
  readonly #maxInFlight: number;
  readonly #stopping = new AbortController();
  readonly #consuming = new Set<Promise<void>>();
  #inFlight = 0;
  #ensuring: Promise<void> | undefined;

  private constructor(options: RecordStreamOptions) {
    this.#logger = options.logger;
    this.#streams = streamConfigs({
      replicas: options.replicas,
      maxBytes: options.maxBytes ?? 4 * 1024 ** 3,
      maxAgeMs: options.maxAgeMs ?? 3 * DAY_MS,
    });
    this.#consumerLimits = {
      ackWaitMs: options.ackWaitMs ?? 10_000,
      maxAckPending: options.maxAckPending ?? 1_024,
    };
    this.#timeoutMs = options.timeoutMs ?? 5_000;
    this.#maxInFlight = options.maxInFlight ?? 128;
    this.#link = new NatsLink(options);
  }

  /** Resolves after the first attempt to connect. If that failed, more follow for as long as this lives. */
  static async connect(options: RecordStreamOptions): Promise<RecordStream> {
    const stream = new RecordStream(options);
    await stream.#link.firstAttempt;
    return stream;
  }

  get connected(): boolean {
    return this.#link.session !== undefined;
  }

  /**
   * Creates what is missing of the two streams, and brings what is there to these options. Nobody has to call it:
   * publishing and consuming do when they find a stream missing. At start it tells an operator early.
   *
   * @throws ServiceError `unavailable`
   */
  ensureStreams(): Promise<void> {
    this.#ensuring ??= this.#ensureStreams().finally(() => {
      this.#ensuring = undefined;
    });
    return this.#ensuring;
  }

  /**
   * Resolves when the stream has stored `body`, which the caller leaves unchanged until then. A rejection says nothing
   * about whether it was stored: publish again, and a duplicate is dropped by the stream or by the audit.
   *
   * @throws ServiceError `unavailable`: no server, no answer in time, or no place for it. `resource-exhausted`: too many
   *   publishes under way. `invalid-argument`: `body` is larger than `MAX_MESSAGE_BYTES`.
   */
  async publish(election: ElectionId, body: Uint8Array): Promise<void> {
    const subject = subjectOf(election);
    if (body.length > MAX_MESSAGE_BYTES) {
      throw new ServiceError(
        "invalid-argument",
        `a stream message of ${body.length} bytes; the limit is ${MAX_MESSAGE_BYTES}`,
        {
          reason: "MESSAGE_TOO_LARGE",
        },
      );
    }
    if (this.#inFlight >= this.#maxInFlight) {
      throw new ServiceError("resource-exhausted", `${this.#maxInFlight} messages are being published`, {
        reason: "STREAM_BUSY",
        retryDelayMs: 100,
      });
    }
    this.#inFlight++;
    try {
      await this.#store(RECORDS_STREAM, subject, body, { msgID: `${election} ${digest(body)}` });
    } finally {
      this.#inFlight--;
    }
  }

  /**
   * Gives each message of the records to `handler`, one after the other, until `signal` aborts; then it finishes the one
   * at hand, gives back those that have come and are not begun, and resolves. The handler decides when to answer its message, which may be
   * long after it has returned: what it holds unanswered is bounded by `maxAckPending`. If it rejects, the message is
   * logged about and comes again later. Consumers of one `durable` name share the messages.
   *
   * @throws RangeError  `durable` is no name
   */
  async consume(
    durable: string,
    handler: (message: StreamMessage) => Promise<void>,
    signal: AbortSignal,
  ): Promise<void> {
    if (!/^[a-z0-9-]{1,64}$/.test(durable))
      throw new RangeError("a durable name is 1 to 64 of a-z, 0-9 and -");
    const consuming = consumeRecords({
      link: this.#link,
      durable,
      handler,
      limits: this.#consumerLimits,
      timeoutMs: this.#timeoutMs,
      ensureStreams: () => this.ensureStreams(),
      signal: AbortSignal.any([signal, this.#stopping.signal]),
      logger: this.#logger,
    });
    this.#consuming.add(consuming);
    await consuming.finally(() => this.#consuming.delete(consuming));
  }

  /**
   * Puts a message that cannot be read aside for a human, with the reason in its headers, and then refuses it for good.
   * `reason` must be safe to show.
   *
   * @throws ServiceError `unavailable`: it is not parked, and comes again if it is not answered otherwise
   */
  async park(message: StreamMessage, reason: string): Promise<void> {
    const about: MsgHdrs = headers();
    about.set("Psephos-Reason", headerText(reason));
    about.set("Psephos-Subject", headerText(message.subject));
    about.set("Psephos-Sequence", String(message.sequence));
    // Parked already, but the answer or the term below was lost: then the server drops this one, by its id.
    const msgID = `${headerText(message.subject)} ${message.sequence} ${digest(message.data)}`;
    await this.#store(PARKED_STREAM, PARKED_SUBJECT, message.data, { msgID, headers: about });
    message.term(reason);
  }

  /**
   * The messages of an election that the stream has when this is called, oldest first. Nobody's consumer moves, and an
   * operator's identity may do it. Older ones have gone by age or by size, and that is as it should be.
   *
   * @throws ServiceError `unavailable`
   */
  async *retained(election: ElectionId): AsyncGenerator<Uint8Array, void, undefined> {
    const { connection } = this.#session();
    try {
      const { streams } = await connection.jetstreamManager({ checkAPI: false, timeout: this.#timeoutMs });
      const { state } = await streams.info(RECORDS_STREAM);
      for (let seq = state.first_seq; seq <= state.last_seq; ) {
        // `next_by_subj`: the first of the subject from there on (JetStream wire API, STREAM.MSG.GET).
        const query = { seq, next_by_subj: subjectOf(election) };
        const message = await streams.getMessage(RECORDS_STREAM, query);
        if (message.seq > state.last_seq) return;
        yield message.data;
        seq = message.seq + 1;
      }
    } catch (error) {
      if (isMissing(error)) return;
      throw unavailable("the record stream cannot be read", error);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    const over = new AbortController();
    await Promise.race([Promise.allSettled(this.#consuming), systemClock.sleep(STOP_MS, over.signal)]);
    over.abort();
    await this.#link.close(STOP_MS);
  }

  async #ensureStreams(): Promise<void> {
    const { connection } = this.#session();
    try {
      const manager = await connection.jetstreamManager({ checkAPI: false, timeout: this.#timeoutMs });
      for (const config of this.#streams) {
        const outcome = await ensureStream(manager, config);
        if (outcome === "changed")
          this.#logger.warn({ stream: config.name }, "a stream had other settings; changed");
      }
    } catch (error) {
      throw unavailable("the record streams cannot be made", error);
    }
  }

  async #store(
    stream: string,
    subject: string,
    body: Uint8Array,
    options: Partial<JetStreamPublishOptions>,
  ): Promise<void> {
    const { connection } = this.#session();
    const send = () =>
      connection
        .jetstream({ timeout: this.#timeoutMs })
        .publish(subject, body, { ...options, expect: { streamName: stream } });
    try {
      await send();
    } catch (error) {
      if (!isNobodyThere(error)) throw unavailable("the record stream did not take a message", error);
      // No stream has this subject: the server is new, or has lost its data.
      await this.ensureStreams();
      await send().catch((again: unknown) => {
        throw unavailable("the record stream did not take a message", again);
      });
    }
  }

  #session(): Session {
    const session = this.#link.session;
    if (!session) throw unavailable("the record stream is not connected");
    return session;
  }
}

function unavailable(message: string, cause?: unknown): ServiceError {
  return new ServiceError("unavailable", message, { reason: "STREAM_UNAVAILABLE", retryDelayMs: 500, cause });
}

function isNobodyThere(error: unknown): boolean {
  return error instanceof NatsError && error.code === ErrorCode.NoResponders;
}

/** No message of the subject, or no stream: a new server, or one that has lost its data. */
function isMissing(error: unknown): boolean {
  return error instanceof NatsError && error.api_error?.code === 404;
}

/** Names a message for the stream's duplicate window: equal bytes within it are stored once. */
function digest(bytes: Uint8Array): string {
  return toBase64(sha256(bytes));
}

/** Printable ASCII of bounded length: a line break would end the header. */
function headerText(text: string): string {
  return text.slice(0, 256).replace(/[^\x20-\x7e]/g, "?");
}

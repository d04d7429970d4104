import {
  AckPolicy,
  type ConsumerConfig,
  type ConsumerInfo,
  DeliverPolicy,
  DiscardPolicy,
  type JetStreamManager,
  NatsError,
  nanos,
  ReplayPolicy,
  RetentionPolicy,
  StorageType,
  type StreamConfig,
} from "nats";
import { type ElectionId, isElectionId } from "../core/ids.ts";

/** Committed votes on their way from the shards to the audit: one message is one `psephos.shard.v1.RecordBatch`. */
export const RECORDS_STREAM = "PSEPHOS_RECORDS";
/** Messages nobody could read, kept for a human. */
export const PARKED_STREAM = "PSEPHOS_PARKED";
export const PARKED_SUBJECT = "psephos.parked";
const RECORDS_PREFIX = "psephos.records.";

/** The most a message may hold: what nats-server takes unless configured otherwise (1 MiB) with room for headers. */
export const MAX_MESSAGE_BYTES = 1_000_000;
const HEADER_BYTES = 4_096;

const DUPLICATE_WINDOW_MS = 120_000;
const PARKED_MAX_BYTES = 256 * 1024 * 1024;

/** The subject of an election's records. Checked again here: a dot or a wildcard in it would address other elections. */
export function subjectOf(election: ElectionId): string {
  if (!isElectionId(election)) throw new RangeError("not an election id");
  return RECORDS_PREFIX + election;
}

/** The election whose records `subject` carries, or undefined. */
export function electionOfSubject(subject: string): ElectionId | undefined {
  if (!subject.startsWith(RECORDS_PREFIX)) return undefined;
  const election = subject.slice(RECORDS_PREFIX.length);
  return isElectionId(election) ? election : undefined;
}

export interface StreamLimits {
  /** 1 on a single server, 3 in a cluster. */
  readonly replicas: number;
  /** When the records reach this size the oldest go: Postgres still has them, and the audit fetches gaps from there. */
  readonly maxBytes: number;
  readonly maxAgeMs: number;
}

/** Both streams as they should be. */
export function streamConfigs(limits: StreamLimits): readonly (Partial<StreamConfig> & { name: string })[] {
  const common = {
    storage: StorageType.File,
    retention: RetentionPolicy.Limits,
    discard: DiscardPolicy.Old,
    num_replicas: limits.replicas,
  };
  return [
    {
      ...common,
      name: RECORDS_STREAM,
      subjects: [`${RECORDS_PREFIX}*`],
      max_bytes: limits.maxBytes,
      max_age: nanos(limits.maxAgeMs),
      max_msg_size: MAX_MESSAGE_BYTES + HEADER_BYTES,
      // Only saves the audit work: it knows its records by (election, shard, sequence) and takes each once.
      duplicate_window: nanos(Math.min(DUPLICATE_WINDOW_MS, limits.maxAgeMs)),
    },
    { ...common, name: PARKED_STREAM, subjects: [PARKED_SUBJECT], max_bytes: PARKED_MAX_BYTES },
  ];
}

/** Creates a stream, or changes the one that is there to `config`. Answers which; "kept" when it was so already. */
export async function ensureStream(
  manager: JetStreamManager,
  config: Partial<StreamConfig> & { name: string },
): Promise<"kept" | "changed"> {
  try {
    await manager.streams.add(config); // The server takes an equal configuration as success.
    return "kept";
  } catch (error) {
    if (!hasApiCode(error, STREAM_NAME_IN_USE)) throw error;
    await manager.streams.update(config.name, config);
    return "changed";
  }
}

export interface ConsumerLimits {
  /** How long a message may go without an answer before it is delivered again. */
  readonly ackWaitMs: number;
  /** How many messages may be without an answer before the server holds the next ones back. */
  readonly maxAckPending: number;
}

/** Creates a durable consumer of the records, or changes the one that is there. */
export async function ensureConsumer(
  manager: JetStreamManager,
  durable: string,
  limits: ConsumerLimits,
): Promise<ConsumerInfo> {
  const config: Partial<ConsumerConfig> = {
    durable_name: durable,
    ack_policy: AckPolicy.Explicit,
    deliver_policy: DeliverPolicy.All,
    replay_policy: ReplayPolicy.Instant,
    ack_wait: nanos(limits.ackWaitMs),
    max_ack_pending: limits.maxAckPending,
    max_deliver: -1, // A batch is delivered until it is sealed or parked, never given up in silence.
  };
  try {
    return await manager.consumers.add(RECORDS_STREAM, config);
  } catch (error) {
    if (!hasApiCode(error, CONSUMER_NAME_IN_USE, CONSUMER_ALREADY_EXISTS)) throw error;
    return await manager.consumers.update(RECORDS_STREAM, durable, config);
  }
}

// Error codes of the JetStream API (nats-server, server/errors.json).
const CONSUMER_NAME_IN_USE = 10013;
const STREAM_NAME_IN_USE = 10058;
const CONSUMER_ALREADY_EXISTS = 10148;

function hasApiCode(error: unknown, ...codes: readonly number[]): boolean {
  return error instanceof NatsError && codes.includes(error.api_error?.err_code ?? 0);
}

export interface ServerLimits {
  /** The largest request and the largest answer. */
  readonly maxMessageBytes: number;
  readonly maxStreamsPerConnection: number;
  /** Calls in progress over all connections; one more is RESOURCE_EXHAUSTED. */
  readonly maxCalls: number;
  /** The deadline of a unary call that comes without one, and the longest that is granted. */
  readonly maxUnaryMs: number;
  /** The same for streams. */
  readonly maxStreamMs: number;
  /** A call that has less time than this is refused before it costs anything. */
  readonly minTimeMs: number;
  readonly keepaliveMs: number;
  readonly keepaliveTimeoutMs: number;
  /**
   * When a connection is asked to close, and how long its calls then have. Clients look the name up again when they
   * reconnect, which is how they find new replicas, and certificates are shown anew. Keep it below a certificate's life.
   */
  readonly maxConnectionAgeMs: number;
  readonly maxConnectionAgeGraceMs: number;
}

export const DEFAULT_LIMITS: ServerLimits = {
  maxMessageBytes: 4 * 1024 * 1024,
  maxStreamsPerConnection: 2_000,
  maxCalls: 20_000,
  maxUnaryMs: 30_000,
  maxStreamMs: 3_600_000,
  minTimeMs: 5,
  keepaliveMs: 30_000,
  keepaliveTimeoutMs: 10_000,
  maxConnectionAgeMs: 30 * 60_000,
  maxConnectionAgeGraceMs: 10 * 60_000,
};

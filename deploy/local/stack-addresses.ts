import { LISTEN_ADDRESS, type PortBook } from "./ports.ts";

/** Where things listen, as `host:port` or as URLs. */
export interface StackAddresses {
  /** gRPC, mutual TLS. */
  readonly "vote-service": string;
  readonly "shard-router": string;
  readonly "audit-service": string;
  readonly publisher: string;
  /** VoteService's HTTPS edge, mutual TLS. */
  readonly voteHttp: string;
  /** The Publisher's HTTP for everybody. */
  readonly public: string;
  /** Prometheus metrics of each service. */
  readonly metrics: {
    readonly "vote-service": string;
    readonly "shard-router": string;
    readonly "audit-service": string;
    readonly publisher: string;
  };
}

/** An address for everything, the same as in the last run where that is free. */
export async function stackAddresses(ports: PortBook): Promise<StackAddresses> {
  // Not "localhost", which may also be ::1, where nobody listens: gRPC would go on trying that address for ever.
  const address = async (name: string) => `${LISTEN_ADDRESS}:${await ports.port(name)}`;
  return {
    "vote-service": await address("vote-service"),
    "shard-router": await address("shard-router"),
    "audit-service": await address("audit-service"),
    publisher: await address("publisher"),
    voteHttp: await address("vote-service-http"),
    public: await address("publisher-public"),
    metrics: {
      "vote-service": await address("vote-service-metrics"),
      "shard-router": await address("shard-router-metrics"),
      "audit-service": await address("audit-service-metrics"),
      publisher: await address("publisher-metrics"),
    },
  };
}

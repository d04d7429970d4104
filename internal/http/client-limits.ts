// What one client may take from the others: requests in a time, connections and streams at once.
import type { IncomingMessage } from "node:http";
import type { BlockList } from "node:net";
import { ServiceError } from "../core/errors.ts";
import { clientKey, clientOf, isIn, peerOf } from "./client-address.ts";

export interface ClientLimitsOptions {
  readonly requestsPerSecond: number;
  /** How many requests a client that was quiet may send at once. */
  readonly burst: number;
  readonly connections: number;
  /** Of all clients together, and of one. */
  readonly streams: number;
  readonly streamsPerClient: number;
  /** Proxies that say for whom they ask. Their own connections are not counted. */
  readonly trustedProxies: BlockList;
  /** Clients without limits: the machine itself, above all. */
  readonly exempt: BlockList;
  /** Milliseconds on a clock that does not go back. */
  readonly now?: () => number;
}

/** Beyond so many clients the one that was quiet for longest is forgotten, and begins anew when it comes again. */
const MAX_CLIENTS = 100_000;

interface Bucket {
  tokens: number;
  at: number;
}

export class ClientLimits {
  readonly #options: ClientLimitsOptions;
  readonly #now: () => number;
  /** A token bucket each, in the order in which the clients were last heard of. */
  readonly #buckets = new Map<string, Bucket>();
  readonly #connections = new Counts();
  readonly #streams = new Counts();

  constructor(options: ClientLimitsOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
  }

  /** How many clients are remembered. */
  get clients(): number {
    return this.#buckets.size;
  }

  /** Takes a request's tokens, or throws the RESOURCE_EXHAUSTED that says when there will be as many. */
  admit(request: IncomingMessage, tokens = 1): void {
    const key = this.#limited(clientOf(request, this.#options.trustedProxies));
    if (key === undefined) return;
    const bucket = this.#bucketOf(key);
    // Where the burst is less, it is the most that anybody ever has.
    const cost = Math.min(tokens, this.#options.burst);
    if (bucket.tokens < cost) {
      const retryDelayMs = Math.ceil(((cost - bucket.tokens) / this.#options.requestsPerSecond) * 1000);
      const options = { reason: "TOO_MANY_REQUESTS", retryDelayMs };
      throw new ServiceError("resource-exhausted", "too many requests from your address", options);
    }
    bucket.tokens -= cost;
  }

  /** Counts a connection until it is closed. False when its client has too many. */
  connect(socket: {
    readonly remoteAddress?: string | undefined;
    once(event: "close", listener: () => void): unknown;
  }): boolean {
    const peer = peerOf(socket);
    if (peer !== undefined && isIn(this.#options.trustedProxies, peer)) return true;
    const key = this.#limited(peer);
    if (key === undefined) return true;
    if (this.#connections.of(key) >= this.#options.connections) return false;
    socket.once("close", this.#connections.add(key));
    return true;
  }

  /** Counts a stream until the function that this returns is called. Throws RESOURCE_EXHAUSTED when there are too many. */
  openStream(request: IncomingMessage): () => void {
    const { streams, streamsPerClient, trustedProxies } = this.#options;
    const client = clientOf(request, trustedProxies);
    const key = this.#limited(client);
    if (this.#streams.total >= streams) throw tooManyStreams("from everybody together");
    if (key !== undefined && this.#streams.of(key) >= streamsPerClient) {
      throw tooManyStreams("from your address");
    }
    return this.#streams.add(key ?? `exempt ${client}`);
  }

  /** What stands for a client that has limits. */
  #limited(address: string | undefined): string | undefined {
    // A connection that is gone already. There is nobody to be answered.
    if (address === undefined || isIn(this.#options.exempt, address)) return undefined;
    return clientKey(address);
  }

  #bucketOf(key: string): Bucket {
    const { requestsPerSecond, burst } = this.#options;
    const now = this.#now();
    const bucket = this.#buckets.get(key) ?? { tokens: burst, at: now };
    bucket.tokens = Math.min(burst, bucket.tokens + ((now - bucket.at) / 1000) * requestsPerSecond);
    bucket.at = now;
    this.#buckets.delete(key);
    this.#buckets.set(key, bucket);
    if (this.#buckets.size > MAX_CLIENTS) {
      const [oldest] = this.#buckets.keys();
      if (oldest !== undefined) this.#buckets.delete(oldest);
    }
    return bucket;
  }
}

/** How many of something each client has. Those that have none are not kept. */
class Counts {
  readonly #counts = new Map<string, number>();
  total = 0;

  of(key: string): number {
    return this.#counts.get(key) ?? 0;
  }

  /** Answers with what takes it back, once. */
  add(key: string): () => void {
    this.#change(key, 1);
    let counted = true;
    return () => {
      if (counted) this.#change(key, -1);
      counted = false;
    };
  }

  #change(key: string, by: number): void {
    const count = this.of(key) + by;
    this.total += by;
    if (count === 0) this.#counts.delete(key);
    else this.#counts.set(key, count);
  }
}

function tooManyStreams(of: string): ServiceError {
  const options = { reason: "TOO_MANY_STREAMS", retryDelayMs: 30_000 };
  return new ServiceError("resource-exhausted", `too many streams ${of}`, options);
}

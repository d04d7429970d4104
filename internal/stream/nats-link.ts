import { connect, DebugEvents, type NatsConnection } from "nats";
import { systemClock } from "../core/clock.ts";
import type { Logger } from "../telemetry/logger.ts";
import { backoffMs, isWorthALine } from "./backoff.ts";
import { ServerAddress, type StreamTls } from "./server-address.ts";

const CONNECT_TIMEOUT_MS = 2_000;
const PING_INTERVAL_MS = 5_000;
const MAX_PINGS_OUT = 2;
/** Longer than an attempt to connect can take. */
const LASTING_MS = 10_000;

export interface NatsLinkOptions {
  /** `tls://host:port` of each server of one cluster. */
  readonly servers: readonly string[];
  readonly tls: StreamTls;
  /** Shown in the server's monitoring. */
  readonly name: string;
  readonly pingIntervalMs?: number | undefined;
  readonly logger: Logger;
}

/** One connection, from when it is usable until it is not. */
export interface Session {
  readonly connection: NatsConnection;
  readonly lost: AbortSignal;
}

/**
 * Keeps a connection to a cluster, whatever happens to it.
 *
 * The nats client can reconnect by itself, but then a connection is never over: requests wait for their time limits,
 * what is published in between is dropped or sent late, and pulls hang on to consumers that are gone. Here a
 * connection lives once. When it ends, all that hangs on it ends with it, and a new one starts from nothing.
 */
export class NatsLink implements AsyncDisposable {
  /** Settled when the first attempt to connect has ended, either way. */
  readonly firstAttempt: Promise<void>;
  readonly #options: NatsLinkOptions;
  readonly #servers: readonly ServerAddress[];
  readonly #stopping = new AbortController();
  readonly #waiting = new Set<() => void>();
  readonly #ended: Promise<void>;
  #session: Session | undefined;

  constructor(options: NatsLinkOptions) {
    if (options.servers.length === 0) throw new RangeError("no nats server is configured");
    this.#options = options;
    this.#servers = options.servers.map((url) => new ServerAddress(url));
    const first = Promise.withResolvers<void>();
    this.firstAttempt = first.promise;
    this.#ended = this.#run(first.resolve);
  }

  /** What there is now. */
  get session(): Session | undefined {
    return this.#session;
  }

  /** Waits until there is a session; undefined when `signal` aborts first or the link is disposed of. */
  async wait(signal: AbortSignal): Promise<Session | undefined> {
    const over = () => signal.aborted || this.#stopping.signal.aborted;
    while (!over() && !this.#session) {
      await new Promise<void>((resolve) => {
        const done = () => {
          this.#waiting.delete(done);
          signal.removeEventListener("abort", done);
          resolve();
        };
        this.#waiting.add(done);
        signal.addEventListener("abort", done);
      });
    }
    return over() ? undefined : this.#session;
  }

  /** Sends what is buffered, for `timeoutMs` at most, and disconnects for good. */
  async close(timeoutMs: number): Promise<void> {
    this.#stopping.abort();
    this.#wake();
    const connection = this.#session?.connection;
    if (connection && !connection.isClosed()) {
      const over = new AbortController();
      await Promise.race([connection.drain().catch(() => {}), systemClock.sleep(timeoutMs, over.signal)]);
      over.abort();
      await connection.close();
    }
    await this.#ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close(2_000);
  }

  async #run(attempted: () => void): Promise<void> {
    const { logger } = this.#options;
    const { signal } = this.#stopping;
    // Services that start together should not all begin with the same server.
    let turn = Math.floor(Math.random() * this.#servers.length);
    for (let failures = 0; !signal.aborted; turn++) {
      const server = this.#servers[turn % this.#servers.length];
      if (!server) return;
      const started = Date.now();
      try {
        if (failures > 0) await server.probe(CONNECT_TIMEOUT_MS, signal);
        const connection = await this.#connect(server);
        if (signal.aborted) return await connection.close();
        logger.info({ server: `${server}` }, "connected to nats");
        const error = await this.#live(connection, attempted);
        if (!signal.aborted) logger.warn({ error, server: `${server}` }, "lost the connection to nats");
      } catch (error) {
        if (isWorthALine(failures) && !signal.aborted) {
          logger.warn({ error, server: `${server}`, failures }, "nats cannot be reached; trying again");
        }
      }
      attempted();
      // A connection that ends at once, such as one that the server throws out, is a failure to connect.
      failures = Date.now() - started > LASTING_MS ? 0 : failures + 1;
      await systemClock.sleep(backoffMs(failures), signal);
    }
  }

  #connect(server: ServerAddress): Promise<NatsConnection> {
    return connect({
      servers: `${server}`, // One: see `resolve`.
      name: this.#options.name,
      tls: server.tlsOptions(this.#options.tls),
      timeout: CONNECT_TIMEOUT_MS,
      pingInterval: this.#options.pingIntervalMs ?? PING_INTERVAL_MS,
      maxPingOut: MAX_PINGS_OUT,
      reconnect: false,
      resolve: false, // Node tries a name's addresses itself; the client closes itself over the first that fails.
      ignoreClusterUpdates: true,
      noAsyncTraces: true, // A stack trace for each publish costs more than the publish.
    });
  }

  /** Announces the session and waits for its end. Answers why it ended. */
  async #live(connection: NatsConnection, attempted: () => void): Promise<Error | undefined> {
    const lost = new AbortController();
    this.#session = { connection, lost: lost.signal };
    this.#wake();
    attempted();
    void closeWhenStale(connection);
    const error = await connection.closed();
    this.#session = undefined;
    lost.abort();
    return error ?? undefined;
  }

  #wake(): void {
    for (const done of [...this.#waiting]) done();
  }
}

/** The client's own way out of a connection whose pings go unanswered first waits until all is sent, which may be never. */
async function closeWhenStale(connection: NatsConnection): Promise<void> {
  for await (const status of connection.status()) {
    if (status.type === DebugEvents.StaleConnection) await connection.close();
  }
}

import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { serverUrl } from "../core/server-url.ts";
import type { Logger } from "./logger.ts";
import type { Metrics } from "./metrics.ts";

export interface MetricsServerOptions {
  readonly metrics: Metrics;
  /** 0 takes any free port. */
  readonly port: number;
  /** Loopback unless given: what is here is for the operator, and nothing asks who is calling. */
  readonly host?: string;
  readonly logger: Logger;
}

/**
 * `GET /metrics` for Prometheus and `GET /livez` for whoever restarts processes. `/livez` says that the event loop
 * turns and no more: a process whose database is down must not be restarted for it. Readiness is gRPC's health service.
 */
export class MetricsServer implements AsyncDisposable {
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  /** Resolves when the port is open; rejects when it cannot be opened. */
  static async listen(options: MetricsServerOptions): Promise<MetricsServer> {
    const server = createServer((request, response) => {
      answer(request, response, options.metrics).catch((error: unknown) => {
        options.logger.error({ error }, "metrics could not be rendered");
        if (!response.headersSent) plain(response, 500, "internal error\n");
      });
    });
    // A client that opens connections and says nothing must not hold them.
    server.requestTimeout = 10_000;
    server.headersTimeout = 5_000;
    server.maxConnections = 64;
    server.listen(options.port, options.host ?? "127.0.0.1");
    await once(server, "listening");
    return new MetricsServer(server);
  }

  /** Such as `http://127.0.0.1:9464`. */
  get url(): string {
    return serverUrl(this.#server);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, "close");
    this.#server.close();
    // A scraper's idle keep-alive connection would otherwise hold the process open.
    this.#server.closeAllConnections();
    await closed;
  }
}

async function answer(request: IncomingMessage, response: ServerResponse, metrics: Metrics): Promise<void> {
  const path = request.url?.split("?", 1)[0];
  if (path !== "/metrics" && path !== "/livez") return plain(response, 404, "not found\n");
  if (request.method !== "GET" && request.method !== "HEAD") {
    response.setHeader("Allow", "GET, HEAD");
    return plain(response, 405, "method not allowed\n");
  }
  if (path === "/livez") return plain(response, 200, "ok\n");
  plain(response, 200, await metrics.render(), metrics.contentType);
}

function plain(
  response: ServerResponse,
  status: number,
  body: string,
  type = "text/plain; charset=utf-8",
): void {
  response.writeHead(status, { "Content-Type": type, "Cache-Control": "no-store" });
  response.end(body);
}

// An HTTPS server whose callers are known by their client certificates.
import type { X509Certificate } from "node:crypto";
import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { type SecureContextOptions, TLSSocket } from "node:tls";
import { ServiceError } from "../core/errors.ts";
import type { Logger } from "../telemetry/logger.ts";
import { type JsonEndpoint, serveJson } from "./json-endpoint.ts";
import { HttpError, isFault, sendProblem } from "./problem.ts";

/** Throws a ServiceError unless the caller may ask for the path. */
export type Caller = (path: string) => void;

export interface HttpsEdgeOptions {
  readonly host: string;
  /** 0 takes any free port. */
  readonly port: number;
  readonly tls: SecureContextOptions;
  /** Who holds the certificate, as a check of what they may ask for. Asked once for a connection. */
  readonly callerOf: (certificate: X509Certificate) => Caller;
  readonly endpoints: readonly JsonEndpoint[];
  /** Serves the remote procedures it knows by their paths. */
  readonly procedures: {
    has(path: string): boolean;
    serve(path: string, request: IncomingMessage, response: ServerResponse): Promise<void>;
  };
  readonly maxConnections: number;
  readonly logger: Logger;
}

/** How long calls in progress have when the server stops. */
const STOP_GRACE_MS = 5_000;

export class HttpsEdge implements AsyncDisposable {
  readonly #options: HttpsEdgeOptions;
  readonly #server: Server;
  readonly #inProgress = new Set<ServerResponse>();
  #stopping: PromiseWithResolvers<void> | undefined;

  private constructor(options: HttpsEdgeOptions) {
    this.#options = options;
    this.#server = createServer(
      {
        ...options.tls,
        // A caller without a certificate of this CA gets no further than the handshake.
        requestCert: true,
        rejectUnauthorized: true,
        minVersion: "TLSv1.3",
        maxHeaderSize: 16 * 1024,
        // From here on: a client that sends slowly, or nothing, must not hold a connection.
        headersTimeout: 10_000,
        requestTimeout: 20_000,
        keepAliveTimeout: 60_000,
        handshakeTimeout: 10_000,
      },
      (request, response) => this.#answer(request, response),
    );
    this.#server.maxConnections = options.maxConnections;
  }

  /** Resolves when the port is open; rejects when it cannot be opened. */
  static async listen(options: HttpsEdgeOptions): Promise<HttpsEdge> {
    const edge = new HttpsEdge(options);
    edge.#server.listen(options.port, options.host);
    await once(edge.#server, "listening");
    return edge;
  }

  get port(): number {
    // A listening TCP server's address is an AddressInfo; only pipes have a string.
    return (this.#server.address() as AddressInfo).port;
  }

  /** New connections use another certificate; those that are open go on. */
  update(tls: SecureContextOptions): void {
    this.#server.setSecureContext(tls);
  }

  /** Takes no new connection, lets calls in progress end, and closes what connections are left. */
  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, "close");
    this.#stopping = Promise.withResolvers();
    this.#server.close();
    if (this.#inProgress.size > 0) {
      const timer = setTimeout(this.#stopping.resolve, STOP_GRACE_MS);
      await this.#stopping.promise;
      clearTimeout(timer);
    }
    // Those without a call: kept alive, or opened and never used.
    this.#server.closeAllConnections();
    await closed;
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    this.#inProgress.add(response);
    response.once("close", () => {
      this.#inProgress.delete(response);
      if (this.#inProgress.size === 0) this.#stopping?.resolve();
    });
    if (this.#stopping !== undefined) response.setHeader("Connection", "close");
    serve(this.#options, request, response).catch((error: unknown) => {
      // A caller that hung up gets no answer, and its broken pipe is nobody's fault.
      if (response.destroyed) return;
      if (isFault(error)) this.#options.logger.error({ error }, "an HTTP request failed");
      if (response.headersSent) response.destroy();
      else sendProblem(response, error);
    });
  }
}

const callers = new WeakMap<TLSSocket, Caller>();

async function serve(
  { callerOf, endpoints, procedures }: HttpsEdgeOptions,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const path = request.url?.split("?", 1)[0] ?? "";
  const endpoint = endpoints.find((endpoint) => endpoint.path === path);
  if (endpoint === undefined && !procedures.has(path))
    throw new HttpError(404, "there is nothing at this path");
  authorize(request, callerOf, path);
  if (endpoint === undefined) await procedures.serve(path, request, response);
  else await serveJson(endpoint, request, response);
}

function authorize({ socket }: IncomingMessage, callerOf: HttpsEdgeOptions["callerOf"], path: string): void {
  if (!(socket instanceof TLSSocket)) throw new Error("a request that came over no TLS connection");
  let caller = callers.get(socket);
  if (caller === undefined) {
    const certificate = socket.getPeerX509Certificate();
    if (certificate === undefined) {
      throw new ServiceError("permission-denied", "a client certificate is required");
    }
    caller = callerOf(certificate);
    callers.set(socket, caller);
  }
  caller(path);
}

import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { cors } from "@connectrpc/connect";
import { serverUrl } from "../core/server-url.ts";
import type { ClientLimits } from "../http/client-limits.ts";
import { HttpError, isFault, sendProblem } from "../http/problem.ts";
import { sendFile } from "../http/send-file.ts";
import type { Logger } from "../telemetry/logger.ts";
import { ELECTION_INDEX } from "./election-index.ts";
import { FrontPage } from "./front-page.ts";
import { HotFiles, type VersionedFiles } from "./hot-files.ts";
import type { PublisherMetrics } from "./metrics.ts";
import { PAGE } from "./page-files.ts";
import { publicFile } from "./public-path.ts";

export interface PublicHttpOptions {
  readonly files: VersionedFiles;
  readonly host: string;
  /** 0 takes any free port. */
  readonly port: number;
  /** The remote procedures that are public, by their paths. */
  readonly procedures: {
    has(path: string): boolean;
    serve(path: string, request: IncomingMessage, response: ServerResponse): Promise<void>;
  };
  readonly logger: Logger;
  readonly metrics: PublisherMetrics;
  readonly limits?: Partial<PublicHttpLimits>;
  /** By client. */
  readonly clients: ClientLimits;
}

/** What one stranger can take from the others. */
export interface PublicHttpLimits {
  /** Connections beyond this many are closed at once. */
  readonly connections: number;
  /** How long the head of a request may take to arrive, and then the rest of it. */
  readonly requestMs: number;
  /** How long a connection may stand still, in a response that the client does not read for example. */
  readonly idleMs: number;
}

const LIMITS: PublicHttpLimits = { connections: 2_048, requestMs: 10_000, idleMs: 20_000 };
/** The longest path is under 120 bytes. What browsers add fits. */
const MAX_HEADER_BYTES = 8 * 1024;
const MAX_HEADERS = 64;
/** Smaller files fit a packet as they are. */
const MIN_COMPRESSED_BYTES = 1024;
/** What scripts of other sites may see beside the headers that they always may. */
const EXPOSED_HEADERS = ["ETag", "Content-Range", "Accept-Ranges", "Date", "Retry-After"];
/** A call costs as much as so many files: a proof is hashed out of several tiles. */
const CALL_TOKENS = 10;
/** How long a stop waits for responses under way. */
const STOP_MS = 2000;

/**
 * The public's side, over plain HTTP for a proxy or CDN to put TLS in front: the files of the public directory, the
 * page at `/` (where there is none, the index of elections), and public remote procedures.
 */
export class PublicHttpServer implements AsyncDisposable {
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  /** Resolves when the port is open; rejects when it cannot be opened. */
  static async listen(options: PublicHttpOptions): Promise<PublicHttpServer> {
    const limits = { ...LIMITS, ...options.limits };
    const server = createServer(
      {
        maxHeaderSize: MAX_HEADER_BYTES,
        headersTimeout: limits.requestMs,
        requestTimeout: 2 * limits.requestMs,
        // How often the two above are looked at.
        connectionsCheckingInterval: Math.min(1000, limits.requestMs),
        keepAliveTimeout: 5000,
      },
      requestListener(options),
    );
    server.on("connection", (socket) => {
      if (options.clients.connect(socket)) return;
      options.metrics.publicConnectionsRefused.inc();
      socket.destroy();
    });
    server.maxHeadersCount = MAX_HEADERS;
    server.maxConnections = limits.connections;
    server.timeout = limits.idleMs;
    server.listen(options.port, options.host);
    await once(server, "listening");
    return new PublicHttpServer(server);
  }

  /** Such as `http://127.0.0.1:8080`. */
  get url(): string {
    return serverUrl(this.#server);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, "close");
    this.#server.close();
    const timer = setTimeout(() => this.#server.closeAllConnections(), STOP_MS);
    await closed;
    clearTimeout(timer);
  }
}

function requestListener(
  options: PublicHttpOptions,
): (request: IncomingMessage, response: ServerResponse) => void {
  const { procedures, logger, metrics } = options;
  const files = new HotFiles(options);
  const readers = { files, frontPage: new FrontPage({ files }) };
  return (request, response) => {
    response.once("close", () => metrics.publicRequests.inc({ status: response.statusCode }));
    response.setHeader("Access-Control-Allow-Origin", "*");
    response.setHeader(
      "Access-Control-Expose-Headers",
      [...EXPOSED_HEADERS, ...cors.exposedHeaders].join(", "),
    );
    response.setHeader("X-Content-Type-Options", "nosniff");
    const path = request.url?.split("?", 1)[0] ?? "";
    const serve = async () => {
      options.clients.admit(request, procedures.has(path) ? CALL_TOKENS : 1);
      if (request.method === "OPTIONS") preflight(response);
      else if (procedures.has(path)) await procedures.serve(path, request, response);
      else await serveFile(readers, path, request, response);
    };
    serve().catch((error: unknown) => {
      if (isFault(error)) logger.error({ error }, "a public request failed");
      if (response.headersSent) response.destroy();
      else sendProblem(response, error);
    });
  };
}

interface Readers {
  readonly files: HotFiles;
  readonly frontPage: FrontPage;
}

async function serveFile(
  { files, frontPage }: Readers,
  path: string,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const page = path === "/" || path === `/${PAGE}` ? await frontPage.read() : undefined;
  const named = publicFile(page ? `/${PAGE}` : path === "/" ? `/${ELECTION_INDEX}` : path);
  if (!named) throw notFound();
  const file = page ?? (await files.read(named.path));
  if (!file) throw notFound();
  const { contentType, cacheControl, compressible, headers = {} } = named;
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
  const { bytes, tag, lastModified } = file;
  const isWorthIt = compressible && bytes.length >= MIN_COMPRESSED_BYTES;
  await sendFile(request, response, {
    bytes,
    tag,
    lastModified,
    contentType,
    cacheControl,
    gzip: isWorthIt ? () => file.gzip() : undefined,
  });
}

/**
 * Nothing else says that something is missing: tile readers fall back from a partial tile to the full one only on 404.
 * Like every error it is not cached, because what is missing now may be published in a moment.
 */
function notFound(): HttpError {
  return new HttpError(404, "there is nothing at this path");
}

function preflight(response: ServerResponse): void {
  response.writeHead(204, {
    "Access-Control-Allow-Methods": ["HEAD", ...cors.allowedMethods].join(", "),
    "Access-Control-Allow-Headers": ["If-None-Match", "Range", "If-Range", ...cors.allowedHeaders].join(", "),
    "Access-Control-Max-Age": "86400",
    Allow: "GET, HEAD, OPTIONS",
  });
  response.end();
}

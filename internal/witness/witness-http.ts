import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { toBase64 } from "../core/bytes.ts";
import { serverUrl } from "../core/server-url.ts";
import { HttpError, isFault, sendProblem } from "../http/problem.ts";
import { sendJson } from "../http/send-json.ts";
import type { Logger } from "../telemetry/logger.ts";
import { MAX_ADD_CHECKPOINT_BYTES, TREE_SIZE_TYPE } from "../tlog/add-checkpoint.ts";
import type { Witness } from "./witness.ts";
import { fileName } from "./witness-state.ts";

export interface WitnessHttpOptions {
  readonly witness: Witness;
  readonly host: string;
  /** 0 takes any free port. */
  readonly port: number;
  readonly logger: Logger;
}

const MAX_CONNECTIONS = 256;
const MAX_HEADER_BYTES = 8 * 1024;
/** For the whole of a request, from its first byte. */
const REQUEST_MS = 10_000;
/** How long a stop waits for answers under way. */
const STOP_MS = 2_000;

/**
 * A witness over plain HTTP, for a proxy to put TLS in front. `POST /add-checkpoint` for logs; for everybody else `GET /`,
 * with its key and its logs, and `GET /<SHA-256 of an origin>/checkpoint`, the newest checkpoint that it cosigned.
 */
export class WitnessHttpServer implements AsyncDisposable {
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  /** Resolves when the port is open; rejects when it cannot be opened. */
  static async listen(options: WitnessHttpOptions): Promise<WitnessHttpServer> {
    const { witness, host, port, logger } = options;
    const server = createServer(
      {
        maxHeaderSize: MAX_HEADER_BYTES,
        headersTimeout: REQUEST_MS,
        requestTimeout: REQUEST_MS,
        connectionsCheckingInterval: 1_000,
        // Logs are to keep their connections (tlog-witness): a checkpoint a second comes over one.
        keepAliveTimeout: 60_000,
      },
      (request, response) => {
        serve(witness, request, response).catch((error: unknown) => {
          if (isFault(error)) logger.error({ error }, "a request failed");
          if (response.headersSent) response.destroy();
          else sendProblem(response, error);
        });
      },
    );
    server.maxConnections = MAX_CONNECTIONS;
    server.listen(port, host);
    await once(server, "listening");
    return new WitnessHttpServer(server);
  }

  /** Such as `http://127.0.0.1:7380`. */
  get url(): string {
    return serverUrl(this.#server);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, "close");
    this.#server.close();
    this.#server.closeIdleConnections();
    const timer = setTimeout(() => this.#server.closeAllConnections(), STOP_MS);
    await closed;
    clearTimeout(timer);
  }
}

async function serve(witness: Witness, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const path = request.url?.split("?", 1)[0] ?? "";
  response.setHeader("X-Content-Type-Options", "nosniff");
  if (path === "/add-checkpoint") {
    allow(request, "POST");
    answer(await witness.addCheckpoint(await readBody(request)), response);
    return;
  }
  allow(request, "GET", "HEAD");
  response.setHeader("Access-Control-Allow-Origin", "*");
  const logs = await witness.cosigned();
  if (path === "/") {
    const described = logs.map(({ origin, cosigned }) => ({
      origin,
      checkpoint: `/${fileName(origin)}/checkpoint`,
      size: cosigned?.size ?? 0,
      root: cosigned ? toBase64(cosigned.root) : null,
    }));
    sendJson(response, 200, { witness_key: witness.verifierKey, logs: described });
    return;
  }
  const log = logs.find(({ origin }) => path === `/${fileName(origin)}/checkpoint`);
  if (!log?.cosigned) throw new HttpError(404, "there is nothing at this path");
  plain(response, 200, log.cosigned.note);
}

function answer(reply: Awaited<ReturnType<Witness["addCheckpoint"]>>, response: ServerResponse): void {
  if (reply.status === 200) plain(response, 200, reply.lines);
  else if (reply.status === 409) plain(response, 409, `${reply.size}\n`, TREE_SIZE_TYPE);
  else throw new HttpError(reply.status, reply.problem);
}

/** The whole body. One that is too long is refused before it is read. */
async function readBody(request: IncomingMessage): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of request as AsyncIterable<Uint8Array>) {
    length += part.length;
    if (length > MAX_ADD_CHECKPOINT_BYTES) {
      throw new HttpError(413, `a request has at most ${MAX_ADD_CHECKPOINT_BYTES} bytes`, {
        Connection: "close",
      });
    }
    parts.push(part);
  }
  return Buffer.concat(parts);
}

function allow(request: IncomingMessage, ...methods: readonly string[]): void {
  if (!methods.includes(request.method ?? "")) {
    throw new HttpError(405, `use ${methods.join(" or ")}`, { Allow: methods.join(", ") });
  }
}

function plain(
  response: ServerResponse,
  status: number,
  body: string,
  type = "text/plain; charset=utf-8",
): void {
  response.writeHead(status, {
    "Content-Type": type,
    "Content-Length": Buffer.byteLength(body),
    "Cache-Control": "no-store",
  });
  response.end(body);
}

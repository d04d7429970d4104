import { once } from "node:events";
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from "node:http";
import { Agent, request } from "node:https";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import type { S3Connection } from "../../deploy/local/s3-server.ts";

/** What a client asks of S3. */
export interface Asked {
  /** As the S3 API calls it. */
  readonly operation: string;
  /** Everything after the bucket. */
  readonly key: string;
  readonly query: URLSearchParams;
  /** Counts the requests in the log from 1. */
  readonly call: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

export interface Answer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

/**
 * - `before`: the connection breaks and the server has heard nothing.
 * - `after`: the server has done it, and the connection breaks before its answer.
 * - `cut`: the connection breaks half-way through the answer's body.
 * - `hang`: no answer ever, and the server has heard nothing.
 * - `unanswered`: the server has done it, and no answer ever.
 * - `slow`: the answer's body comes in ten pieces with pauses.
 * - an answer: the server has heard nothing, and this is the answer.
 */
export type S3Fault = "before" | "after" | "cut" | "hang" | "unanswered" | "slow" | Answer;

/** Plain HTTP in front of a real S3 server, whose faults tests decide. What it passes on, it passes on unchanged. */
export class TestS3Proxy implements AsyncDisposable {
  fault: (asked: Asked) => S3Fault | undefined | Promise<S3Fault | undefined> = () => undefined;
  /** Everything asked so far, and when. */
  readonly log: (Asked & { readonly at: number })[] = [];
  mostAtOnce = 0;
  #atOnce = 0;
  readonly #server: Server;
  readonly #target: URL;
  readonly #agent: Agent;

  private constructor(server: Server, { endpoint, ca }: S3Connection) {
    this.#server = server;
    this.#target = new URL(endpoint);
    this.#agent = new Agent({ keepAlive: true, ca });
  }

  static async to(connection: S3Connection): Promise<TestS3Proxy> {
    const server = createServer();
    const proxy = new TestS3Proxy(server, connection);
    server.on("request", (asked: IncomingMessage, answer: ServerResponse) => {
      proxy.#handle(asked, answer).catch(() => answer.destroy());
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return proxy;
  }

  get endpoint(): string {
    // A listening TCP server's address is an AddressInfo; only pipes have a string.
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** The operations asked for since the last time, in order. */
  take(): string[] {
    return this.log.splice(0).map(({ operation }) => operation);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#agent.destroy();
    this.#server.closeAllConnections();
    this.#server.close();
  }

  async #handle(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const { pathname, searchParams } = new URL(incoming.url ?? "/", this.endpoint);
    const [, , ...key] = decodeURIComponent(pathname).split("/");
    const body = await buffer(incoming);
    const asked = {
      operation: operationOf(incoming.method ?? "", searchParams),
      key: key.join("/"),
      query: searchParams,
      call: this.log.length + 1,
      headers: incoming.headers,
      body,
    };
    this.log.push({ ...asked, at: performance.now() });
    this.mostAtOnce = Math.max(this.mostAtOnce, ++this.#atOnce);
    outgoing.once("close", () => this.#atOnce--);
    const fault = await this.fault(asked);
    if (fault === "hang") return;
    if (fault === "before") return void outgoing.destroy();
    if (typeof fault === "object") {
      outgoing.writeHead(fault.status, { date: new Date().toUTCString(), ...fault.headers });
      return void outgoing.end(asked.operation.startsWith("Head") ? undefined : fault.body);
    }
    const { statusCode = 500, headers, answer } = await this.#forward(incoming, body);
    if (fault === "unanswered") return;
    if (fault === "after") return void outgoing.destroy();
    outgoing.writeHead(statusCode, headers);
    if (fault === "cut") {
      outgoing.write(answer.subarray(0, answer.length / 2));
      await sleep(20); // Or nothing of it would have left.
      return void outgoing.destroy();
    }
    if (fault === "slow") {
      const piece = Math.ceil(answer.length / 10);
      for (let at = 0; at < answer.length; at += piece) {
        outgoing.write(answer.subarray(at, at + piece));
        await sleep(20);
      }
      return void outgoing.end();
    }
    outgoing.end(answer);
  }

  async #forward({ method, url, headers }: IncomingMessage, body: Buffer) {
    const { hostname, port } = this.#target;
    // The signature covers the host the client has named: all headers go on as they came.
    const call = request({ hostname, port, method, path: url, headers, agent: this.#agent });
    call.end(body);
    const [answer]: IncomingMessage[] = await once(call, "response");
    if (!answer) throw new Error("no answer");
    return { statusCode: answer.statusCode, headers: answer.headers, answer: await buffer(answer) };
  }
}

function operationOf(method: string, query: URLSearchParams): string {
  const named = query.get("x-id"); // The SDK says it where the method alone does not.
  if (named !== null) return named;
  if (query.has("versions")) return "ListObjectVersions";
  if (query.has("object-lock")) return "GetObjectLockConfiguration";
  if (query.has("retention")) return method === "PUT" ? "PutObjectRetention" : "GetObjectRetention";
  if (query.has("restore")) return "RestoreObject";
  return method === "HEAD" ? "HeadObject" : `${method} ${[...query.keys()].join("&")}`;
}

/** S3's own form of an error. */
export function s3Error(status: number, code: string, message = "as the test wants it"): Answer {
  return {
    status,
    headers: { "content-type": "application/xml" },
    body: `<?xml version="1.0" encoding="UTF-8"?><Error><Code>${code}</Code><Message>${message}</Message></Error>`,
  };
}

// Requests that carry JSON and get JSON back.
import type { IncomingMessage, ServerResponse } from "node:http";
import { HttpError } from "./problem.ts";
import { sendJson } from "./send-json.ts";
import { parseStrictJson } from "./strict-json.ts";

/** A request as its handler sees it. */
export interface JsonCall {
  readonly body: unknown;
  /** A header by its lower-case name. */
  header(name: string): string | undefined;
}

export interface JsonReply {
  readonly status: number;
  readonly body: unknown;
}

/** `POST path` with a body of type application/json. */
export interface JsonEndpoint {
  readonly path: string;
  readonly maxBytes: number;
  /** What it rejects with is answered as a problem. */
  readonly handle: (call: JsonCall) => Promise<JsonReply>;
}

/** Answers one request for the endpoint, or rejects with what `sendProblem` tells the caller. */
export async function serveJson(
  endpoint: JsonEndpoint,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  if (request.method !== "POST") throw new HttpError(405, "use POST", { Allow: "POST" });
  checkContent(request);
  const body = parseStrictJson(await readBody(request, endpoint.maxBytes));
  const header = (name: string) => request.headersDistinct[name]?.join(", ");
  const reply = await endpoint.handle({ body, header });
  sendJson(response, reply.status, reply.body);
}

function checkContent({ headers }: IncomingMessage): void {
  // RFC 8259 defines no charset parameter; many clients send one, and UTF-8 is what it could only mean.
  if (!/^application\/json[ \t]*(;[ \t]*charset="?utf-8"?[ \t]*)?$/i.test(headers["content-type"] ?? "")) {
    throw new HttpError(415, "the body must be application/json", { Accept: "application/json" });
  }
  if ((headers["content-encoding"] ?? "identity") !== "identity") {
    throw new HttpError(415, "the body must not be compressed", { "Accept-Encoding": "identity" });
  }
}

function readBody(request: IncomingMessage, maxBytes: number): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    request.on("data", (chunk: Buffer) => {
      size += chunk.length;
      if (size <= maxBytes) {
        chunks.push(chunk);
        return;
      }
      // What else comes is dropped, and the connection with it: reading it all would be a service to floods.
      chunks.length = 0;
      reject(new HttpError(413, `the body must be at most ${maxBytes} bytes`, { Connection: "close" }));
    });
    request.once("end", () => resolve(Buffer.concat(chunks)));
    request.once("error", reject);
  });
}

// Remote procedures over HTTP/1.1 with the Connect protocol (connectrpc.com/docs/protocol), JSON or binary: the same
// implementations as at the gRPC edge, for callers that have curl and no gRPC. What a server streams comes so, too;
// streams in both directions need HTTP/2 and are gRPC's.
import type { IncomingMessage, ServerResponse } from "node:http";
import {
  type ConnectRouter,
  createConnectRouter,
  createContextKey,
  createContextValues,
  type Interceptor,
} from "@connectrpc/connect";
import type { UniversalServerRequest } from "@connectrpc/connect/protocol";
import { universalRequestFromNodeRequest, universalResponseToNodeResponse } from "@connectrpc/connect-node";
import { HttpError } from "./problem.ts";
import { sendJson } from "./send-json.ts";

export interface ConnectEdgeOptions {
  /** Registers the services. */
  readonly routes: (router: ConnectRouter) => void;
  readonly maxBytes: number;
  /** Whether gRPC-Web is spoken, too (grpc/PROTOCOL-WEB.md): browsers' generated clients do. */
  readonly grpcWeb?: boolean;
  /** The longest timeout a caller may ask for. */
  readonly maxTimeoutMs: number;
  /** Makes ConnectErrors of what implementations throw, and logs what must not reach callers. */
  readonly errors: Interceptor;
}

/** The request that a call came with, for implementations that have to know who asks. */
export const httpRequest = createContextKey<IncomingMessage | undefined>(undefined);

/** Whether a call came as far as its implementation. */
const implemented = createContextKey(false);
const reached: Interceptor = (next) => (request) => {
  request.contextValues.set(implemented, true);
  return next(request);
};

/** The procedures of some services by their paths, such as `/psephos.vote.v1.VoteService/CastVote`. */
export class ConnectEdge {
  readonly #handlers: ReadonlyMap<string, ConnectRouter["handlers"][number]>;

  constructor({ routes, maxBytes, grpcWeb = false, maxTimeoutMs, errors }: ConnectEdgeOptions) {
    const router = createConnectRouter({
      grpc: false,
      grpcWeb,
      // Requests are small. What is not decompressed cannot swell.
      acceptCompression: [],
      readMaxBytes: maxBytes,
      maxTimeoutMs,
      jsonOptions: { ignoreUnknownFields: false },
      interceptors: [reached, errors],
    });
    routes(router);
    this.#handlers = new Map(router.handlers.map((handler) => [handler.requestPath, handler]));
  }

  has(path: string): boolean {
    return this.#handlers.has(path);
  }

  async serve(path: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const handler = this.#handlers.get(path);
    if (handler === undefined) throw new HttpError(404, "there is nothing at this path");
    const values = createContextValues().set(httpRequest, request);
    let call: UniversalServerRequest;
    try {
      call = universalRequestFromNodeRequest(request, response, undefined, values);
    } catch {
      throw new HttpError(400, "the Host header is not valid");
    }
    const reply = await handler(call);
    if (!values.get(implemented) && (reply.status === 400 || reply.status === 500)) {
      sendUndecodable(response, handler.method.input.typeName);
    } else {
      await universalResponseToNodeResponse(reply, response);
    }
  }
}

/**
 * Connect says why it cannot decode a request in the words of the JSON parser. Those repeat what was sent, which may be
 * a voter's id. And it calls an undecodable binary message an error of this server.
 */
function sendUndecodable(response: ServerResponse, type: string): void {
  sendJson(response, 400, { code: "invalid_argument", message: `the request is not a valid ${type}` });
}

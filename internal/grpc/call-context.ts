import type { DescMethod, DescService } from "@bufbuild/protobuf";
import { type ContextValues, createContextValues, type HandlerContext } from "@connectrpc/connect";
import type { Metadata } from "@grpc/grpc-js";
import { toHeaders } from "./headers.ts";
import { type PeerIdentity, setPeer } from "./identity.ts";

export interface CallContextOptions {
  readonly service: DescService;
  readonly method: DescMethod;
  readonly host: string;
  readonly metadata: Metadata;
  /** In milliseconds since 1970. */
  readonly deadline: number;
  readonly peer: PeerIdentity;
}

/**
 * What a handler is told of its call. Connect has a maker of these, which sets up three Headers, two AbortControllers
 * and a timer for each call; here each part is made when it is asked for.
 */
export class CallContext implements HandlerContext {
  readonly requestMethod = "POST";
  readonly protocolName = "grpc";
  readonly values: ContextValues = createContextValues();
  readonly service: DescService;
  readonly method: DescMethod;
  readonly #host: string;
  readonly #metadata: Metadata;
  readonly #deadline: number;
  #controller: AbortController | undefined;
  #aborted: { readonly reason: unknown } | undefined;
  #requestHeader: Headers | undefined;
  #responseHeader: Headers | undefined;
  #responseTrailer: Headers | undefined;

  constructor(options: CallContextOptions) {
    this.service = options.service;
    this.method = options.method;
    this.#host = options.host;
    this.#metadata = options.metadata;
    this.#deadline = options.deadline;
    setPeer(this.values, options.peer);
  }

  readonly timeoutMs = (): number => this.#deadline - Date.now();

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#aborted) this.#controller.abort(this.#aborted.reason);
    }
    return this.#controller.signal;
  }

  get url(): string {
    return `https://${this.#host}/${this.service.typeName}/${this.method.name}`;
  }

  get requestHeader(): Headers {
    this.#requestHeader ??= toHeaders(this.#metadata);
    return this.#requestHeader;
  }

  get responseHeader(): Headers {
    this.#responseHeader ??= new Headers();
    return this.#responseHeader;
  }

  get responseTrailer(): Headers {
    this.#responseTrailer ??= new Headers();
    return this.#responseTrailer;
  }

  /** The headers the handler set; undefined when it set none. */
  get headersSet(): Headers | undefined {
    return this.#responseHeader;
  }

  get trailersSet(): Headers | undefined {
    return this.#responseTrailer;
  }

  abort(reason: unknown): void {
    if (this.#aborted) return;
    this.#aborted = { reason };
    this.#controller?.abort(reason);
  }
}

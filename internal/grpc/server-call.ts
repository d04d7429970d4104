import type { DescMessage, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import type { MethodImplSpec } from "@connectrpc/connect";
import {
  type Metadata,
  type ServerInterceptingCallInterface,
  type StatusObject,
  status,
} from "@grpc/grpc-js";
import { ServiceError } from "../core/errors.ts";
import { CallContext } from "./call-context.ts";
import { decodeRequest, encode } from "./codec.ts";
import { toMetadata } from "./headers.ts";
import type { PeerIdentity } from "./identity.ts";
import { MessageStream } from "./message-stream.ts";
import { presentable } from "./status.ts";
import { statusObjectOf } from "./trailers.ts";

/** Answers given to HTTP/2 and not yet sent, in bytes, above which the handler is not asked for more. */
const HIGH_WATER = 64 * 1024;
/** What a message weighs besides its bytes: small ones cost time and objects. */
const MESSAGE_WEIGHT = 64;

export interface ServerCallOptions {
  readonly call: ServerInterceptingCallInterface;
  readonly service: CallContext["service"];
  readonly spec: MethodImplSpec;
  readonly peer: PeerIdentity;
  /** In milliseconds since 1970. */
  readonly deadline: number;
  /** Whether the deadline is ours and not the one the client sent, which grpc-js watches itself. */
  readonly imposed: boolean;
  readonly maxMessageBytes: number;
  /** Told once when the call ends: the code, and the error behind a code other than OK. */
  readonly onEnd: (code: number, error?: ServiceError) => void;
}

/**
 * One call, from its first byte to its status, in terms of messages and a Connect handler.
 *
 * It stands where grpc-js would put its own stream objects, which cost as much as everything else a small call does.
 * grpc-js calls it back from socket events: what throws there ends the process, so nothing may.
 */
export class ServerCall {
  readonly #options: ServerCallOptions;
  readonly #call: ServerInterceptingCallInterface;
  readonly #output: DescMessage;
  readonly #timer: NodeJS.Timeout | undefined;
  #context: CallContext | undefined;
  #requests: MessageStream<MessageShape<DescMessage>> | undefined;
  #request: MessageShape<DescMessage> | undefined;
  #headersSent = false;
  #unsent = 0;
  #drained: PromiseWithResolvers<void> | undefined;
  #allAsked = false;
  #cutShort = false;
  #ended = false;

  constructor(options: ServerCallOptions) {
    this.#options = options;
    this.#call = options.call;
    this.#output = options.spec.method.output;
    if (options.imposed) {
      this.#timer = setTimeout(() => this.abort(deadlineExceeded()), options.deadline - Date.now());
    }
  }

  start(): void {
    this.#call.start({
      onReceiveMetadata: (metadata) => this.#guard(() => this.#begin(metadata)),
      onReceiveMessage: (frame: Buffer) => this.#guard(() => this.#receive(frame)),
      onReceiveHalfClose: () => this.#halfClosed(),
      onCancel: () => this.#cancelled(),
    });
    // grpc-js is silent about a call that its client reset before this line.
    if (this.#context === undefined) this.#cancelled();
  }

  /** Ends the call with an error, whatever its handler is doing. */
  abort(error: ServiceError): void {
    this.#end(statusObjectOf(error), error);
  }

  /**
   * Asks the call to finish because the server stops. A unary call is left to finish by itself. A conversation sees the
   * end of its requests, answers what it has read, and then ends with UNAVAILABLE unless its client was done. The other
   * two are ended at once: answers may be streamed for ever, and requests cut short must not look complete.
   */
  drain(): void {
    const { kind } = this.#options.spec;
    if (kind === "unary") return;
    if (kind === "bidi_streaming") {
      this.#cutShort = !this.#allAsked;
      this.#requests?.end();
    } else {
      this.abort(shuttingDown());
    }
  }

  #begin(metadata: Metadata): void {
    const { service, spec, deadline, peer } = this.#options;
    const host = this.#call.getHost();
    this.#context = new CallContext({ service, method: spec.method, host, metadata, deadline, peer });
    if (spec.kind === "unary" || spec.kind === "server_streaming") {
      this.#call.startRead();
      return;
    }
    this.#requests = new MessageStream({ read: () => this.#call.startRead() });
    if (spec.kind === "client_streaming") this.#answerWith(spec.impl(this.#requests, this.#context));
    else this.#answerWithAll(spec.impl(this.#requests, this.#context));
  }

  #receive(frame: Buffer): void {
    const request = decodeRequest(this.#options.spec.method.input, frame);
    if (this.#requests !== undefined) {
      this.#requests.push(request);
    } else if (this.#request === undefined) {
      this.#request = request;
      this.#call.startRead(); // for the half-close, after which the handler runs
    } else {
      throw new ServiceError("invalid-argument", "the method takes one request");
    }
  }

  #halfClosed(): void {
    const requests = this.#requests;
    if (requests === undefined) {
      this.#guard(() => this.#handle());
      return;
    }
    // A Node client that cancels sends the end of its requests first and then, a TLS record later, the reset. Requests
    // cut off like this must not look complete, so their end waits until what has arrived with it is read.
    setImmediate(() => {
      if (this.#ended) return;
      this.#allAsked = true;
      requests.end();
    });
  }

  #handle(): void {
    const { spec } = this.#options;
    if (this.#request === undefined || this.#context === undefined) {
      throw new ServiceError("invalid-argument", "the request is missing or incomplete");
    }
    if (spec.kind === "unary") this.#answerWith(spec.impl(this.#request, this.#context));
    else if (spec.kind === "server_streaming") this.#answerWithAll(spec.impl(this.#request, this.#context));
  }

  async #answerWith(answer: Promise<MessageInitShape<DescMessage>> | MessageInitShape<DescMessage>) {
    try {
      const message = await answer;
      if (this.#ended) return;
      this.#send(message);
      this.#complete();
    } catch (error) {
      this.#fail(error);
    }
  }

  async #answerWithAll(answers: AsyncIterable<MessageInitShape<DescMessage>>) {
    try {
      for await (const message of answers) {
        if (this.#ended) break; // leaving the loop lets the handler's finally blocks run
        this.#send(message);
        if (this.#unsent > HIGH_WATER) {
          this.#drained = Promise.withResolvers();
          await this.#drained.promise;
          if (this.#ended) break;
        }
      }
      this.#complete();
    } catch (error) {
      this.#fail(error);
    }
  }

  #send(message: MessageInitShape<DescMessage>): void {
    const bytes = encode(this.#output, message);
    if (bytes.length > this.#options.maxMessageBytes) {
      throw new Error(`an answer of ${bytes.length} bytes is too large to send`);
    }
    if (!this.#headersSent) {
      this.#headersSent = true;
      const headers = this.#context?.headersSet;
      if (headers !== undefined) this.#call.sendMetadata(toMetadata(headers));
    }
    const weight = bytes.length + MESSAGE_WEIGHT;
    this.#unsent += weight;
    this.#call.sendMessage(bytes, () => {
      this.#unsent -= weight;
      if (this.#unsent <= HIGH_WATER) this.#drained?.resolve();
    });
  }

  #complete(): void {
    if (this.#cutShort) this.abort(shuttingDown());
    else this.#end({ code: status.OK, details: "", metadata: toMetadata(this.#context?.trailersSet) });
  }

  #fail(error: unknown): void {
    if (this.#ended) return; // what the handler makes of its cancellation is nobody's concern
    this.abort(presentable(error));
  }

  #end(result: StatusObject, error?: ServiceError): void {
    if (this.#ended) return;
    this.#settle(result.code, error);
    try {
      this.#call.sendStatus(result);
    } catch {
      // The stream is gone: there is nobody to tell.
    }
  }

  /** The client left, its connection broke, or its deadline passed. Also called after every status: no news then. */
  #cancelled(): void {
    if (this.#ended) return;
    // Timers and the clock may differ by a millisecond.
    const error =
      Date.now() + 1 >= this.#options.deadline
        ? deadlineExceeded()
        : new ServiceError("cancelled", "the client cancelled the call");
    this.#settle(error.kind === "cancelled" ? status.CANCELLED : status.DEADLINE_EXCEEDED, error);
  }

  #settle(code: number, error: ServiceError | undefined): void {
    this.#ended = true;
    clearTimeout(this.#timer);
    const reason = error ?? ENDED;
    this.#context?.abort(reason);
    this.#requests?.fail(reason);
    this.#drained?.resolve();
    this.#options.onEnd(code, error);
  }

  #guard(step: () => void): void {
    if (this.#ended) return;
    try {
      step();
    } catch (error) {
      this.#fail(error);
    }
  }
}

/** Why the signal of a call fires that ended well: what was begun for it and goes on has no use any more. */
const ENDED = new ServiceError("cancelled", "the call has ended");

function deadlineExceeded(): ServiceError {
  return new ServiceError("deadline-exceeded", "the deadline has passed");
}

export function shuttingDown(): ServiceError {
  return new ServiceError("unavailable", "the server is shutting down", { reason: "SHUTTING_DOWN" });
}

import { setImmediate as eventLoopTurn } from "node:timers/promises";
import type { DescMessage, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { type Channel, type Metadata, type StatusObject, status } from "@grpc/grpc-js";
import { ServiceError } from "../core/errors.ts";
import { decode, encode } from "./codec.ts";
import { MessageStream } from "./message-stream.ts";
import { errorOfCall } from "./trailers.ts";

/** Sent without letting the event loop turn, at most. */
const MESSAGES_A_TURN = 64;

/** grpc-js's call below its client classes, whose stream objects and stack traces cost more than the rest of a call. */
export type ChannelCall = ReturnType<Channel["createCall"]>;

export interface ClientCallOptions<I extends DescMessage, O extends DescMessage> {
  readonly call: ChannelCall;
  readonly metadata: Metadata;
  readonly input: I;
  readonly output: O;
  readonly signal: AbortSignal | undefined;
  /** Who is called, for the words of an error. */
  readonly peer: string;
  readonly onEnd: (code: number) => void;
}

export interface UnaryReply<O extends DescMessage> {
  readonly message: MessageShape<O>;
  readonly header: Metadata | undefined;
  readonly trailer: Metadata;
}

/** One request, one answer. Rejects with a ServiceError. */
export function callUnary<I extends DescMessage, O extends DescMessage>(
  options: ClientCallOptions<I, O>,
  request: Buffer,
): Promise<UnaryReply<O>> {
  const { call, signal, peer } = options;
  return new Promise((resolve, reject) => {
    let header: Metadata | undefined;
    let answer: Buffer | undefined;
    const cancel = () => call.cancelWithStatus(status.CANCELLED, "cancelled by the caller");
    call.start(options.metadata, {
      onReceiveMetadata: (metadata) => {
        header = metadata;
      },
      onReceiveMessage: (message: Buffer) => {
        answer = message;
        call.startRead(); // for the status that follows
      },
      onReceiveStatus: (result) => {
        signal?.removeEventListener("abort", cancel);
        options.onEnd(result.code);
        const error = failure(result, options);
        if (error !== undefined) return reject(error);
        try {
          if (answer === undefined) throw new Error("there is no answer");
          resolve({ message: decode(options.output, answer), header, trailer: result.metadata });
        } catch (cause) {
          reject(malformed(peer, cause));
        }
      },
    });
    signal?.addEventListener("abort", cancel, { once: true });
    call.sendMessageWithContext({}, request);
    call.halfClose();
    call.startRead();
  });
}

/** A call with streams: requests are sent as they come, answers are read as they are asked for. */
export class ClientStream<I extends DescMessage, O extends DescMessage> {
  /** Throws a ServiceError when the call fails. Leaving it early cancels the call. */
  readonly answers: MessageStream<MessageShape<O>>;
  readonly #options: ClientCallOptions<I, O>;
  readonly #requests: AsyncIterator<MessageInitShape<I>>;
  readonly #header = Promise.withResolvers<Metadata | undefined>();
  #trailer: Metadata | undefined;
  /** What went wrong on this side: the requests, or an answer that cannot be read. */
  #failed: { readonly thrown: unknown } | undefined;
  #ended = false;

  constructor(options: ClientCallOptions<I, O>, requests: AsyncIterable<MessageInitShape<I>>) {
    const { call, signal } = options;
    this.#options = options;
    this.#requests = requests[Symbol.asyncIterator]();
    this.answers = new MessageStream({ read: () => call.startRead(), left: this.#cancel });
    call.start(options.metadata, {
      onReceiveMetadata: (metadata) => this.#header.resolve(metadata),
      onReceiveMessage: (frame: Buffer) => this.#receive(frame),
      onReceiveStatus: (result) => this.#end(result),
    });
    signal?.addEventListener("abort", this.#cancel, { once: true });
    void this.#sendAll();
  }

  /** Resolves when the answers begin, or when the call has ended without any. */
  get header(): Promise<Metadata | undefined> {
    return this.#header.promise;
  }

  /** Known when the answers have ended. */
  get trailer(): Metadata | undefined {
    return this.#trailer;
  }

  readonly #cancel = (): void => {
    this.#options.call.cancelWithStatus(status.CANCELLED, "cancelled by the caller");
  };

  async #sendAll(): Promise<void> {
    const { call, input } = this.#options;
    try {
      for (let count = 1; ; count++) {
        const { done, value } = await this.#requests.next();
        if (this.#ended) return;
        if (done) break;
        // grpc-js holds one message at a time; its callback comes when there is room for the next.
        const frame = encode(input, value);
        await new Promise<void>((resolve) =>
          call.sendMessageWithContext({ callback: () => resolve() }, frame),
        );
        // Until the first answer comes, grpc-js keeps messages for a retry and takes the next at once, 256 KiB of them:
        // requests that are all there already would keep the whole process from anything else.
        if (count % MESSAGES_A_TURN === 0) await eventLoopTurn();
        if (this.#ended) return;
      }
      call.halfClose();
    } catch (thrown) {
      this.#failed = { thrown };
      this.#cancel();
    }
  }

  #receive(frame: Buffer): void {
    try {
      this.answers.push(decode(this.#options.output, frame));
    } catch (cause) {
      this.#failed ??= { thrown: malformed(this.#options.peer, cause) };
      this.#cancel();
    }
  }

  #end(result: StatusObject): void {
    this.#ended = true;
    this.#trailer = result.metadata;
    this.#options.signal?.removeEventListener("abort", this.#cancel);
    this.#options.onEnd(result.code);
    const error = this.#failed?.thrown ?? failure(result, this.#options);
    if (error === undefined) this.answers.end();
    else this.answers.fail(error);
    this.#header.resolve(undefined);
    void this.#releaseRequests();
  }

  /** Whoever makes the requests may stop. What it says to that has no one to hear it. */
  async #releaseRequests(): Promise<void> {
    try {
      await this.#requests.return?.();
    } catch {}
  }
}

/** Why a caller's own signal ended a call. A ServiceError is passed on: it says more than we know here. */
export function cancelledBy(signal: AbortSignal): ServiceError {
  return signal.reason instanceof ServiceError
    ? signal.reason
    : new ServiceError("cancelled", "the call was cancelled", { cause: signal.reason });
}

function failure(
  result: StatusObject,
  options: { readonly signal: AbortSignal | undefined; readonly peer: string },
): ServiceError | undefined {
  if (result.code === status.OK) return undefined;
  if (result.code === status.CANCELLED && options.signal?.aborted) return cancelledBy(options.signal);
  return errorOfCall(result, options.peer);
}

function malformed(peer: string, cause: unknown): ServiceError {
  return new ServiceError("internal", `${peer} sent an answer that cannot be read`, { cause });
}

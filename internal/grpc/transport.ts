import type {
  DescMessage,
  DescMethod,
  DescMethodStreaming,
  DescMethodUnary,
  MessageInitShape,
} from "@bufbuild/protobuf";
import type { StreamResponse, Transport, UnaryResponse } from "@connectrpc/connect";
import { Channel, status } from "@grpc/grpc-js";
import { ServiceError } from "../core/errors.ts";
import type { Logger } from "../telemetry/logger.ts";
import type { CallMetrics } from "./call-metrics.ts";
import {
  type ChannelCall,
  type ClientCallOptions,
  ClientStream,
  callUnary,
  cancelledBy,
} from "./client-call.ts";
import { encode } from "./codec.ts";
import { type HeadersInit, toHeaders, toMetadata } from "./headers.ts";
import { serviceConfig } from "./service-config.ts";
import { channelCredentials, readTls, type TlsFiles, watchTls } from "./tls.ts";

export interface GrpcTransportOptions {
  /** `host:port`, or `dns:///name:port` whose addresses take calls in turn. */
  readonly address: string;
  readonly tls: TlsFiles;
  readonly trustDomain: string;
  /** Who has to answer there, such as `service/shard-router`. */
  readonly expectedServer: `service/${string}`;
  readonly logger: Logger;
  readonly metrics?: CallMetrics;
  /** Methods that may be called again when the answer is lost; they are, a few times, while UNAVAILABLE. */
  readonly idempotent?: readonly DescMethod[];
  /** The timeout of a unary call that is given none. Streams have none of their own. */
  readonly defaultTimeoutMs?: number;
  readonly maxMessageBytes?: number;
}

const DEFAULT_TIMEOUT_MS = 10_000;
const DEFAULT_MAX_MESSAGE_BYTES = 4 * 1024 * 1024;

/**
 * Carries the calls of Connect clients over gRPC: `createClient(ShardRouterService, transport)`. Errors are
 * ServiceErrors, with reason, fields and retry delay as the server gave them. Unlike in Connect's own transports, a
 * timeout of 0 or less has already passed: it is what is left of somebody's deadline.
 */
export function createGrpcTransport(options: GrpcTransportOptions): GrpcTransport {
  return new GrpcTransport(options);
}

export class GrpcTransport implements Transport, AsyncDisposable {
  readonly #options: GrpcTransportOptions;
  readonly #peer: string;
  readonly #watch: Disposable;
  readonly #active = new Set<ChannelCall>();
  #channel: Channel;
  #closed = false;

  constructor(options: GrpcTransportOptions) {
    this.#options = options;
    this.#peer = options.expectedServer.slice("service/".length);
    this.#channel = this.#connect(readTls(options.tls));
    this.#watch = watchTls(options.tls, {
      // Calls in progress go on over the old connection, which closes with the last of them.
      onChange: (tls) => {
        const old = this.#channel;
        this.#channel = this.#connect(tls);
        old.close();
      },
      onError: (error) => options.logger.error({ error }, "the TLS files cannot be read again"),
    });
  }

  async unary<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    signal: AbortSignal | undefined,
    timeoutMs: number | undefined,
    header: HeadersInit | undefined,
    input: MessageInitShape<I>,
  ): Promise<UnaryResponse<I, O>> {
    const timeout = timeoutMs ?? this.#options.defaultTimeoutMs ?? DEFAULT_TIMEOUT_MS;
    const request = encode(method.input, input);
    const reply = await callUnary(this.#begin(method, signal, timeout, header), request);
    return {
      stream: false,
      service: method.parent,
      method,
      message: reply.message,
      get header() {
        return toHeaders(reply.header);
      },
      get trailer() {
        return toHeaders(reply.trailer);
      },
    };
  }

  async stream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodStreaming<I, O>,
    signal: AbortSignal | undefined,
    timeoutMs: number | undefined,
    header: HeadersInit | undefined,
    input: AsyncIterable<MessageInitShape<I>>,
  ): Promise<StreamResponse<I, O>> {
    const timeout = timeoutMs ?? Number.POSITIVE_INFINITY;
    const stream = new ClientStream(this.#begin(method, signal, timeout, header), input);
    const responseHeader = await stream.header;
    return {
      stream: true,
      service: method.parent,
      method,
      message: stream.answers,
      get header() {
        return toHeaders(responseHeader);
      },
      get trailer() {
        return toHeaders(stream.trailer);
      },
    };
  }

  /** Ends calls in progress, and later ones, with UNAVAILABLE, and closes the connections. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#watch[Symbol.dispose]();
    for (const call of this.#active) call.cancelWithStatus(status.UNAVAILABLE, "the transport was closed");
    this.#channel.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #begin<I extends DescMessage, O extends DescMessage>(
    method: DescMethod & { readonly input: I; readonly output: O },
    signal: AbortSignal | undefined,
    timeoutMs: number,
    header: HeadersInit | undefined,
  ): ClientCallOptions<I, O> {
    if (this.#closed) throw new ServiceError("unavailable", "the transport is closed");
    if (signal?.aborted) throw cancelledBy(signal);
    const name = `${method.parent.typeName}/${method.name}`;
    const began = performance.now();
    const call = this.#channel.createCall(`/${name}`, Date.now() + timeoutMs, null, null, null);
    this.#active.add(call);
    return {
      call,
      metadata: toMetadata(header),
      input: method.input,
      output: method.output,
      signal,
      peer: this.#peer,
      onEnd: (code) => {
        this.#active.delete(call);
        this.#options.metrics?.ended("client", name, code, (performance.now() - began) / 1000);
      },
    };
  }

  #connect(tls: ReturnType<typeof readTls>): Channel {
    const { address, trustDomain, expectedServer, idempotent, maxMessageBytes } = this.#options;
    return new Channel(address, channelCredentials(tls, { trustDomain, service: expectedServer }), {
      "grpc.service_config": serviceConfig(idempotent ?? []),
      // A service config of whoever answers our DNS queries is not wanted, nor a proxy of the environment.
      "grpc.service_config_disable_resolution": 1,
      "grpc.enable_http_proxy": 0,
      // SNI has to be a name, and the address may not have one.
      "grpc.ssl_target_name_override": this.#peer,
      "grpc.max_receive_message_length": maxMessageBytes ?? DEFAULT_MAX_MESSAGE_BYTES,
      // Node's 64 KiB hold a hundred promised votes: batches were that small, and votes a third fewer (deploy/bench/promise.ts).
      "grpc-node.flow_control_window": 1024 * 1024,
      "grpc.keepalive_time_ms": 30_000,
      "grpc.keepalive_timeout_ms": 10_000,
      // A connection that died while nothing was going on is found before the next call waits for it.
      "grpc.keepalive_permit_without_calls": 1,
      // A service that restarts is back in seconds; the defaults would wait for up to two minutes.
      "grpc.initial_reconnect_backoff_ms": 100,
      "grpc.max_reconnect_backoff_ms": 3_000,
      "grpc.dns_min_time_between_resolutions_ms": 3_000,
      // Connections of its own, which close with it.
      "grpc.use_local_subchannel_pool": 1,
      "grpc.enable_channelz": 0,
    });
  }
}

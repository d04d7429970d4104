import type { DescMethod, DescService } from "@bufbuild/protobuf";
import { createMethodImplSpec, type MethodImpl, type ServiceImpl } from "@connectrpc/connect";
import { Server, type ServiceDefinition, type UntypedServiceImplementation } from "@grpc/grpc-js";
import { HealthImplementation } from "grpc-health-check";
import type { Logger } from "../telemetry/logger.ts";
import type { CallMetrics } from "./call-metrics.ts";
import { Dispatcher } from "./dispatcher.ts";
import { ANY_PEER, type CallerPolicy } from "./identity.ts";
import { addReflection } from "./reflection.ts";
import { DEFAULT_LIMITS, type ServerLimits } from "./server-limits.ts";
import { MeshServerCredentials, readTls, type TlsFiles, watchTls } from "./tls.ts";

export interface GrpcServerOptions {
  readonly tls: TlsFiles;
  /** Peers from elsewhere are refused. */
  readonly trustDomain: string;
  readonly logger: Logger;
  readonly metrics?: CallMetrics;
  readonly limits?: Partial<ServerLimits>;
}

/**
 * A gRPC server of the mesh: mutual TLS, a list of callers for each method, deadlines, and Connect's programming model.
 * Health and reflection come with it, for every peer.
 */
export class GrpcServer implements AsyncDisposable {
  readonly #logger: Logger;
  readonly #credentials: MeshServerCredentials;
  readonly #watch: Disposable;
  readonly #dispatcher: Dispatcher;
  readonly #server: Server;
  readonly #health = new HealthImplementation({ "": "NOT_SERVING" });
  readonly #services: DescService[] = [];
  #stopping: Promise<void> | undefined;

  constructor(options: GrpcServerOptions) {
    const limits = { ...DEFAULT_LIMITS, ...options.limits };
    this.#logger = options.logger;
    this.#credentials = new MeshServerCredentials(readTls(options.tls));
    this.#watch = watchTls(options.tls, {
      onChange: (tls) => this.#credentials.update(tls),
      onError: (error) => this.#logger.error({ error }, "the TLS files cannot be read again"),
    });
    this.#dispatcher = new Dispatcher({
      trustDomain: options.trustDomain,
      logger: options.logger,
      metrics: options.metrics,
      limits,
    });
    this.#server = new Server({
      // Channelz stays on although nobody asks it anything: without it, forceShutdown does not find the connections.
      "grpc.max_receive_message_length": limits.maxMessageBytes,
      "grpc.max_concurrent_streams": limits.maxStreamsPerConnection,
      "grpc.keepalive_time_ms": limits.keepaliveMs,
      "grpc.keepalive_timeout_ms": limits.keepaliveTimeoutMs,
      "grpc.max_connection_age_ms": limits.maxConnectionAgeMs,
      "grpc.max_connection_age_grace_ms": limits.maxConnectionAgeGraceMs,
      interceptors: [this.#dispatcher.interceptor],
    });
    this.#health.addToServer(this.#forLibraries());
  }

  /** Serves the methods that `implementation` has. The others, like unknown ones, are UNIMPLEMENTED. */
  addService<D extends DescService>(
    service: D,
    implementation: Partial<ServiceImpl<D>>,
    callers: CallerPolicy<D>,
  ): void {
    for (const method of service.methods) {
      const name = method.localName as keyof D["method"]; // which are the methods' local names
      const handler = implementation[name];
      if (handler === undefined) continue;
      // TypeScript has checked it against ServiceImpl<D>, and cannot follow the name back to the method.
      const bound = (handler as (...args: unknown[]) => unknown).bind(
        implementation,
      ) as MethodImpl<DescMethod>;
      const path = `/${service.typeName}/${method.name}`;
      this.#dispatcher.add(path, {
        callers: callers[name],
        streaming: method.methodKind !== "unary",
        own: { service, spec: createMethodImplSpec(method, bound) },
      });
      // The dispatcher keeps calls from this handler, but grpc-js knows only paths that have one. Bytes pass through:
      // they are decoded where a mistake in them can be told from a mistake of ours.
      this.#server.register(path, () => {}, sameBytes, sameBytes, "bidi");
    }
    this.#services.push(service);
    this.#health.setStatus(service.typeName, "NOT_SERVING");
  }

  /** Binds `host:port`, where port 0 is any, and serves. Resolves to the port. */
  async listen(address: string): Promise<number> {
    addReflection(this.#forLibraries(), this.#services);
    const port = await new Promise<number>((resolve, reject) => {
      this.#server.bindAsync(address, this.#credentials, (error, bound) => {
        if (error === null) resolve(bound);
        else reject(error);
      });
    });
    this.setServing(true);
    return port;
  }

  /** What the health service says of the process and of each service. `listen` makes it true. */
  setServing(serving: boolean): void {
    const now = serving && this.#stopping === undefined ? "SERVING" : "NOT_SERVING";
    for (const name of ["", ...this.#services.map((service) => service.typeName)])
      this.#health.setStatus(name, now);
  }

  /**
   * Stops within `graceMs`: says NOT_SERVING, takes no new calls, lets those in progress finish (`ServerCall.drain`),
   * ends with UNAVAILABLE the ones that have not shortly before the time is up, and then closes what is left.
   */
  stop(options: { readonly graceMs?: number } = {}): Promise<void> {
    this.#stopping ??= this.#stop(options.graceMs ?? 10_000);
    return this.#stopping;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  async #stop(graceMs: number): Promise<void> {
    this.#watch[Symbol.dispose]();
    this.setServing(false);
    const closed = new Promise<void>((resolve) => this.#server.tryShutdown(() => resolve()));
    this.#dispatcher.drain();
    const lastWords = setTimeout(
      () => {
        const calls = this.#dispatcher.abort();
        this.#logger.warn({ calls }, "stopping: calls in progress were ended");
      },
      graceMs - Math.min(250, graceMs / 4),
    );
    const force = setTimeout(() => this.#server.forceShutdown(), graceMs);
    await closed; // tryShutdown has no time limit; forceShutdown makes it finish
    clearTimeout(lastWords);
    clearTimeout(force);
  }

  /** Where libraries that speak to grpc-js add their services: the same checks, with the whole mesh as callers. */
  #forLibraries(): Pick<Server, "addService"> {
    return {
      addService: (definition: ServiceDefinition, implementation: UntypedServiceImplementation) => {
        for (const { path, requestStream, responseStream } of Object.values(definition)) {
          this.#dispatcher.add(path, { callers: ANY_PEER, streaming: requestStream || responseStream });
        }
        this.#server.addService(definition, implementation);
      },
    };
  }
}

function sameBytes(bytes: Buffer): Buffer {
  return bytes;
}

// A service with a method of each kind, and a server and clients for it over TLS. Ours have no client stream yet.
import { create, createFileRegistry } from "@bufbuild/protobuf";
import type { GenService } from "@bufbuild/protobuf/codegenv2";
import {
  type BytesValueSchema,
  FileDescriptorProtoSchema,
  file_google_protobuf_wrappers,
} from "@bufbuild/protobuf/wkt";
import { type Client, createClient, type ServiceImpl } from "@connectrpc/connect";
import type { LogFields, Logger } from "../telemetry/logger.ts";
import { TestCa, TRUST_DOMAIN } from "./ca.fixture.ts";
import type { CallerPolicy } from "./identity.ts";
import { GrpcServer, type GrpcServerOptions } from "./server.ts";
import type { TlsFiles } from "./tls.ts";
import { createGrpcTransport, type GrpcTransport, type GrpcTransportOptions } from "./transport.ts";

type Bytes = { input: typeof BytesValueSchema; output: typeof BytesValueSchema };
type Desc = GenService<{
  unary: { methodKind: "unary" } & Bytes;
  answers: { methodKind: "server_streaming" } & Bytes;
  requests: { methodKind: "client_streaming" } & Bytes;
  talk: { methodKind: "bidi_streaming" } & Bytes;
}>;

const bytes = { inputType: ".google.protobuf.BytesValue", outputType: ".google.protobuf.BytesValue" };
const file = create(FileDescriptorProtoSchema, {
  name: "psephos/test/v1/test.proto",
  package: "psephos.test.v1",
  syntax: "proto3",
  dependency: ["google/protobuf/wrappers.proto"],
  service: [
    {
      name: "TestService",
      method: [
        { name: "Unary", ...bytes },
        { name: "Answers", ...bytes, serverStreaming: true },
        { name: "Requests", ...bytes, clientStreaming: true },
        { name: "Talk", ...bytes, clientStreaming: true, serverStreaming: true },
      ],
    },
  ],
});
// The registry makes what generated code would; the type says what the file above says.
export const TestService = createFileRegistry(file, () => file_google_protobuf_wrappers).getService(
  "psephos.test.v1.TestService",
) as Desc;

export const ECHO: ServiceImpl<Desc> = {
  unary: (request) => request,
  async *answers(request) {
    for (let i = 0; i < (request.value[0] ?? 0); i++) yield { value: Uint8Array.of(i) };
  },
  async requests(requests) {
    let count = 0;
    for await (const request of requests) count += request.value.length;
    return { value: Uint8Array.of(count) };
  },
  async *talk(requests) {
    for await (const request of requests) yield request;
  },
};

const CALLERS: CallerPolicy<Desc> = {
  unary: ["client/*"],
  answers: ["client/*"],
  requests: ["client/*"],
  talk: ["client/*"],
};

export interface ServeOptions {
  readonly callers?: CallerPolicy<Desc>;
  /** Adds other services before the server listens. */
  readonly also?: (server: GrpcServer) => void;
}

export class Mesh implements AsyncDisposable {
  readonly ca: TestCa;
  readonly log = new MemoryLogger();
  readonly #closing: AsyncDisposable[] = [];
  #client: TlsFiles | undefined;
  port = 0;

  static async create(): Promise<Mesh> {
    return new Mesh(await TestCa.create());
  }

  private constructor(ca: TestCa) {
    this.ca = ca;
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  async serve(
    implementation: Partial<ServiceImpl<Desc>> = ECHO,
    options: Partial<GrpcServerOptions> & ServeOptions = {},
  ): Promise<GrpcServer> {
    const tls = await this.ca.issue("service/test");
    const server = new GrpcServer({ tls, trustDomain: TRUST_DOMAIN, logger: this.log, ...options });
    server.addService(TestService, implementation, options.callers ?? CALLERS);
    options.also?.(server);
    this.#closing.push({ [Symbol.asyncDispose]: () => server.stop({ graceMs: 200 }) });
    this.port = await server.listen(`127.0.0.1:${this.port}`);
    return server;
  }

  /** A transport to the server; the caller is `client/alice` unless `tls` says otherwise. */
  async transport(options: Partial<GrpcTransportOptions> = {}): Promise<GrpcTransport> {
    this.#client ??= await this.ca.issue("client/alice");
    const transport = createGrpcTransport({
      address: this.address,
      tls: this.#client,
      trustDomain: TRUST_DOMAIN,
      expectedServer: "service/test",
      logger: this.log,
      ...options,
    });
    this.#closing.push(transport);
    return transport;
  }

  async client(options: Partial<GrpcTransportOptions> = {}): Promise<Client<Desc>> {
    return createClient(TestService, await this.transport(options));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const owner of this.#closing.splice(0).reverse()) await owner[Symbol.asyncDispose]();
    this.ca[Symbol.dispose]();
  }
}

export class MemoryLogger implements Logger {
  readonly lines: { readonly level: string; readonly fields: LogFields; readonly message: string }[] = [];
  debug = (fields: LogFields, message: string) => this.#add("debug", fields, message);
  info = (fields: LogFields, message: string) => this.#add("info", fields, message);
  warn = (fields: LogFields, message: string) => this.#add("warn", fields, message);
  error = (fields: LogFields, message: string) => this.#add("error", fields, message);
  fatal = (fields: LogFields, message: string) => this.#add("fatal", fields, message);
  child = () => this;

  #add(level: string, fields: LogFields, message: string): void {
    this.lines.push({ level, fields, message });
  }
}

export async function collect<T>(messages: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const message of messages) all.push(message);
  return all;
}

/** A promise's rejection. */
export async function rejection(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error("it did not fail");
}

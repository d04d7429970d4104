import { readFileSync } from "node:fs";
import { fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { credentials, loadPackageDefinition, type ServiceClientConstructor } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { protoPath } from "grpc-health-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { VoteService } from "../../gen/ts/psephos/vote/v1/vote_pb.js";
import { TRUST_DOMAIN } from "./ca.fixture.ts";
import { type HealthOptions, waitForHealthy } from "./health-client.ts";
import type { GrpcServer } from "./server.ts";
import { ECHO, Mesh, rejection } from "./service.fixture.ts";
import type { TlsFiles } from "./tls.ts";

// Health and reflection, asked by stock clients: grpc-js's own, made of the published .proto files.

let mesh: Mesh;
let server: GrpcServer;
let tls: TlsFiles;
beforeAll(async () => {
  mesh = await Mesh.create();
  server = await mesh.serve(ECHO);
  tls = await mesh.ca.issue("auditor/ann");
});
afterAll(() => mesh[Symbol.asyncDispose]());

interface StockClientOptions {
  readonly proto: string;
  readonly service: string;
  readonly address?: string;
  readonly tls?: TlsFiles;
}

function stockClient(options: StockClientOptions) {
  const definition = loadPackageDefinition(
    loadSync(options.proto, { longs: String, enums: String, oneofs: true }),
  );
  const found = options.service.split(".").reduce<unknown>((at, key) => Object(at)[key], definition);
  const Client = found as ServiceClientConstructor; // what grpc-js makes of a service
  const { caFile, keyFile, certFile } = options.tls ?? tls;
  const channel = credentials.createSsl(readFileSync(caFile), readFileSync(keyFile), readFileSync(certFile), {
    checkServerIdentity: () => undefined,
  });
  return new Client(options.address ?? mesh.address, channel, { "grpc.ssl_target_name_override": "test" });
}

/** Enough for a handshake and an answer on a machine that is busy. */
const ANSWERED_MS = 1_500;

describe("health", () => {
  const service = "grpc.health.v1.Health";
  const check = (name: string, files = tls) =>
    new Promise<string>((resolve) => {
      const client = stockClient({ proto: protoPath, service, tls: files });
      client.Check?.({ service: name }, (error: { code: number } | null, answer?: { status: string }) => {
        resolve(error === null ? String(answer?.status) : `code ${error.code}`);
        client.close();
      });
    });
  const options = (): HealthOptions => ({
    address: mesh.address,
    tls,
    trustDomain: TRUST_DOMAIN,
    expectedServer: "service/test",
    timeoutMs: 5_000,
  });

  test("of the process and of each service, for every member of the mesh", async () => {
    expect(await check("")).toBe("SERVING");
    expect(await check("psephos.test.v1.TestService")).toBe("SERVING");
    expect(await check("psephos.test.v1.Nothing")).toBe("code 5");
    expect(await check("", await mesh.ca.issueFor([{ type: "dns", value: "localhost" }]))).toBe("code 7");
  });

  test("is waited for", async () => {
    await waitForHealthy(options());
    await waitForHealthy({ ...options(), service: "psephos.test.v1.TestService" });
    server.setServing(false);
    setTimeout(() => server.setServing(true), 100);
    const began = performance.now();
    await waitForHealthy(options());
    expect(performance.now() - began).toBeGreaterThan(90);
  });

  test("is waited for before there is a server", async () => {
    await using own = await Mesh.create();
    await (await own.serve()).stop();
    const files = await own.ca.issue("client/alice");
    const healthy = waitForHealthy({ ...options(), address: own.address, tls: files });
    await own.serve(); // at the same port
    await healthy;
  });

  test("is not waited for for ever", async () => {
    server.setServing(false);
    expect(await rejection(waitForHealthy({ ...options(), timeoutMs: ANSWERED_MS }))).toMatchObject({
      kind: "deadline-exceeded",
      message: expect.stringContaining("NOT_SERVING"),
    });
    server.setServing(true);
    expect(
      await rejection(waitForHealthy({ ...options(), service: "x", timeoutMs: ANSWERED_MS })),
    ).toMatchObject({
      message: expect.stringContaining("NOT_FOUND"),
    });
    const nowhere = { ...options(), address: "127.0.0.1:1" };
    expect(await rejection(waitForHealthy({ ...nowhere, timeoutMs: ANSWERED_MS }))).toMatchObject({
      kind: "deadline-exceeded",
      message: expect.stringContaining("ECONNREFUSED"),
    });
    const began = performance.now();
    await rejection(waitForHealthy({ ...nowhere, signal: AbortSignal.timeout(50) }));
    expect(performance.now() - began).toBeLessThan(10_000);
  });

  test("goes first when the server stops, and its watchers are told", async () => {
    await using own = await Mesh.create();
    const stopping = await own.serve();
    const files = await own.ca.issue("auditor/ann");
    const client = stockClient({ proto: protoPath, service, address: own.address, tls: files });
    const watch = client.Watch?.({ service: "" });
    const heard: string[] = [];
    const ended = new Promise<number>((resolve) => {
      watch.on("data", (answer: { status: string }) => {
        heard.push(answer.status);
        if (heard.length === 1) void stopping.stop({ graceMs: 2_000 });
      });
      watch.on("error", (error: { code: number }) => resolve(error.code));
    });
    expect(await ended).toBe(14);
    expect(heard).toEqual(["SERVING", "NOT_SERVING"]);
    client.close();
  });
});

describe("reflection", () => {
  interface Answer {
    readonly listServicesResponse?: { readonly service: readonly { readonly name: string }[] };
    readonly fileDescriptorResponse?: { readonly fileDescriptorProto: readonly Buffer[] };
  }

  const ask = (version: string, address: string, question: object) =>
    new Promise<Answer>((resolve, reject) => {
      const proto = `node_modules/@grpc/reflection/build/proto/grpc/reflection/${version}/reflection.proto`;
      const client = stockClient({ proto, service: `grpc.reflection.${version}.ServerReflection`, address });
      const call = client.ServerReflectionInfo?.();
      call.on("data", resolve);
      call.on("error", reject);
      call.on("end", () => client.close());
      call.end(question);
    });

  test.each(["v1", "v1alpha"])("%s lists the services and describes them", async (version) => {
    await using own = await Mesh.create();
    await own.serve(ECHO, {
      tls: await mesh.ca.issue("service/test"),
      also: (to) => to.addService(VoteService, {}, { castVote: [], castVotes: [], getVote: [] }),
    });
    const list = await ask(version, own.address, { listServices: "*" });
    expect(list.listServicesResponse?.service).toEqual([
      { name: "psephos.test.v1.TestService" },
      { name: "psephos.vote.v1.VoteService" },
    ]);
    const symbol = "psephos.vote.v1.VoteService.CastVotes";
    const { fileDescriptorResponse } = await ask(version, own.address, { fileContainingSymbol: symbol });
    const files = fileDescriptorResponse?.fileDescriptorProto.map((bytes) =>
      fromBinary(FileDescriptorProtoSchema, bytes),
    );
    expect(files?.map((file) => file.name)).toContain("google/rpc/status.proto");
    expect(files?.flatMap((file) => file.service.map(({ name }) => name))).toContain("VoteService");
  });
});

import { once } from "node:events";
import { createServer } from "node:http2";
import type { AddressInfo } from "node:net";
import { Code, ConnectError, type ConnectRouter, createClient } from "@connectrpc/connect";
import { connectNodeAdapter, createConnectTransport } from "@connectrpc/connect-node";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  RetryInfoSchema,
} from "../../gen/ts/google/rpc/error_details_pb.js";
import { ServiceError } from "../core/errors.ts";
import { connectErrors, toConnectError } from "./connect-errors.ts";
import { collect, MemoryLogger, rejection, TestService } from "./service.fixture.ts";

const logger = new MemoryLogger();
let toThrow: unknown;
const fail = () => {
  throw toThrow;
};
const routes = (router: ConnectRouter) =>
  router.service(TestService, {
    unary: fail,
    async *answers() {
      yield { value: Uint8Array.of(1) };
      fail();
    },
  });
const server = createServer(connectNodeAdapter({ routes, interceptors: [connectErrors({ logger })] }));
let client: ReturnType<typeof createClient<typeof TestService>>;

beforeAll(async () => {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo; // it listens on TCP
  client = createClient(
    TestService,
    createConnectTransport({ baseUrl: `http://127.0.0.1:${port}`, httpVersion: "2" }),
  );
});
afterAll(() => server.close());
beforeEach(() => {
  logger.lines.length = 0;
});

test.each([
  ["unary", () => rejection(client.unary({}))],
  ["amid answers", () => rejection(collect(client.answers({})))],
])("a ServiceError has its code and details over HTTP: %s", async (_, call) => {
  toThrow = new ServiceError("already-exists", "has voted", {
    reason: "ALREADY_VOTED",
    fields: [{ field: "voter_id", description: "has voted" }],
    retryDelayMs: 1500,
    cause: new Error("secret"),
  });
  const error = ConnectError.from(await call());
  expect(error.code).toBe(Code.AlreadyExists);
  expect(error.rawMessage).toBe("has voted");
  expect(error.findDetails(ErrorInfoSchema)).toMatchObject([{ reason: "ALREADY_VOTED", domain: "psephos" }]);
  expect(error.findDetails(BadRequestSchema)).toMatchObject([
    { fieldViolations: [{ field: "voter_id", description: "has voted" }] },
  ]);
  expect(error.findDetails(RetryInfoSchema)).toMatchObject([
    { retryDelay: { seconds: 1n, nanos: 500_000_000 } },
  ]);
  expect(logger.lines).toEqual([]);
});

test.each([
  ["unary", () => rejection(client.unary({}))],
  ["amid answers", () => rejection(collect(client.answers({})))],
])("anything else is INTERNAL without its text, which is logged: %s", async (_, call) => {
  toThrow = new Error("secret");
  const error = ConnectError.from(await call());
  expect(error.code).toBe(Code.Internal);
  expect(error.rawMessage).toBe("internal error");
  expect(logger.lines).toMatchObject([{ level: "error", fields: { error: toThrow } }]);
});

test("Connect's own errors stay what they are", () => {
  const error = new ConnectError("not JSON", Code.InvalidArgument);
  expect(toConnectError(error)).toBe(error);
});

import { once } from "node:events";
import { readFileSync } from "node:fs";
import { Agent, request } from "node:https";
import { setTimeout as delay } from "node:timers/promises";
import { connect, type PeerCertificate, type TLSSocket } from "node:tls";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { ServiceError } from "../core/errors.ts";
import { TestCa } from "../grpc/ca.fixture.ts";
import { readTls, type TlsFiles } from "../grpc/tls.ts";
import { createLogger } from "../telemetry/logger.ts";
import { HttpsEdge, type HttpsEdgeOptions } from "./https-edge.ts";
import type { JsonCall, JsonReply } from "./json-endpoint.ts";

let ca: TestCa;
let server: TlsFiles;
let client: TlsFiles;
let edge: HttpsEdge;
let log: string[];
let handle: (call: JsonCall) => Promise<JsonReply>;

beforeAll(async () => {
  ca = await TestCa.create();
  server = await ca.issue("service/test");
  client = await ca.issue("client/test");
});
afterAll(() => ca[Symbol.dispose]());

const listen = async (changes: Partial<HttpsEdgeOptions> = {}) => {
  edge = await HttpsEdge.listen({
    host: "127.0.0.1",
    port: 0,
    tls: readTls(server),
    callerOf: () => () => {},
    endpoints: [{ path: "/echo", maxBytes: 1_000, handle: (call) => handle(call) }],
    procedures: { has: () => false, serve: async () => {} },
    maxConnections: 10,
    logger: createLogger({
      service: "test",
      level: "debug",
      destination: { write: (line) => log.push(line) },
    }),
    ...changes,
  });
};

beforeEach(async () => {
  log = [];
  handle = async ({ body }) => ({ status: 200, body });
  await listen();
});
afterEach(() => edge[Symbol.asyncDispose]());

const tlsOf = ({ caFile, certFile, keyFile }: TlsFiles) => ({
  ca: readFileSync(caFile),
  cert: readFileSync(certFile),
  key: readFileSync(keyFile),
  // The test's certificates name identities and no hosts.
  checkServerIdentity: () => undefined,
});

function post(body: string, options: { agent?: Agent; headers?: Record<string, string> } = {}) {
  return new Promise<{ status: number; text: string }>((resolve, reject) => {
    const sent = request(
      {
        host: "127.0.0.1",
        port: edge.port,
        path: "/echo",
        method: "POST",
        ...tlsOf(client),
        agent: options.agent ?? new Agent({ keepAlive: false }),
        headers: { "content-type": "application/json", ...options.headers },
      },
      async (response) => {
        response.setEncoding("utf8");
        let text = "";
        for await (const chunk of response) text += chunk;
        resolve({ status: response.statusCode ?? 0, text });
      },
    );
    sent.on("error", reject);
    sent.end(body);
  });
}

/** The beginning of a request that goes over a socket by hand. */
const HEAD = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";

async function open(): Promise<TLSSocket> {
  const socket = connect({ host: "127.0.0.1", port: edge.port, ...tlsOf(client) });
  socket.on("error", () => {});
  await once(socket, "secureConnect");
  return socket;
}

test("JSON goes in and out", async () => {
  expect(await post('{"a":[1,"é"]}')).toEqual({ status: 200, text: '{"a":[1,"é"]}' });
});

test("TLS 1.3 is the least", async () => {
  const socket = connect({
    host: "127.0.0.1",
    port: edge.port,
    ...tlsOf(client),
    minVersion: "TLSv1.2",
    maxVersion: "TLSv1.2",
  });
  const [error] = await once(socket, "error");
  expect(error).toMatchObject({ code: "ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION" });
});

test("who calls is asked once for a connection, what they may ask for each time", async () => {
  await edge[Symbol.asyncDispose]();
  let asked = 0;
  const paths: string[] = [];
  await listen({
    callerOf: (certificate) => {
      asked++;
      expect(certificate.subjectAltName).toBe("URI:spiffe://psephos.test/client/test");
      return (path) => {
        paths.push(path);
        if (paths.length > 2) throw new ServiceError("permission-denied", "enough");
      };
    },
  });
  const socket = await open();
  const statuses: (string | undefined)[] = [];
  for (let i = 0; i < 3; i++) {
    socket.write(`${HEAD}Content-Length: 1\r\n\r\n1`);
    const [answer] = await once(socket, "data");
    statuses.push(/^HTTP\/1\.1 (\d+)/.exec(String(answer))?.[1]);
  }
  socket.destroy();
  expect(statuses).toEqual(["200", "200", "403"]);
  expect(asked).toBe(1);
  expect(paths).toEqual(["/echo", "/echo", "/echo"]);
});

test("a fault is 500 without its text, logged with it, and the connection goes on", async () => {
  handle = async () => {
    throw new TypeError("a bug");
  };
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const reply = await post("1", { agent });
  expect([reply.status, reply.text.includes("bug")]).toEqual([500, false]);
  expect(log.join()).toContain("a bug");
  handle = async () => ({ status: 200, body: "fine" });
  expect((await post("1", { agent })).status).toBe(200);
  agent.destroy();
});

test("what the caller got wrong is not logged", async () => {
  handle = async () => {
    throw new ServiceError("invalid-argument", "a mistake");
  };
  expect((await post("1")).status).toBe(400);
  expect(log).toEqual([]);
});

test("a body in chunks is measured as it comes", async () => {
  const socket = await open();
  socket.write(`${HEAD}Transfer-Encoding: chunked\r\n\r\n`);
  for (let i = 0; i < 3; i++) socket.write(`200\r\n${"x".repeat(512)}\r\n`);
  const [answer] = await once(socket, "data");
  expect(String(answer)).toMatch(/^HTTP\/1\.1 413 /);
  await once(socket, "close");
});

test("a caller that hangs up before its answer leaves nothing in the log", async () => {
  const begun = Promise.withResolvers<void>();
  const finish = Promise.withResolvers<void>();
  handle = async () => {
    begun.resolve();
    await finish.promise;
    throw new TypeError("nobody is there to hear it");
  };
  const socket = await open();
  socket.write(`${HEAD}Content-Length: 1\r\n\r\n1`);
  await begun.promise;
  socket.destroy();
  await delay(50);
  finish.resolve();
  await delay(50);
  expect(log).toEqual([]);
});

test("headers beyond 16 KiB are refused", async () => {
  expect((await post("1", { headers: { "x-long": "x".repeat(17_000) } })).status).toBe(431);
});

test("more connections than allowed are closed, and room is made again", async () => {
  const sockets = await Promise.all(Array.from({ length: 10 }, () => open()));
  await expect(post("1")).rejects.toThrow();
  sockets[0]?.destroy();
  await delay(50);
  expect((await post("1")).status).toBe(200);
  for (const socket of sockets) socket.destroy();
});

test("a renewed certificate is shown to new connections, and the old ones go on", async () => {
  const shown = (socket: TLSSocket): PeerCertificate["fingerprint256"] =>
    socket.getPeerCertificate().fingerprint256;
  const before = await open();
  edge.update(readTls(await ca.issue("service/test")));
  const after = await open();
  expect(shown(after)).not.toBe(shown(before));
  before.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  expect(String((await once(before, "data"))[0])).toMatch(/^HTTP\/1\.1 404 /);
  for (const socket of [before, after]) socket.destroy();
});

test("stopping lets a call end, closes idle connections and takes no new one", async () => {
  const begun = Promise.withResolvers<void>();
  handle = async () => {
    begun.resolve();
    await delay(100);
    return { status: 200, body: "done" };
  };
  const idle = await open();
  const answer = post("1", { agent: new Agent({ keepAlive: true }) });
  await begun.promise;
  const port = edge.port;
  const stopped = edge[Symbol.asyncDispose]();
  const refused = once(connect({ host: "127.0.0.1", port, ...tlsOf(client) }), "error");
  expect((await refused)[0]).toMatchObject({ code: "ECONNREFUSED" });
  expect(await answer).toEqual({ status: 200, text: '"done"' });
  await stopped;
  if (!idle.closed) await once(idle, "close");
  await listen();
});

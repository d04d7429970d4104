import { once } from "node:events";
import { request as httpRequest } from "node:http";
import { connect, type Socket } from "node:net";
import { text } from "node:stream/consumers";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { connectErrors } from "../grpc/connect-errors.ts";
import { addressSet } from "../http/client-address.ts";
import { ConnectEdge } from "../http/connect-edge.ts";
import { type PublisherReads, routeDigestReads, streamCounter } from "./digest-service.ts";
import { type PublicHttpLimits, PublicHttpServer } from "./public-http.ts";
import type { Publisher } from "./publisher.ts";
import { TestElection } from "./test-election.ts";
import { Outsider } from "./test-outsider.ts";
import { TestDirectories, testClientLimits } from "./test-publisher.ts";

const ELECTION = "/vermont-2020";
const FOR_GOOD = "public, max-age=604800, immutable";

let directories: TestDirectories;
let publisher: Publisher;
let server: PublicHttpServer;
const election = new TestElection().grow(300);

beforeEach(async () => {
  directories = await TestDirectories.create({ inMemory: true });
  publisher = await directories.open(election);
  await publisher.submit(election.id, election.head());
  server = await listen();
});

afterEach(async () => {
  await server[Symbol.asyncDispose]();
  await publisher[Symbol.asyncDispose]();
  await directories[Symbol.asyncDispose]();
});

type Reading = PublisherReads & Pick<Publisher, "version">;

function listen(
  limits: Partial<PublicHttpLimits> = {},
  reading: Reading = publisher,
  clients = testClientLimits(),
): Promise<PublicHttpServer> {
  const { logger, publisherMetrics: metrics } = directories;
  const procedures = new ConnectEdge({
    routes: (router) => {
      routeDigestReads(router, { publisher: reading, openStream: streamCounter(clients) });
    },
    maxBytes: 4096,
    maxTimeoutMs: 10_000,
    errors: connectErrors({ logger }),
  });
  return PublicHttpServer.listen({
    files: reading,
    host: "127.0.0.1",
    port: 0,
    procedures,
    logger,
    metrics,
    limits,
    clients,
  });
}

/** fetch tidies paths up before it sends them; this does not. */
async function send(path: string, options: { method?: string; headers?: Record<string, string> } = {}) {
  const sent = httpRequest(server.url, { path, agent: false, ...options });
  const [response] = await once(sent.end(), "response");
  return { status: response.statusCode, headers: response.headers, body: await text(response) };
}

async function raw(bytes: string): Promise<string> {
  const socket = await open();
  socket.end(bytes);
  return text(socket);
}

async function open(): Promise<Socket> {
  const socket = connect(Number(new URL(server.url).port), "127.0.0.1");
  await once(socket, "connect");
  return socket;
}

/** Resolves when a connection has ended, in order or not. */
function closing(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.on("error", () => {}).once("close", () => resolve()));
}

/** Somebody on the other side of the network. */
function outsider(): Outsider {
  return new Outsider({
    logKey: election.logKey,
    fetch: async (path) => {
      const response = await fetch(`${server.url}${ELECTION}/${path}`);
      if (response.status === 404) return undefined;
      expect(response.status).toBe(200);
      return Buffer.from(await response.arrayBuffer());
    },
  });
}

test("an outsider can check everything", async () => {
  expect(await outsider().check()).toBe(300);
});

test("whoever sees a checkpoint can fetch its tiles, while the log grows", async () => {
  const log = election.fork();
  await publisher[Symbol.asyncDispose]();
  publisher = await directories.open(log);
  await server[Symbol.asyncDispose]();
  server = await listen();
  const watcher = outsider();
  let growing = true;
  const growth = (async () => {
    for (let size = 320; size <= 1500; size += 59) await publisher.submit(log.id, log.grow(size).head());
    growing = false;
  })();
  const sizes = new Set<number>();
  while (growing) sizes.add(await watcher.check());
  await growth;
  expect(sizes.size).toBeGreaterThan(2);
  expect(await watcher.check()).toBe(1500);
});

describe("files", () => {
  test.each([
    ["checkpoint", "text/plain; charset=utf-8", "public, max-age=1"],
    ["manifest.json", "application/json", FOR_GOOD],
    ["tile/0/000", "application/octet-stream", FOR_GOOD],
    ["tile/0/001.p/44", "application/octet-stream", FOR_GOOD],
    ["tile/1/000.p/1", "application/octet-stream", FOR_GOOD],
    ["tile/entries/000", "application/octet-stream", FOR_GOOD],
    ["tile/entries/001.p/44", "application/octet-stream", FOR_GOOD],
  ])("%s has its type and its caching", async (path, type, caching) => {
    const response = await fetch(`${server.url}${ELECTION}/${path}`);
    const body = Buffer.from(await response.arrayBuffer());
    expect(response.status).toBe(200);
    expect(body.equals((await directories.file(`vermont-2020/${path}`)) ?? Buffer.alloc(0))).toBe(true);
    expect(Object.fromEntries(response.headers)).toMatchObject({
      "content-type": type,
      "content-length": String(body.length),
      "cache-control": caching,
      "access-control-allow-origin": "*",
      "x-content-type-options": "nosniff",
      etag: expect.stringMatching(/^"[0-9a-f]{32}"$/),
    });
  });

  test("a numbered checkpoint is text for good", async () => {
    const log = election.fork().close();
    await publisher[Symbol.asyncDispose]();
    publisher = await directories.open(log);
    const note = await publisher.submit(log.id, log.head());
    await server[Symbol.asyncDispose]();
    server = await listen();
    const { body, headers } = await send(`${ELECTION}/checkpoints/0000000001`);
    expect(body).toBe(note);
    expect(headers).toMatchObject({ "content-type": "text/plain; charset=utf-8", "cache-control": FOR_GOOD });
  });

  test("HEAD has the head of GET", async () => {
    for (const path of ["checkpoint", "tile/0/000", "manifest.json"]) {
      const [get, head] = [
        await send(`${ELECTION}/${path}`),
        await send(`${ELECTION}/${path}`, { method: "HEAD" }),
      ];
      expect(head.status).toBe(200);
      expect(head.body).toBe("");
      expect({ ...head.headers, date: "" }).toEqual({ ...get.headers, date: "" });
    }
    expect(await send(`${ELECTION}/tile/0/009`, { method: "HEAD" })).toMatchObject({ status: 404, body: "" });
  });

  test("a known entity tag is answered without the body", async () => {
    const path = `${ELECTION}/tile/0/000`;
    const { headers } = await send(path);
    const etag = headers.etag ?? "";
    for (const known of [etag, `W/${etag}`, `"a", ${etag}`, "*"]) {
      const response = await send(path, { headers: { "If-None-Match": known } });
      expect(response).toMatchObject({ status: 304, body: "", headers: { etag, "cache-control": FOR_GOOD } });
    }
    for (const unknown of ['"a"', etag.slice(1, -1), ""]) {
      expect(await send(path, { headers: { "If-None-Match": unknown } })).toMatchObject({ status: 200 });
    }
  });

  test("a query makes no difference", async () => {
    expect(await send(`${ELECTION}/checkpoint?now=1`)).toMatchObject({ status: 200 });
  });

  test("the index names the elections and their keys", async () => {
    const { body, headers } = await send("/");
    expect(JSON.parse(body)).toEqual({
      elections: [{ election_id: "vermont-2020", log_key: election.logKey }],
    });
    expect(headers).toMatchObject({
      "content-type": "application/json",
      "cache-control": "public, max-age=1",
    });
  });
});

describe("what is not there", () => {
  test.each([
    "/other/checkpoint",
    "/vermont-2020",
    "/vermont-2020/",
    "/vermont-2020/checkpoints",
    "/vermont-2020/checkpoints/0000000001",
    "/vermont-2020/checkpoints/1",
    "/vermont-2020/tile",
    "/vermont-2020/tile/0",
    "/vermont-2020/tile/0/002",
    "/vermont-2020/tile/0/001",
    "/vermont-2020/tile/0/001.p",
    "/vermont-2020/tile/0/001.p/0",
    "/vermont-2020/tile/0/001.p/256",
    "/vermont-2020/tile/0/001.p/044",
    "/vermont-2020/tile/0/1",
    "/vermont-2020/tile/0/000/",
    "/vermont-2020/tile/64/000",
    "/vermont-2020/tile/-1/000",
    "/vermont-2020/checkpoint/",
    "//vermont-2020/checkpoint",
    "/Vermont-2020/checkpoint",
    "/vermont-2020/CHECKPOINT",
    "/vermont-2020/manifest.json%00",
    "/favicon.ico",
  ])("%s is 404, in no cache", async (path) => {
    const { status, headers, body } = await send(path);
    expect(status).toBe(404);
    expect(headers).toMatchObject({
      "content-type": "application/problem+json",
      "cache-control": "no-store",
      "access-control-allow-origin": "*",
    });
    expect(headers.etag).toBeUndefined();
    expect(JSON.parse(body)).toMatchObject({ status: 404 });
  });

  // The state directory is beside the public one, and its note is as public as its name is well known.
  test.each([
    "/../state/vermont-2020.checkpoint",
    "/vermont-2020/../../state/vermont-2020.checkpoint",
    "/vermont-2020/tile/../checkpoint",
    "/vermont-2020/tile/0/../../checkpoint",
    "/vermont-2020/./checkpoint",
    "/%2e%2e/state/vermont-2020.checkpoint",
    "/vermont-2020/%2e%2e/%2e%2e/state/vermont-2020.checkpoint",
    "/vermont-2020/..%2f..%2fstate%2fvermont-2020.checkpoint",
    "/vermont-2020%2fcheckpoint",
    "/vermont-2020/tile/entries/..\\..\\..\\checkpoint",
    "/..;/state/vermont-2020.checkpoint",
    "/.lock",
    "/.staging/1",
    "/.staging",
    "/..",
    "/../../../../../../etc/passwd",
    "/vermont-2020/../../../../../../etc/passwd",
    "//etc/passwd",
    "/vermont-2020//etc/passwd",
    "http://localhost/vermont-2020/checkpoint",
    "vermont-2020/checkpoint",
    "*",
  ])("%s leads nowhere", async (path) => {
    expect(await raw(`GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`)).toMatch(
      /^HTTP\/1\.1 40[04] /,
    );
  });
});

describe("methods", () => {
  test.each(["POST", "PUT", "DELETE", "PATCH", "PROPFIND"])("%s is not allowed on a file", async (method) => {
    const response = await send(`${ELECTION}/checkpoint`, { method });
    expect(response).toMatchObject({
      status: 405,
      headers: { allow: "GET, HEAD, OPTIONS", "cache-control": "no-store" },
    });
  });

  test("OPTIONS lets scripts of any site read and call", async () => {
    const { status, headers } = await send("/psephos.digest.v1.DigestService/GetManifest", {
      method: "OPTIONS",
    });
    expect(status).toBe(204);
    expect(headers["access-control-allow-origin"]).toBe("*");
    expect(headers["access-control-allow-methods"]).toContain("POST");
    expect(headers["access-control-allow-headers"]).toContain("Connect-Protocol-Version");
  });
});

describe("DigestService over Connect", () => {
  const call = (method: string, message: unknown, headers: Record<string, string> = {}) =>
    fetch(`${server.url}/psephos.digest.v1.DigestService/${method}`, {
      method: "POST",
      headers: { "Content-Type": "application/json", ...headers },
      body: typeof message === "string" ? message : JSON.stringify(message),
    });

  test("answers what is published", async () => {
    const electionId = "vermont-2020";
    const latest = await call("GetLatestCheckpoint", { electionId });
    expect(latest.headers.get("access-control-allow-origin")).toBe("*");
    expect(await latest.json()).toEqual({ note: String(await directories.file("vermont-2020/checkpoint")) });
    const manifest = await call("GetManifest", { electionId });
    expect(await manifest.json()).toEqual({ manifest: Buffer.from(election.manifest).toString("base64") });
    const key = await call("GetLogKey", { electionId: "not-there-yet" });
    expect(await key.json()).toMatchObject({ verifierKey: publisher.logKey("not-there-yet" as never) });
  });

  test.each([
    ["GetLatestCheckpoint", { electionId: "other" }, 404, "not_found"],
    ["GetCheckpoint", { electionId: "vermont-2020", number: "1" }, 404, "not_found"],
    ["GetCheckpoint", { electionId: "vermont-2020" }, 400, "invalid_argument"],
    [
      "GetCheckpoint",
      { electionId: "vermont-2020", number: "18446744073709551615" },
      400,
      "invalid_argument",
    ],
    ["GetManifest", { electionId: "../state" }, 400, "invalid_argument"],
    ["GetManifest", {}, 400, "invalid_argument"],
  ])("%s of %o is refused with %i", async (method, message, status, code) => {
    const response = await call(method, message);
    expect(response.status).toBe(status);
    expect(await response.json()).toMatchObject({ code });
  });

  test("has no SubmitHead", async () => {
    const response = await call("SubmitHead", { electionId: "vermont-2020" });
    expect(response.status).toBe(404);
  });

  test("refuses what is no request, and goes on", async () => {
    const { status } = await call("GetManifest", "{");
    expect(status).toBe(400);
    expect((await call("GetManifest", "\u0000\u00ff", { "Content-Type": "application/proto" })).status).toBe(
      400,
    );
    expect((await call("GetManifest", { electionId: "a".repeat(5000) })).status).toBeGreaterThanOrEqual(400);
    expect((await call("GetManifest", "x", { "Content-Type": "text/html" })).status).toBe(415);
    const path = "/psephos.digest.v1.DigestService/GetManifest";
    expect((await send(path)).status).toBe(405);
    const head = `POST ${path} HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: 2\r\n`;
    expect(await raw(`${head}\r\n{}`)).toMatch(/^HTTP\/1\.1 400 /);
    expect(await raw(`${head}Host: [\r\n\r\n{}`)).toMatch(/^HTTP\/1\.1 400 /);
    expect((await call("GetManifest", { electionId: "vermont-2020" })).status).toBe(200);
  });
});

describe("strangers", () => {
  async function restartWith(limits: Partial<PublicHttpLimits>): Promise<void> {
    await server[Symbol.asyncDispose]();
    server = await listen(limits);
  }

  test("who open connections and say nothing, or say it slowly, are hung up on", async () => {
    await restartWith({ requestMs: 200, idleMs: 1000 });
    const silent = await open();
    const slow = await open();
    slow.write("GET / HTTP/1.1\r\nHost: a\r\n");
    const drip = setInterval(() => slow.write("X-A: b\r\n"), 50);
    const slowBody = await open();
    slowBody.write(
      "POST /psephos.digest.v1.DigestService/GetManifest HTTP/1.1\r\nHost: a\r\n" +
        "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
    );
    const sockets = [silent, slow, slowBody];
    for (const socket of sockets) socket.resume();
    await Promise.all(sockets.map(closing));
    clearInterval(drip);
    expect((await send("/")).status).toBe(200);
  });

  test("who do not read their answers are hung up on", async () => {
    await restartWith({ idleMs: 300 });
    const socket = await open();
    const closed = closing(socket);
    // More answers than the kernel's buffers take, and nobody reads them.
    const request = `GET ${ELECTION}/tile/entries/000 HTTP/1.1\r\nHost: a\r\n\r\n`;
    socket.pause().write(request.repeat(4000));
    // That the server has hung up shows in writing: what it had sent is still there to be read.
    const prod = setInterval(() => socket.write(request), 100);
    await closed;
    clearInterval(prod);
    expect(socket.bytesRead).toBeLessThan(4000 * 11_520);
  });

  test("who take every connection get no more than there are, and the rest is served when they leave", async () => {
    await restartWith({ connections: 20 });
    const sockets: Socket[] = [];
    for (let count = 0; count < 50; count++) {
      const socket = connect(Number(new URL(server.url).port), "127.0.0.1");
      socket.on("error", () => {}).resume();
      sockets.push(socket);
    }
    await expect.poll(() => sockets.filter((socket) => socket.closed).length).toBe(30);
    for (const socket of sockets) socket.destroy();
    await expect.poll(async () => (await send("/").catch(() => undefined))?.status).toBe(200);
  });

  test("who come by the hundred are all answered", async () => {
    const { length } = (await directories.file("vermont-2020/tile/entries/000")) ?? "";
    const answers = await Promise.all(
      Array.from({ length: 300 }, () => send(`${ELECTION}/tile/entries/000`)),
    );
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
    expect(new Set(answers.map(({ headers }) => headers["content-length"]))).toEqual(
      new Set([String(length)]),
    );
  });

  test("who send too much of a head are told so", async () => {
    const long = `GET / HTTP/1.1\r\nHost: a\r\nX: ${"a".repeat(10_000)}\r\n\r\n`;
    expect(await raw(long)).toMatch(/^HTTP\/1\.1 431 /);
    expect(await raw("\x16\x03\x01\x02\x00\x01\x00")).toMatch(/^HTTP\/1\.1 400 /);
  });
});

describe("a flood", () => {
  /** The status of an answer to somebody at another address of this machine, which all of 127.0.0.0/8 is. */
  async function statusFrom(localAddress: string, headers: Record<string, string> = {}) {
    const sent = httpRequest(server.url, {
      path: `${ELECTION}/checkpoint`,
      agent: false,
      localAddress,
      headers,
    });
    const [response] = await once(sent.end(), "response");
    response.resume();
    return { status: response.statusCode, retryAfter: response.headers["retry-after"] };
  }
  const limits = { requestsPerSecond: 1, burst: 50, connections: 30 };

  async function restart(changes: Parameters<typeof testClientLimits>[0]): Promise<void> {
    await server[Symbol.asyncDispose]();
    server = await listen({}, publisher, testClientLimits({ ...limits, ...changes }));
  }

  test("of requests is told when to come again, and others are served meanwhile", async () => {
    await restart({});
    const answers = [];
    for (let round = 0; round < 20; round++) {
      answers.push(...(await Promise.all(Array.from({ length: 20 }, () => statusFrom("127.0.0.2")))));
      expect(await statusFrom("127.0.0.3")).toMatchObject({ status: 200 });
      expect(await statusFrom("127.0.0.1")).toMatchObject({ status: 200 });
    }
    const refused = answers.filter(({ status }) => status === 429);
    expect(answers.filter(({ status }) => status === 200).length).toBeLessThan(50 + 20);
    expect(refused.length).toBeGreaterThan(300);
    expect(new Set(refused.map(({ retryAfter }) => retryAfter))).toEqual(new Set(["1"]));
    expect(await directories.metrics.render()).toMatch(/public_requests_total\{.*status="429".*\} [1-9]/);
  });

  test("of one behind a proxy is told from the others behind it", async () => {
    await restart({ burst: 3, trustedProxies: addressSet(["127.0.0.4"]) });
    const as = (client: string) => statusFrom("127.0.0.4", { "X-Forwarded-For": client });
    for (let i = 0; i < 3; i++) expect(await as("192.0.2.1")).toMatchObject({ status: 200 });
    expect(await as("192.0.2.1")).toMatchObject({ status: 429 });
    expect(await as("9.9.9.9, 192.0.2.1")).toMatchObject({ status: 429 });
    expect(await as("192.0.2.2")).toMatchObject({ status: 200 });
  });

  test("of connections gets no more than a client may have, and leaves room for others", async () => {
    await restart({});
    const port = Number(new URL(server.url).port);
    const sockets = Array.from({ length: 60 }, () =>
      connect({ port, host: "127.0.0.1", localAddress: "127.0.0.2" })
        .on("error", () => {})
        .resume(),
    );
    await expect.poll(() => sockets.filter((socket) => socket.closed).length).toBe(30);
    expect(await statusFrom("127.0.0.3")).toMatchObject({ status: 200 });
    for (const socket of sockets) socket.destroy();
    await expect.poll(() => statusFrom("127.0.0.2").catch(() => undefined)).toMatchObject({ status: 200 });
  });
});

test("a file that cannot be read is a 500 without its reason", async () => {
  await server[Symbol.asyncDispose]();
  const read = () => Promise.reject(new Error("EIO: /secret/path"));
  server = await listen(
    {},
    {
      logKey: () => "",
      heads: () => undefined,
      newest: () => undefined,
      read,
      version: async () => ({ ino: 1, size: 1, mtimeMs: 1 }),
    },
  );
  const { status, body } = await send(`${ELECTION}/checkpoint`);
  expect(status).toBe(500);
  expect(body).not.toContain("secret");
  expect(directories.logged).toContainEqual(expect.objectContaining({ message: "a public request failed" }));
});

test("a stop lets answers under way end, and closes idle connections", async () => {
  const idle = await open();
  const closed = closing(idle.resume());
  await send("/");
  await server[Symbol.asyncDispose]();
  await closed;
  server = await listen();
});

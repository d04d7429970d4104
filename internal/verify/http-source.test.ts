import { once } from "node:events";
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, expect, test } from "vitest";
import { httpSource, SourceError, SourceGoneError } from "./http-source.ts";

let server: Server | undefined;
/** The paths asked for, in order. */
const asked: string[] = [];

afterEach(() => {
  server?.closeAllConnections();
  server?.close();
  asked.length = 0;
});

const HASTY = { timeoutMs: 200, attempts: 2, failures: 4 };

/** A source whose server answers with `listener`. */
async function serve(listener: RequestListener, limits = HASTY) {
  server = createServer((request, response) => {
    asked.push(request.url ?? "");
    listener(request, response);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  // A listening TCP server's address is an AddressInfo.
  const { port } = server.address() as AddressInfo;
  return httpSource(`http://127.0.0.1:${port}/`, "test", limits);
}

test("reads an object, whatever its bytes, from below the election", async () => {
  const bytes = Uint8Array.from({ length: 70_000 }, (_, i) => i & 255);
  const source = await serve((_, response) => response.end(bytes));
  const read = await source("tile/0/x001/234.p/7");
  expect(read).toEqual(bytes);
  expect(read?.constructor).toBe(Uint8Array);
  expect(asked).toEqual(["/test/tile/0/x001/234.p/7"]);
});

test("404 means that there is none, and is not asked twice", async () => {
  const source = await serve((_, response) => response.writeHead(404).end("nothing"));
  expect(await source("checkpoint")).toBeUndefined();
  expect(asked).toHaveLength(1);
});

test.each([500, 503, 429])("%i is asked again, and may be better", async (status) => {
  const source = await serve((_, response) => {
    if (asked.length === 1) response.writeHead(status).end();
    else response.end("fine");
  });
  expect(new TextDecoder().decode(await source("checkpoint"))).toBe("fine");
  expect(asked).toHaveLength(2);
});

test.each([
  [500, 2],
  [403, 1],
  [204, 1],
  [302, 1],
])("%i for good is an error after %i attempts", async (status, attempts) => {
  const source = await serve((_, response) => response.writeHead(status, { location: "/elsewhere" }).end());
  await expect(source("checkpoint")).rejects.toThrow(new RegExp(`/test/checkpoint: HTTP status ${status}`));
  // A redirect is not followed: what is elsewhere is not the public log.
  expect(asked).toEqual(Array.from({ length: attempts }, () => "/test/checkpoint"));
});

test("more bytes than any object has are not read to their end", async () => {
  let sent = 0;
  const source = await serve(
    (_, response) => {
      const chunk = Buffer.alloc(1 << 20);
      const more = () => {
        while (!response.destroyed && response.write(chunk)) sent++;
      };
      response.on("drain", more);
      more();
    },
    { ...HASTY, timeoutMs: 20_000 },
  );
  await expect(source("tile/0/000")).rejects.toThrow(/more than \d+ bytes/);
  expect(asked).toHaveLength(1);
  expect(sent).toBeLessThan(64);
});

test.each<[string, RequestListener]>([
  ["says nothing", () => {}],
  [
    "stops amid an answer",
    (_, response) => response.writeHead(200, { "content-length": "100" }).write("half"),
  ],
  ["closes the connection", (request) => request.socket.destroy()],
  ["sends too little", (_, response) => response.writeHead(200, { "content-length": "100" }).end("half")],
])("a server that %s costs its time limit, and then is an error", async (_, listener) => {
  const source = await serve(listener);
  const started = performance.now();
  await expect(source("checkpoint")).rejects.toThrow(SourceError);
  expect(performance.now() - started).toBeLessThan(5_000);
  expect(asked).toHaveLength(HASTY.attempts);
});

test("a server that fails for several objects is not asked any more", async () => {
  const source = await serve((_, response) => response.writeHead(500).end());
  for (let i = 0; i < HASTY.failures; i++) {
    await expect(source(`tile/0/00${i}`)).rejects.not.toThrow(SourceGoneError);
  }
  await expect(source("tile/0/009")).rejects.toThrow(SourceGoneError);
  expect(asked).toHaveLength(HASTY.failures * HASTY.attempts);
});

test("nobody there", async () => {
  const source = await serve(() => {});
  server?.close();
  await expect(source("checkpoint")).rejects.toThrow(/test\/checkpoint: .*ECONNREFUSED/);
});

import { once } from "node:events";
import { type AddressInfo, createServer, type Server } from "node:net";
import type { PeerCertificate } from "node:tls";
import { expect, test } from "vitest";
import { ServerAddress } from "./server-address.ts";

test.each([
  ["tls://nats.internal:4222", "nats.internal", 4222],
  ["nats://10.0.0.7:1", "10.0.0.7", 1],
  ["tls://[::1]:65535/", "::1", 65535],
])("%s", (url, hostname, port) => {
  expect(new ServerAddress(url)).toMatchObject({ hostname, port });
});

test.each([
  "",
  "nats.internal",
  "nats.internal:4222",
  "tls://nats",
  "tls://:4222",
  "tls://nats:0",
  "tls://nats:65536",
  "tls://nats:x",
  "http://nats:4222",
  "tls://user:secret@nats:4222",
  "tls://nats:4222/path",
  "tls://nats:4222?x",
  "tls://a b:4222",
  "tls://::1:4222",
])("%j is no address", (url) => {
  expect(() => new ServerAddress(url)).toThrow(RangeError);
});

const files = { caFile: "ca", certFile: "cert", keyFile: "key" };
const nats = "spiffe://psephos.local/service/nats";

// What checkServerIdentity reads of a certificate; the rest of the type plays no part.
const certificate = (subjectaltname: string) => ({ subject: {}, subjectaltname }) as PeerCertificate;

function refusal(url: string, serverId: string | undefined, names: string): Error | undefined {
  const { checkServerIdentity } = new ServerAddress(url).tlsOptions({ ...files, serverId });
  // The host is what Node believes it to be, which for an address is "localhost".
  return checkServerIdentity?.("localhost", certificate(names));
}

test("a server must have the name it is called by, also when that is an address", () => {
  expect(refusal("tls://a.example:4222", undefined, "DNS:a.example")).toBeUndefined();
  expect(refusal("tls://a.example:4222", undefined, "DNS:localhost")).toBeInstanceOf(Error);
  expect(refusal("tls://10.0.0.7:4222", undefined, "IP Address:10.0.0.7")).toBeUndefined();
  expect(refusal("tls://10.0.0.7:4222", undefined, "DNS:localhost")).toBeInstanceOf(Error);
});

test.each([
  [`DNS:localhost, URI:${nats}`, true],
  [`URI:${nats}, DNS:localhost, IP Address:127.0.0.1`, true],
  ["DNS:localhost", false],
  ["DNS:localhost, URI:spiffe://psephos.local/service/publisher", false],
  [`DNS:localhost, URI:${nats}, URI:spiffe://psephos.local/service/publisher`, false],
  [`DNS:localhost, URI:${nats}, URI:${nats}`, false],
  [`DNS:localhost, URI:${nats}-two`, false],
  [`DNS:localhost, DNS:"x, URI:${nats}, y"`, false],
])("a server with %s is the expected one: %s", (names, accepted) => {
  expect(refusal("tls://localhost:4222", nats, names) === undefined).toBe(accepted);
});

test("a name is sent to the server, an address never (RFC 6066 section 3)", () => {
  expect(new ServerAddress("tls://a.example:1").tlsOptions(files).servername).toBe("a.example");
  expect(new ServerAddress("tls://127.0.0.1:1").tlsOptions(files)).not.toHaveProperty("servername");
});

async function listen(
  onConnection: Parameters<typeof createServer>[1],
): Promise<{ server: Server; address: ServerAddress }> {
  const server = createServer({}, onConnection).listen(0, "127.0.0.1");
  await once(server, "listening");
  // A listening TCP server's address is an AddressInfo.
  const { port } = server.address() as AddressInfo;
  return { server, address: new ServerAddress(`tls://127.0.0.1:${port}`) };
}

const never = new AbortController().signal;

test("a probe finds a server that speaks, and leaves no socket at one that does not", async () => {
  const speaking = await listen((socket) => socket.end("INFO {}\r\n"));
  await speaking.address.probe(1_000, never);
  speaking.server.close();
  await expect(speaking.address.probe(1_000, never)).rejects.toMatchObject({ code: "ECONNREFUSED" });

  const silent = await listen((socket) => socket.resume());
  await expect(silent.address.probe(50, never)).rejects.toThrow("nobody speaks");
  const stop = new AbortController();
  const stopped = silent.address.probe(60_000, stop.signal);
  stop.abort();
  await expect(stopped).rejects.toThrow();
  silent.server.close();
  await once(silent.server, "close"); // Only when no connection is left.

  const closing = await listen((socket) => socket.end());
  await expect(closing.address.probe(1_000, never)).rejects.toThrow("connection closed");
  closing.server.close();
});

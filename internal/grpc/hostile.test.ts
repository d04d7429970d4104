import { once } from "node:events";
import { readFileSync } from "node:fs";
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  constants,
  type IncomingHttpHeaders,
} from "node:http2";
import { setTimeout as sleep } from "node:timers/promises";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { VoteService } from "../../gen/ts/psephos/vote/v1/vote_pb.js";
import { ANY_PEER } from "./identity.ts";
import { collect, ECHO, Mesh } from "./service.fixture.ts";
import type { TlsFiles } from "./tls.ts";

// Peers that have a certificate and no manners, over raw HTTP/2 and raw TLS: their call or their connection fails, and
// everybody else is served.

const KIB = 1024;

let mesh: Mesh;
let tls: TlsFiles;
let session: ClientHttp2Session;
const unary = vi.fn(ECHO.unary);
const castVote = vi.fn();

beforeAll(async () => {
  mesh = await Mesh.create();
  tls = await mesh.ca.issue("client/mallory");
  const limits = { maxMessageBytes: 64 * KIB, maxUnaryMs: 300, maxStreamMs: 300 };
  const server = await mesh.serve({ ...ECHO, unary }, { limits });
  server.addService(
    VoteService,
    { castVote },
    { castVote: ANY_PEER, castVotes: ANY_PEER, getVote: ANY_PEER },
  );
});
afterAll(() => mesh[Symbol.asyncDispose]());
beforeEach(() => {
  unary.mockClear();
  session = connect(`https://${mesh.address}`, tlsOptions());
  session.on("error", () => {});
  return async () => {
    session.destroy();
    // Whatever the test did, others are served as if nothing had happened.
    const client = await mesh.client();
    expect((await client.unary({ value: Uint8Array.of(7) })).value).toEqual(Uint8Array.of(7));
    expect(await collect(client.answers({ value: Uint8Array.of(3) }))).toHaveLength(3);
  };
});

function tlsOptions() {
  return {
    ca: readFileSync(tls.caFile),
    cert: readFileSync(tls.certFile),
    key: readFileSync(tls.keyFile),
    checkServerIdentity: () => undefined,
  };
}

function request(method: string, headers: Record<string, string> = {}): ClientHttp2Stream {
  const stream = session.request({
    ":method": "POST",
    ":path": method.startsWith("/") ? method : `/psephos.test.v1.TestService/${method}`,
    "content-type": "application/grpc",
    te: "trailers",
    ...headers,
  });
  stream.on("error", () => {});
  return stream;
}

/** The `grpc-status` of a call, in its trailers or, when there is nothing else, in its headers. */
async function grpcStatus(stream: ClientHttp2Stream): Promise<string | undefined> {
  let status: string | undefined;
  const note = (headers: IncomingHttpHeaders) => {
    status = headers["grpc-status"]?.toString() ?? status;
  };
  stream.on("response", note);
  stream.on("trailers", note);
  stream.resume();
  await Promise.race([once(stream, "end"), once(stream, "close")]);
  return status;
}

function frame(message: Uint8Array, flag = 0): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(flag);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

/** BytesValue{value}. */
function bytesValue(value: Uint8Array): Buffer {
  const length = value.length < 128 ? [value.length] : [(value.length & 127) | 128, value.length >> 7];
  return Buffer.concat([Buffer.from([0x0a, ...length]), value]);
}

describe("messages", () => {
  test("a good one, for comparison", async () => {
    const call = request("Unary");
    call.end(frame(bytesValue(Buffer.from("hi"))));
    expect(await grpcStatus(call)).toBe("0");
  });

  test("not protobuf: INVALID_ARGUMENT, for each kind of method", async () => {
    for (const method of ["Unary", "Answers", "Requests", "Talk"]) {
      const call = request(method);
      call.end(frame(Buffer.from([0xff, 0xff, 0xff])));
      expect(await grpcStatus(call), method).toBe("3");
    }
    expect(unary).not.toHaveBeenCalled();
  });

  test("a string that is not UTF-8: INVALID_ARGUMENT", async () => {
    const call = request("/psephos.vote.v1.VoteService/CastVote");
    call.end(frame(Buffer.from([0x12, 2, 0xff, 0xfe])));
    expect(await grpcStatus(call)).toBe("3");
    expect(castVote).not.toHaveBeenCalled();
  });

  test("too large, said or sent: RESOURCE_EXHAUSTED", async () => {
    const said = request("Unary");
    said.write(Buffer.from([0, 0x7f, 0xff, 0xff, 0xff]));
    expect(await grpcStatus(said)).toBe("8");
    const sent = request("Talk");
    sent.write(frame(bytesValue(Buffer.from("fine"))));
    sent.end(frame(Buffer.alloc(65 * KIB)));
    expect(await grpcStatus(sent)).toBe("8");
  });

  test("small until it is decompressed: RESOURCE_EXHAUSTED", async () => {
    const call = request("Unary", { "grpc-encoding": "gzip" });
    call.end(frame(gzipSync(Buffer.alloc(10_000 * KIB)), 1));
    expect(await grpcStatus(call)).toBe("8");
  });

  test("said to be compressed, and not: INTERNAL", async () => {
    const call = request("Unary", { "grpc-encoding": "gzip" });
    call.end(frame(Buffer.from("plain"), 1));
    expect(await grpcStatus(call)).toBe("13");
    const unknown = request("Unary", { "grpc-encoding": "rot13" });
    unknown.end(frame(Buffer.from("cynva"), 1));
    expect(await grpcStatus(unknown)).toBe("12");
  });

  test("none, half of one, or two where one is due: INVALID_ARGUMENT", async () => {
    const one = frame(bytesValue(Buffer.from("hi")));
    for (const body of [Buffer.alloc(0), one.subarray(0, 3), one.subarray(0, 7), Buffer.concat([one, one])]) {
      for (const method of ["Unary", "Answers"]) {
        const call = request(method);
        call.end(body);
        expect(await grpcStatus(call), `${method} ${body.length}`).toBe("3");
      }
    }
    expect(unary).not.toHaveBeenCalled();
  });
});

describe("calls", () => {
  test("half-closed at once: the server answers what there is", async () => {
    const talk = request("Talk");
    talk.end();
    expect(await grpcStatus(talk)).toBe("0");
  });

  test("never half-closed: the deadline the server imposes", async () => {
    const silent = request("Unary");
    const halfSent = request("Unary");
    halfSent.write(frame(bytesValue(Buffer.from("hi"))));
    const idle = request("Talk");
    expect(await Promise.all([silent, halfSent, idle].map(grpcStatus))).toEqual(["4", "4", "4"]);
    expect(unary).not.toHaveBeenCalled();
  });

  test("reset amid its requests: they do not look complete to the handler", async () => {
    await using other = await Mesh.create();
    const outcome = Promise.withResolvers<string>();
    const first = Promise.withResolvers<void>();
    await other.serve({
      requests: async (requests) => {
        try {
          for await (const _ of requests) first.resolve();
          outcome.resolve("complete");
        } catch (error) {
          outcome.resolve(String(error));
        }
        return {};
      },
    });
    const leaving = new AbortController();
    const client = await other.client();
    const some = async function* () {
      yield {};
      await sleep(30_000, undefined, { ref: false });
    };
    client.requests(some(), { signal: leaving.signal }).catch(() => {});
    await first.promise;
    leaving.abort();
    expect(await outcome.promise).toContain("the client cancelled the call");
  });

  test("begun and reset by the thousand leave nothing behind", async () => {
    await using other = await Mesh.create();
    await other.serve(ECHO, { limits: { maxCalls: 1 } });
    const client = await other.client();
    await client.unary({});
    const { certFile, keyFile, caFile } = await other.ca.issue("client/mallory");
    const [ca, cert, key] = [caFile, certFile, keyFile].map((file) => readFileSync(file));
    session.destroy();
    session = connect(`https://${other.address}`, { ca, cert, key, checkServerIdentity: () => undefined });
    session.on("error", () => {});
    for (let i = 0; i < 1000; i++) request(i % 2 ? "Talk" : "Unary").close(constants.NGHTTP2_CANCEL);
    await once(request("Nothing").end().resume(), "close"); // by now the server has seen them all
    await client.unary({});
  });

  test("with headers that make no sense", async () => {
    const timeout = request("Unary", { "grpc-timeout": "soon" });
    timeout.end(frame(bytesValue(Buffer.from("hi"))));
    expect(await grpcStatus(timeout)).toBe("13");
    const negative = request("Unary", { "grpc-timeout": "99999999H" });
    negative.end(frame(bytesValue(Buffer.from("hi"))));
    expect(["0", "4"]).toContain(await grpcStatus(negative));
    const binary = request("Unary", { "some-bin": "not base64 !!" });
    binary.end(frame(bytesValue(Buffer.from("hi"))));
    expect(await grpcStatus(binary)).toBe("0");
    const html = request("Unary", { "content-type": "text/html" });
    const [headers] = await once(html, "response");
    expect(headers[":status"]).toBe(415);
    html.close();
    const unknown = request("/psephos.test.v1.TestService/Nothing");
    unknown.end();
    expect(await grpcStatus(unknown)).toBe("12");
  });
});

describe("connections", () => {
  const talk = async (bytes: Uint8Array): Promise<TLSSocket> => {
    const socket = connectTls({ ...tlsOptions(), port: mesh.port, host: "127.0.0.1", ALPNProtocols: ["h2"] });
    socket.on("error", () => {});
    await once(socket, "secureConnect");
    socket.write(bytes);
    socket.resume();
    return socket;
  };
  const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  const settings = Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]);

  test.each([
    ["of another protocol", Buffer.from("GET / HTTP/1.1\r\nHost: x\r\n\r\n")],
    ["of random bytes", Buffer.from(Array.from({ length: 4096 }, (_, i) => (i * 7919) & 255))],
    ["with frames that make no sense", Buffer.concat([preface, settings, Buffer.alloc(64, 0xee)])],
    [
      "with a frame that is too large",
      Buffer.concat([preface, settings, Buffer.from([0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1])]),
    ],
    [
      "with data for no stream",
      Buffer.concat([preface, settings, Buffer.from([0, 0, 1, 0, 0, 0, 0, 0, 9, 1])]),
    ],
  ])("%s are closed", async (_, bytes) => {
    const socket = await talk(bytes);
    await once(socket, "close");
  });

  test("that say nothing, or stop amid a frame, harm nobody", async () => {
    const sockets = [
      await talk(Buffer.alloc(0)),
      await talk(preface),
      await talk(Buffer.concat([preface, settings.subarray(0, 4)])),
    ];
    for (const socket of sockets) socket.destroy();
  });
});

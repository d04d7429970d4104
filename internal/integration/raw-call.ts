// Calls below any client library: what a peer can send that no library would.
import { readFileSync } from "node:fs";
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  type IncomingHttpHeaders,
} from "node:http2";
import { connect as connectTls, type SecureVersion, type TLSSocket } from "node:tls";
import { fromBinary } from "@bufbuild/protobuf";
import type { TlsFiles } from "../../deploy/local/dev-ca.ts";
import { BadRequestSchema } from "../../gen/ts/google/rpc/error_details_pb.js";
import { StatusSchema } from "../../gen/ts/google/rpc/status_pb.js";

export interface PeerOptions {
  /** Whose certificate to show; none is shown without it. */
  readonly identity?: TlsFiles | undefined;
  /** The CA that the server's certificate is of. */
  readonly ca: string;
  readonly version?: SecureVersion;
}

function tlsOptions({ identity, ca, version }: PeerOptions) {
  return {
    ca: readFileSync(ca),
    ...(identity ? { cert: readFileSync(identity.cert), key: readFileSync(identity.key) } : {}),
    ...(version ? { minVersion: version, maxVersion: version } : {}),
    // Addresses say where a peer is, not who it is.
    checkServerIdentity: () => undefined,
  };
}

/** An HTTP/2 connection to `host:port`. */
export function openSession(address: string, options: PeerOptions): ClientHttp2Session {
  const session = connect(`https://${address}`, tlsOptions(options));
  session.on("error", () => {});
  return session;
}

/** A TLS connection that says `bytes` once it is up, and reads whatever comes. */
export function openSocket(address: string, options: PeerOptions, bytes: Uint8Array): TLSSocket {
  const [host, port] = address.split(":");
  const socket = connectTls({
    ...tlsOptions(options),
    host: host ?? "",
    port: Number(port),
    ALPNProtocols: ["h2"],
  });
  socket.on("error", () => {});
  socket.once("secureConnect", () => socket.write(bytes));
  socket.resume();
  return socket;
}

export function openCall(
  session: ClientHttp2Session,
  method: string,
  headers: Record<string, string> = {},
): ClientHttp2Stream {
  const stream = session.request({
    ":method": "POST",
    ":path": `/${method}`,
    "content-type": "application/grpc",
    te: "trailers",
    ...headers,
  });
  stream.on("error", () => {});
  return stream;
}

/** A gRPC message: one byte of flags, its length, its bytes. */
export function frame(message: Uint8Array): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

/** How a call ended. */
export interface Ending {
  /** The `grpc-status`; undefined when the server said nothing of the kind. */
  readonly status: number | undefined;
  /** The fields that were wrong, from google.rpc.BadRequest. */
  readonly fields: readonly string[];
}

export function endingOf(stream: ClientHttp2Stream): Promise<Ending> {
  let status: number | undefined;
  let fields: string[] = [];
  // In the trailers or, when there is nothing else, in the headers.
  const note = (headers: IncomingHttpHeaders) => {
    if (headers["grpc-status"] !== undefined) status = Number(headers["grpc-status"]);
    const details = headers["grpc-status-details-bin"];
    if (typeof details === "string") fields = fieldsIn(Buffer.from(details, "base64"));
  };
  stream.on("response", note);
  stream.on("trailers", note);
  stream.resume();
  return new Promise((resolve) => {
    const end = () => resolve({ status, fields });
    stream.once("end", end);
    stream.once("close", end);
    stream.session?.once("close", end);
  });
}

function fieldsIn(details: Uint8Array): string[] {
  const badRequest = "type.googleapis.com/google.rpc.BadRequest";
  return fromBinary(StatusSchema, details)
    .details.filter(({ typeUrl }) => typeUrl === badRequest)
    .flatMap(({ value }) => fromBinary(BadRequestSchema, value).fieldViolations)
    .map(({ field }) => field);
}

/** One call with one message, on a connection of its own. */
export async function callOnce(
  address: string,
  options: PeerOptions,
  method: string,
  message: Uint8Array = new Uint8Array(),
): Promise<Ending> {
  const session = openSession(address, options);
  try {
    const call = openCall(session, method);
    call.end(frame(message));
    return await endingOf(call);
  } finally {
    session.destroy();
  }
}

// Answers GET and HEAD for a file: conditional (RFC 9110 section 13), compressed (section 8.4) or a part of it (section 14).
import type { IncomingMessage, ServerResponse } from "node:http";
import { HttpError } from "./problem.ts";

export interface SentFile {
  readonly bytes: Uint8Array;
  /** Names these very bytes; of the characters of base64url. */
  readonly tag: string;
  readonly contentType: string;
  readonly cacheControl: string;
  readonly lastModified: Date;
  /** The same in gzip; undefined for a file that is never compressed. */
  readonly gzip: (() => Promise<Uint8Array>) | undefined;
}

/**
 * A range is always one of the file's own bytes, never of compressed ones. `Last-Modified` is for people: it is no
 * validator, since a checkpoint changes within its second.
 */
export async function sendFile(
  request: IncomingMessage,
  response: ServerResponse,
  file: SentFile,
): Promise<void> {
  const { headers, method } = request;
  if (method !== "GET" && method !== "HEAD") {
    throw new HttpError(405, "use GET or HEAD", { Allow: "GET, HEAD, OPTIONS" });
  }
  const identity = `"${file.tag}"`;
  // Section 14.2: a range of anything but GET is ignored, as is (13.1.5) one of a version that is not this.
  const wanted = headers["if-range"] ?? identity;
  const range = method === "GET" && wanted === identity ? headers.range : undefined;
  const gzip =
    file.gzip && range === undefined && acceptsGzip(headers["accept-encoding"]) ? file.gzip : undefined;
  const etag = gzip ? `"${file.tag}.gz"` : identity;

  if (file.gzip) response.setHeader("Vary", "Accept-Encoding");
  if (matches(headers["if-none-match"], etag)) {
    response.writeHead(304, { ETag: etag, "Cache-Control": file.cacheControl }).end();
    return;
  }
  const part = range === undefined ? undefined : parseRange(range, file.bytes.length);
  const body = gzip ? await gzip() : part ? file.bytes.subarray(part.first, part.last + 1) : file.bytes;
  response.writeHead(part ? 206 : 200, {
    ETag: etag,
    "Cache-Control": file.cacheControl,
    "Last-Modified": file.lastModified.toUTCString(),
    "Accept-Ranges": "bytes",
    "Content-Type": file.contentType,
    "Content-Length": body.length,
    ...(gzip ? { "Content-Encoding": "gzip" } : {}),
    ...(part ? { "Content-Range": `bytes ${part.first}-${part.last}/${file.bytes.length}` } : {}),
  });
  // For HEAD, Node leaves the body out.
  response.end(body);
}

/** If-None-Match (RFC 9110 section 13.1.2): weak comparison with a list of tags, or any. */
function matches(header: string | undefined, etag: string): boolean {
  const tags = header?.split(",").map((tag) => tag.trim().replace(/^W\//, ""));
  return tags !== undefined && (tags.includes(etag) || tags.includes("*"));
}

/** Accept-Encoding (RFC 9110 section 12.5.3). Who does not ask for gzip gets none. */
function acceptsGzip(header: string | string[] | undefined): boolean {
  const weights = new Map<string, boolean>();
  for (const item of String(header ?? "").split(",")) {
    const [coding = "", ...parameters] = item.split(";").map((text) => text.trim().toLowerCase());
    weights.set(coding, !parameters.some((parameter) => /^q=0(?:\.0{0,3})?$/.test(parameter)));
  }
  return weights.get("gzip") ?? weights.get("*") ?? false;
}

/**
 * The single range of a Range header (RFC 9110 section 14.1.2); undefined for what may be answered with the whole:
 * several ranges, other units, and what is not one. Throws the 416 for a range that begins behind the end.
 */
function parseRange(header: string, size: number): { first: number; last: number } | undefined {
  const [match, from = "", to = ""] = /^bytes=([0-9]{0,15})-([0-9]{0,15})$/i.exec(header.trim()) ?? [];
  if (match === undefined || (from === "" && to === "")) return undefined;
  if (from !== "" && to !== "" && Number(to) < Number(from)) return undefined;
  const first = from === "" ? Math.max(0, size - Number(to)) : Number(from);
  const last = from === "" || to === "" ? size - 1 : Math.min(Number(to), size - 1);
  if (first > last) {
    throw new HttpError(416, "the range is not within the file", { "Content-Range": `bytes */${size}` });
  }
  return { first, last };
}

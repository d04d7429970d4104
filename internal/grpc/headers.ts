// gRPC's metadata and the Headers of Connect's programming model. In Headers, a value under a name that ends in "-bin"
// is base64, as it is on the wire.
import { Metadata } from "@grpc/grpc-js";

/** What Connect calls HeadersInit, a name that only browsers' types have. */
export type HeadersInit = ConstructorParameters<typeof Headers>[0];

export function toHeaders(metadata: Metadata | undefined): Headers {
  const headers = new Headers();
  if (metadata === undefined) return headers;
  for (const [name, values] of Object.entries(metadata.toHttp2Headers())) {
    for (const value of [values ?? []].flat()) headers.append(name, String(value));
  }
  return headers;
}

export function toMetadata(init: HeadersInit | undefined): Metadata {
  const metadata = new Metadata();
  if (init === undefined) return metadata;
  for (const [name, value] of new Headers(init)) {
    metadata.set(name, name.endsWith("-bin") ? Buffer.from(value, "base64") : value);
  }
  return metadata;
}

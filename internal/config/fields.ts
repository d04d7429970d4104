// Pieces that the services' configuration schemas are made of.
import { isIP } from "node:net";
import { z } from "zod";
import { LOG_LEVELS } from "../telemetry/logger.ts";

/** Where to listen, or whom to call. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

/** `host:port`; an IPv6 address stands in brackets, as in a URL (RFC 3986 section 3.2.2). Port 0 takes any free one. */
export const address = z.string().transform((text, context): Address => {
  const [, bracketed, plain, digits] = /^(?:\[([^\]]+)\]|([^\s:[\]]+)):(\d{1,5})$/.exec(text) ?? [];
  const port = Number(digits);
  const host = bracketed ?? plain;
  if (host === undefined || port > 0xffff || (bracketed !== undefined && isIP(bracketed) !== 6)) {
    context.addIssue({ code: "custom", message: "must be host:port or [ipv6]:port" });
    return z.NEVER;
  }
  return { host, port };
});

/** A path, relative to the working directory unless absolute. Secrets are given as files, never in the configuration. */
export const file = z.string().min(1, "must be the path of a file");

/** PEM files: whom to trust, who one is, and the key that proves it. */
export const tlsFiles = z.strictObject({ ca: file, cert: file, key: file });
export type TlsFiles = z.infer<typeof tlsFiles>;

/** SPIFFE-ID section 2.1: lower-case letters, digits, dots, hyphens and underscores. */
export const trustDomain = z.string().regex(/^[a-z0-9._-]{1,255}$/, "must be a SPIFFE trust domain");

/** What every service's configuration has beside its own keys. */
export const commonFields = {
  /** Where Prometheus scrapes, and `/livez`. Nothing asks who is calling: a loopback or pod address. */
  metrics_listen: address,
  log_level: z.enum(LOG_LEVELS).default("info"),
};

/** The text of an address: what `address` reads. */
export function formatAddress({ host, port }: Address): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** The same files as internal/grpc names them. */
export function grpcTls({ ca, cert, key }: TlsFiles) {
  return { caFile: ca, certFile: cert, keyFile: key };
}

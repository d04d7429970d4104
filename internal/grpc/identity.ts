// Who a peer is, and who may call what. A certificate names its holder by one SPIFFE id
// (https://spiffe.io/docs/latest/spiffe-specs/x509-svid/), here `spiffe://<trust domain>/<kind>/<name>`.
import { X509Certificate } from "node:crypto";
import type { DescService } from "@bufbuild/protobuf";
import { type ContextKey, createContextKey, type HandlerContext } from "@connectrpc/connect";
import { ServiceError } from "../core/errors.ts";

const KINDS = ["service", "operator", "client", "auditor"] as const;

export type PeerKind = (typeof KINDS)[number];

export interface PeerIdentity {
  readonly kind: PeerKind;
  readonly name: string;
  /** The whole SPIFFE id. */
  readonly uri: string;
}

/** One caller, `service/publisher`, or all of a kind, `client/*`. */
export type CallerPattern = `${PeerKind}/${string}`;

/** Who may call each method of a service. A method left out does not compile, an empty list admits nobody. */
export type CallerPolicy<D extends DescService> = {
  readonly [Method in keyof D["method"]]: readonly CallerPattern[];
};

/** Everybody with a certificate of the trust domain. */
export const ANY_PEER: readonly CallerPattern[] = KINDS.map((kind): CallerPattern => `${kind}/*`);

// SPIFFE-ID section 2: path segments are of letters, digits, dot, dash and underscore, and neither `.` nor `..`.
const PATH = /^\/(?<kind>[a-z]+)\/(?<name>[A-Za-z0-9_-][A-Za-z0-9._-]{0,127})$/;

/** The identity a SPIFFE id names; throws a RangeError on anything else, another trust domain included. */
export function parseIdentity(uri: string, trustDomain: string): PeerIdentity {
  const prefix = `spiffe://${trustDomain}`;
  if (!uri.startsWith(`${prefix}/`)) throw new RangeError(`not an id of the trust domain ${trustDomain}`);
  const { kind, name } = PATH.exec(uri.slice(prefix.length))?.groups ?? {};
  const known = KINDS.find((k) => k === kind);
  if (known === undefined || name === undefined) throw new RangeError("not an id of the form <kind>/<name>");
  return { kind: known, name, uri };
}

/**
 * The identity in a certificate (DER), whose signature the TLS library has already checked. Throws a RangeError when
 * there is not exactly one URI among its subject alternative names, or when it is a CA's (X509-SVID section 5.2).
 */
export function identityOfCertificate(der: Uint8Array, trustDomain: string): PeerIdentity {
  const certificate = new X509Certificate(der);
  if (certificate.ca) throw new RangeError("a CA's certificate is nobody's identity");
  // Node separates names by ", " and escapes the commas within them (CVE-2021-44532).
  const names = certificate.subjectAltName?.split(", ") ?? [];
  const uris = names.filter((name) => name.startsWith("URI:"));
  const [uri] = uris;
  if (uri === undefined || uris.length > 1) {
    throw new RangeError(`a certificate has one URI among its alternative names, this one ${uris.length}`);
  }
  return parseIdentity(uri.slice("URI:".length), trustDomain);
}

export function mayCall(peer: PeerIdentity, callers: readonly CallerPattern[]): boolean {
  return callers.includes(`${peer.kind}/${peer.name}`) || callers.includes(`${peer.kind}/*`);
}

const PEER: ContextKey<PeerIdentity | undefined> = createContextKey(undefined, { description: "peer" });

export function setPeer(values: HandlerContext["values"], peer: PeerIdentity): void {
  values.set(PEER, peer);
}

/** Who makes the call a handler serves. */
export function peerOf(context: HandlerContext): PeerIdentity {
  const peer = context.values.get(PEER);
  if (peer === undefined) throw new ServiceError("permission-denied", "the caller is not known");
  return peer;
}

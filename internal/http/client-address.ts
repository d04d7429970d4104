// Who asks, as far as an address says: the peer, or whom a proxy that is trusted says it asks for.
import type { IncomingMessage } from "node:http";
import { BlockList, isIP } from "node:net";

/** Addresses and networks (`192.0.2.1`, `10.0.0.0/8`, `2001:db8::/32`). Throws a RangeError for what is neither. */
export function addressSet(networks: readonly string[]): BlockList {
  const set = new BlockList();
  for (const network of networks) {
    const [, address = "", prefix] = /^([^/]+)(?:\/([0-9]{1,3}))?$/.exec(network) ?? [];
    const family = isIP(address);
    const bits = family === 6 ? 128 : 32;
    const length = prefix === undefined ? bits : Number(prefix);
    if (family === 0 || length > bits) throw new RangeError(`not an address or network: ${network}`);
    set.addSubnet(address, length, family === 6 ? "ipv6" : "ipv4");
  }
  return set;
}

export function isIn(set: BlockList, address: string): boolean {
  return set.check(address, isIP(address) === 6 ? "ipv6" : "ipv4");
}

/** The address at the other end of a connection; undefined once it is gone. */
export function peerOf(socket: { readonly remoteAddress?: string | undefined }): string | undefined {
  return plainAddress(socket.remoteAddress ?? "");
}

/**
 * The client's address. A trusted proxy is believed about the one before it in `X-Forwarded-For`, and so on until one that
 * is not trusted: what stands before that in the header, anybody may have written.
 */
export function clientOf(request: IncomingMessage, trustedProxies: BlockList): string | undefined {
  let client = peerOf(request.socket);
  const forwarded = request.headersDistinct["x-forwarded-for"]?.join(",").split(",") ?? [];
  while (client !== undefined && isIn(trustedProxies, client)) {
    const before = plainAddress(forwarded.pop()?.trim() ?? "");
    if (before === undefined) break;
    client = before;
  }
  return client;
}

/** What counts as one client: an IPv4 address, or the /64 that an IPv6 host has all addresses of. */
export function clientKey(address: string): string {
  if (isIP(address) !== 6) return address;
  // URLs have IPv6 addresses in the one form of RFC 5952, without dotted quads.
  const text = new URL(`http://[${address}]`).hostname.slice(1, -1);
  const [left = "", right] = text.split("::");
  const head = left === "" ? [] : left.split(":");
  const tail = right ? right.split(":") : [];
  const zeros = right === undefined ? 0 : 8 - head.length - tail.length;
  return [...head, ...Array<string>(zeros).fill("0"), ...tail].slice(0, 4).join(":");
}

/** Without a zone, and an IPv4 address as such; undefined for what is none. */
function plainAddress(text: string): string | undefined {
  const address = text.replace(/%.*$/, "").replace(/^::ffff:(?=[0-9.]+$)/i, "");
  return isIP(address) === 0 ? undefined : address;
}

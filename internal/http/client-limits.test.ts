import { EventEmitter } from "node:events";
import type { IncomingMessage } from "node:http";
import { describe, expect, test } from "vitest";
import { addressSet, clientKey, clientOf } from "./client-address.ts";
import { ClientLimits, type ClientLimitsOptions } from "./client-limits.ts";

/** What the functions look at of a request. */
function from(remoteAddress: string | undefined, forwarded?: string): IncomingMessage {
  const headersDistinct = forwarded === undefined ? {} : { "x-forwarded-for": [forwarded] };
  return { socket: { remoteAddress }, headersDistinct } as unknown as IncomingMessage;
}

const proxies = addressSet(["10.0.0.0/8", "2001:db8::1"]);

describe("the client", () => {
  test.each([
    ["192.0.2.1", undefined, "192.0.2.1"],
    ["192.0.2.1", "198.51.100.7", "192.0.2.1"],
    ["10.1.2.3", "198.51.100.7", "198.51.100.7"],
    ["::ffff:10.1.2.3", "::ffff:198.51.100.7", "198.51.100.7"],
    ["10.1.2.3", "6.6.6.6, 198.51.100.7", "198.51.100.7"],
    ["10.1.2.3", "6.6.6.6, 198.51.100.7, 10.9.9.9", "198.51.100.7"],
    ["2001:db8::1", "2001:db8:5::9%eth0", "2001:db8:5::9"],
    ["10.1.2.3", "10.0.0.9", "10.0.0.9"],
    ["10.1.2.3", "unknown", "10.1.2.3"],
    ["10.1.2.3", "", "10.1.2.3"],
    ["10.1.2.3", undefined, "10.1.2.3"],
    [undefined, "198.51.100.7", undefined],
  ])("who comes from %s with %j is %s", (peer, forwarded, client) => {
    expect(clientOf(from(peer, forwarded), proxies)).toBe(client);
  });

  test.each([
    ["192.0.2.1", "192.0.2.1"],
    ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2"],
    ["2001:db8:1:2::", "2001:db8:1:2"],
    ["2001:DB8::6", "2001:db8:0:0"],
    ["::1", "0:0:0:0"],
    ["64:ff9b::192.0.2.1", "64:ff9b:0:0"],
  ])("%s counts as %s", (address, key) => {
    expect(clientKey(address)).toBe(key);
  });

  test.each(["", "x", "10.0.0.0/33", "::/129", "10.0.0/8", "10.0.0.0/8/8", "-"])(
    "%j is no network",
    (network) => {
      expect(() => addressSet([network])).toThrow(RangeError);
    },
  );
});

describe("limits", () => {
  let now = 0;
  const limits = (changes: Partial<ClientLimitsOptions> = {}) =>
    new ClientLimits({
      requestsPerSecond: 10,
      burst: 3,
      connections: 2,
      streams: 3,
      streamsPerClient: 2,
      trustedProxies: proxies,
      exempt: addressSet(["127.0.0.0/8", "::1"]),
      now: () => now,
      ...changes,
    });
  const admitted = (of: ClientLimits, request: IncomingMessage) => {
    try {
      of.admit(request);
      return true;
    } catch {
      return false;
    }
  };

  test("a client has its burst, then its rate, and others have theirs", () => {
    const of = limits();
    const [a, b] = [from("192.0.2.1"), from("192.0.2.2")];
    expect([1, 2, 3, 4].map(() => admitted(of, a))).toEqual([true, true, true, false]);
    expect(() => of.admit(a)).toThrow(
      expect.objectContaining({ kind: "resource-exhausted", reason: "TOO_MANY_REQUESTS", retryDelayMs: 100 }),
    );
    expect(admitted(of, b)).toBe(true);
    now += 100;
    expect([admitted(of, a), admitted(of, a)]).toEqual([true, false]);
    now += 1e6;
    expect([1, 2, 3, 4].map(() => admitted(of, a))).toEqual([true, true, true, false]);
  });

  test("what costs more takes more tokens, up to all there are", () => {
    const of = limits();
    const a = from("192.0.2.1");
    of.admit(a, 2);
    expect(() => of.admit(a, 2)).toThrow(expect.objectContaining({ retryDelayMs: 100 }));
    of.admit(a);
    expect(() => of.admit(a, 1_000)).toThrow(expect.objectContaining({ retryDelayMs: 300 }));
    now += 300;
    of.admit(a, 1_000);
    expect(admitted(of, a)).toBe(false);
  });

  test("clients behind a proxy are told apart, and nobody escapes by writing the header", () => {
    const of = limits({ burst: 1 });
    expect(admitted(of, from("10.0.0.1", "192.0.2.1"))).toBe(true);
    expect(admitted(of, from("10.0.0.1", "192.0.2.2"))).toBe(true);
    expect(admitted(of, from("10.0.0.1", "1.1.1.1, 192.0.2.1"))).toBe(false);
    expect(admitted(of, from("192.0.2.1", "9.9.9.9"))).toBe(false);
    expect(admitted(of, from("192.0.2.1", "127.0.0.1"))).toBe(false);
  });

  test("the machine itself has none, in either notation", () => {
    const of = limits({ burst: 1 });
    for (const own of ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"]) {
      for (let i = 0; i < 5; i++) expect(admitted(of, from(own))).toBe(true);
    }
    expect(of.clients).toBe(0);
  });

  test("what is remembered of clients is bounded", () => {
    const of = limits({ burst: 1 });
    for (let i = 0; i < 100_100; i++) of.admit(from(`100.${i >> 16}.${(i >> 8) & 255}.${i & 255}`));
    expect(of.clients).toBe(100_000);
  });

  test("connections are counted until they are closed, and a proxy's are not", () => {
    const of = limits();
    const socket = (remoteAddress: string) => Object.assign(new EventEmitter(), { remoteAddress });
    const [first, second, third] = [socket("192.0.2.1"), socket("192.0.2.1"), socket("192.0.2.1")];
    expect([of.connect(first), of.connect(second), of.connect(third)]).toEqual([true, true, false]);
    expect(of.connect(socket("192.0.2.2"))).toBe(true);
    first.emit("close");
    expect([of.connect(third), of.connect(socket("192.0.2.1"))]).toEqual([true, false]);
    for (let i = 0; i < 5; i++) expect(of.connect(socket("10.0.0.1"))).toBe(true);
  });

  test("streams are counted by client and together, and each once", () => {
    const of = limits();
    const end = of.openStream(from("192.0.2.1"));
    of.openStream(from("192.0.2.1"));
    expect(() => of.openStream(from("192.0.2.1"))).toThrow("from your address");
    of.openStream(from("127.0.0.1"));
    expect(() => of.openStream(from("192.0.2.2"))).toThrow("from everybody together");
    end();
    end();
    of.openStream(from("192.0.2.2"));
    expect(() => of.openStream(from("192.0.2.3"))).toThrow("from everybody together");
  });
});

import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { VoteService } from "../../gen/ts/psephos/vote/v1/vote_pb.js";
import { TestCa, TRUST_DOMAIN } from "./ca.fixture.ts";
import { ANY_PEER, type CallerPolicy, identityOfCertificate, mayCall, parseIdentity } from "./identity.ts";

describe("a SPIFFE id", () => {
  test("names a kind and a name", () => {
    expect(parseIdentity("spiffe://psephos.test/service/shard-router", TRUST_DOMAIN)).toEqual({
      kind: "service",
      name: "shard-router",
      uri: "spiffe://psephos.test/service/shard-router",
    });
    for (const kind of ["operator", "client", "auditor"]) {
      expect(parseIdentity(`spiffe://psephos.test/${kind}/Jane_D.1`, TRUST_DOMAIN)).toMatchObject({ kind });
    }
  });

  test.each([
    "",
    "spiffe://psephos.test",
    "spiffe://psephos.test/",
    "spiffe://psephos.test/service",
    "spiffe://psephos.test/service/",
    "spiffe://psephos.test/service/a/b",
    "spiffe://psephos.test/service//a",
    "spiffe://psephos.test/service/.",
    "spiffe://psephos.test/service/..",
    "spiffe://psephos.test/service/a?b",
    "spiffe://psephos.test/service/a#b",
    "spiffe://psephos.test/service/a%2fb",
    "spiffe://psephos.test/service/*",
    "spiffe://psephos.test/service/a ",
    "spiffe://psephos.test/service/a\n",
    "spiffe://psephos.test/root/a",
    "spiffe://psephos.test/Service/a",
    "spiffe://psephos.test:443/service/a",
    "spiffe://user@psephos.test/service/a",
    "SPIFFE://psephos.test/service/a",
    "https://psephos.test/service/a",
    "spiffe://psephos.test.evil/service/a",
    "spiffe://evil.psephos.test/service/a",
    "spiffe://psephos/service/a",
    `spiffe://psephos.test/service/${"a".repeat(129)}`,
  ])("%j is none of ours", (uri) => {
    expect(() => parseIdentity(uri, TRUST_DOMAIN)).toThrow(RangeError);
  });

  test("is refused or read back as it was written", () => {
    fc.assert(
      fc.property(fc.string(), (name) => {
        const uri = `spiffe://psephos.test/client/${name}`;
        try {
          expect(parseIdentity(uri, TRUST_DOMAIN)).toEqual({ kind: "client", name, uri });
          expect(name).toMatch(/^[\w.-]+$/);
        } catch (error) {
          expect(error).toBeInstanceOf(RangeError);
        }
      }),
    );
  });
});

describe("a certificate", () => {
  let ca: TestCa;
  beforeAll(async () => {
    ca = await TestCa.create();
  });
  afterAll(() => ca[Symbol.dispose]());

  const us = { type: "url", value: "spiffe://psephos.test/service/a" } as const;
  const identity = async (...arguments_: Parameters<TestCa["issueFor"]>) => {
    const { certFile } = await ca.issueFor(...arguments_);
    return identityOfCertificate(new X509Certificate(readFileSync(certFile)).raw, TRUST_DOMAIN);
  };

  test("has one URI, among other names", async () => {
    expect(await identity([us])).toMatchObject({ kind: "service", name: "a" });
    expect(
      await identity([{ type: "dns", value: "localhost" }, us, { type: "ip", value: "127.0.0.1" }]),
    ).toMatchObject({
      name: "a",
    });
  });

  test.each([
    ["no names", []],
    ["no URI", [{ type: "dns", value: "localhost" }]],
    ["two URIs", [us, { type: "url", value: "spiffe://psephos.test/service/b" }]],
    ["the same URI twice", [us, us]],
    ["a second URI of another kind", [us, { type: "url", value: "https://example.org/" }]],
    ["a URI in a DNS name", [{ type: "dns", value: "x, URI:spiffe://psephos.test/service/a" }]],
    ["a URI amid a DNS name", [{ type: "dns", value: "x, URI:spiffe://psephos.test/service/a, DNS:y" }]],
    [
      "a name that looks like the end of another",
      [{ type: "url", value: "spiffe://psephos.test/service/a, DNS:x" }],
    ],
  ] as [string, Parameters<TestCa["issueFor"]>[0]][])("with %s names nobody", async (_, names) => {
    await expect(identity(names)).rejects.toThrow(RangeError);
  });

  test("of a CA names nobody", async () => {
    await expect(identity([us], { ca: true })).rejects.toThrow(RangeError);
  });
});

test("a policy has a list for each method", () => {
  const whole: CallerPolicy<typeof VoteService> = { castVote: ["client/*"], castVotes: [], getVote: [] };
  // @ts-expect-error: castVotes and getVote are missing.
  const missing: CallerPolicy<typeof VoteService> = { castVote: ["client/*"] };
  // @ts-expect-error: a person is an operator, a client or an auditor.
  const misspelt: CallerPolicy<typeof VoteService> = { ...whole, castVote: ["person/jane"] };
  expect([whole, missing, misspelt]).toHaveLength(3); // the compiler is the test
});

test("who may call", () => {
  const peer = (id: string) => parseIdentity(`spiffe://psephos.test/${id}`, TRUST_DOMAIN);
  expect(mayCall(peer("service/a"), [])).toBe(false);
  expect(mayCall(peer("service/a"), ["service/a"])).toBe(true);
  expect(mayCall(peer("service/a"), ["service/ab", "client/a", "client/*"])).toBe(false);
  expect(mayCall(peer("client/anyone"), ["service/a", "client/*"])).toBe(true);
  for (const kind of ["service", "operator", "client", "auditor"]) {
    expect(mayCall(peer(`${kind}/x`), ANY_PEER)).toBe(true);
  }
});

import { createHandlerContext } from "@connectrpc/connect";
import { Metadata } from "@grpc/grpc-js";
import { expect, test } from "vitest";
import { CallContext } from "./call-context.ts";
import { parseIdentity, peerOf } from "./identity.ts";
import { TestService } from "./service.fixture.ts";

function context(): CallContext {
  const metadata = new Metadata();
  metadata.set("x-sent", "this");
  return new CallContext({
    service: TestService,
    method: TestService.method.unary,
    host: "vote.example:443",
    metadata,
    deadline: Date.now() + 5_000,
    peer: parseIdentity("spiffe://psephos.test/client/alice", "psephos.test"),
  });
}

test("has what Connect's own context has", () => {
  const ours = context();
  const theirs = createHandlerContext({
    service: TestService,
    method: TestService.method.unary,
    protocolName: "grpc",
    requestMethod: "POST",
    url: "https://vote.example:443/psephos.test.v1.TestService/Unary",
    requestHeader: { "x-sent": "this" },
    timeoutMs: 5_000,
  });
  for (const key of ["service", "method", "protocolName", "requestMethod", "url"] as const) {
    expect(ours[key]).toBe(theirs[key]);
  }
  for (const key of ["requestHeader", "responseHeader", "responseTrailer"] as const) {
    expect([...ours[key]]).toEqual([...theirs[key]]);
    expect(ours[key]).toBe(ours[key]);
  }
  expect(Math.abs(ours.timeoutMs() - (theirs.timeoutMs() ?? 0))).toBeLessThan(1_000);
  expect(ours.signal.aborted).toBe(false);
  expect(peerOf(ours).name).toBe("alice");
  expect(() => peerOf(theirs)).toThrow("the caller is not known");
});

test("its signal fires once, with the first reason, whenever it is asked for", () => {
  const [early, late] = [context(), context()];
  const { signal } = early;
  for (const each of [early, late]) {
    each.abort("first");
    each.abort("second");
  }
  expect(signal.reason).toBe("first");
  expect(early.signal).toBe(signal);
  expect(late.signal.aborted).toBe(true);
  expect(late.signal.reason).toBe("first");
});

import { copyFileSync, writeFileSync } from "node:fs";
import { createClient, type HandlerContext } from "@connectrpc/connect";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import * as identities from "./identity.ts";
import { ECHO, Mesh, rejection, TestService } from "./service.fixture.ts";
import type { TlsFiles } from "./tls.ts";

function replace(files: TlsFiles, by: TlsFiles): void {
  copyFileSync(by.certFile, files.certFile);
  copyFileSync(by.keyFile, files.keyFile);
}

test("a connection's certificate is read once, and not for another connection", async () => {
  await using mesh = await Mesh.create();
  await mesh.serve(ECHO, { callers: { unary: ["client/alice"], answers: [], requests: [], talk: [] } });
  const read = vi.spyOn(identities, "identityOfCertificate");
  try {
    const client = await mesh.client();
    for (let i = 0; i < 5; i++) await client.unary({});
    // Once by the client, for the server's certificate, and once by the server.
    expect(read).toHaveBeenCalledTimes(2);
    const bob = await mesh.client({ tls: await mesh.ca.issue("client/bob") });
    expect(await rejection(bob.unary({}))).toMatchObject({ kind: "permission-denied" });
    expect(read).toHaveBeenCalledTimes(4);
  } finally {
    read.mockRestore();
  }
});

describe("when the TLS files change", () => {
  let mesh: Mesh;
  beforeEach(async () => {
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
    mesh = await Mesh.create();
  });
  afterEach(async () => {
    await mesh[Symbol.asyncDispose]();
    vi.useRealTimers();
  });
  const aMinute = () => vi.advanceTimersByTime(61_000);

  test("a server shows its new certificate, and goes on showing the old one when the new is no good", async () => {
    const files = await mesh.ca.issue("service/test");
    await mesh.serve(ECHO, { tls: files });
    const before = await mesh.client();
    await before.unary({});

    replace(files, await mesh.ca.issue("service/renamed"));
    aMinute();
    const renamed = await mesh.client({ expectedServer: "service/renamed" });
    await renamed.unary({});
    await before.unary({}); // its connection is what it was

    writeFileSync(files.certFile, "this is no certificate");
    aMinute();
    expect(mesh.log.lines).toContainEqual(
      expect.objectContaining({ level: "error", message: "the TLS files cannot be read again" }),
    );
    await (await mesh.client({ expectedServer: "service/renamed" })).unary({});
  });

  test("a client shows its new certificate, and calls in progress go on", async () => {
    const say = async (context: HandlerContext) => Buffer.from(identities.peerOf(context).name);
    await mesh.serve({
      unary: async (_, context) => ({ value: await say(context) }),
      async *talk(requests, context) {
        for await (const _ of requests) yield { value: await say(context) };
      },
    });
    const files = await mesh.ca.issue("client/before");
    const transport = await mesh.transport({ tls: files });
    const client = createClient(TestService, transport);
    const go = Promise.withResolvers<void>();
    const requests = async function* () {
      yield {};
      await go.promise;
      yield {};
    };
    const answers = client.talk(requests())[Symbol.asyncIterator]();
    const next = async () => Buffer.from((await answers.next()).value?.value ?? []).toString();
    expect(await next()).toBe("before");

    replace(files, await mesh.ca.issue("client/after"));
    aMinute();
    expect(Buffer.from((await client.unary({})).value).toString()).toBe("after");
    go.resolve();
    expect(await next()).toBe("before");
    expect((await answers.next()).done).toBe(true);
  });
});

describe("files that cannot work stop the process at its start", () => {
  test.each([
    ["a file that is not there", async (tls: TlsFiles) => ({ ...tls, caFile: "/nowhere.pem" })],
    [
      "a key of another certificate",
      async (tls: TlsFiles, other: TlsFiles) => ({ ...tls, keyFile: other.keyFile }),
    ],
    ["a certificate for a key", async (tls: TlsFiles) => ({ ...tls, keyFile: tls.certFile })],
  ])("%s", async (_, spoil) => {
    await using mesh = await Mesh.create();
    const tls = await spoil(await mesh.ca.issue("service/a"), await mesh.ca.issue("service/b"));
    await expect(mesh.serve(ECHO, { tls })).rejects.toThrow();
    await expect(mesh.transport({ tls })).rejects.toThrow();
  });
});

import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect as connectHttp2 } from "node:http2";
import { type ConnectionOptions, connect } from "node:tls";
import { createClient } from "@connectrpc/connect";
import type { JsonGeneralName } from "@peculiar/x509";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { TestCa } from "./ca.fixture.ts";
import { collect, ECHO, Mesh, rejection, TestService } from "./service.fixture.ts";
import type { TlsFiles } from "./tls.ts";

// Who gets in, and who is let in by mistake.

let mesh: Mesh;
beforeAll(async () => {
  mesh = await Mesh.create();
  await mesh.serve(ECHO, {
    callers: {
      unary: ["client/alice", "service/*"],
      answers: ["operator/*"],
      requests: [],
      talk: ["client/*"],
    },
  });
});
afterAll(() => mesh[Symbol.asyncDispose]());

async function callAs(tls: TlsFiles): Promise<unknown> {
  const client = createClient(TestService, await mesh.transport({ tls }));
  return rejection(client.unary({}).then(() => Promise.reject("let in")));
}

describe("a caller on the list", () => {
  test("by name, by kind", async () => {
    expect(await callAs(await mesh.ca.issue("client/alice"))).toBe("let in");
    expect(await callAs(await mesh.ca.issue("service/anything"))).toBe("let in");
  });

  test("of one method is not one of another", async () => {
    const client = await mesh.client();
    const refused = { kind: "permission-denied", reason: "CALLER_NOT_ALLOWED" };
    expect(await rejection(collect(client.answers({ value: Uint8Array.of(1) })))).toMatchObject(refused);
    expect(await collect(client.talk((async function* () {})()))).toEqual([]);
    const operator = await mesh.client({ tls: await mesh.ca.issue("operator/olga") });
    expect(await collect(operator.answers({ value: Uint8Array.of(1) }))).toHaveLength(1);
  });
});

describe("a caller on no list", () => {
  const refused = { kind: "permission-denied", reason: "CALLER_NOT_ALLOWED" };

  test("is refused by the method, and logged", async () => {
    mesh.log.lines.length = 0;
    expect(await callAs(await mesh.ca.issue("client/mallory"))).toMatchObject(refused);
    expect(mesh.log.lines).toContainEqual(
      expect.objectContaining({ level: "warn", message: "a caller was refused" }),
    );
  });

  test("is refused by a method whose list is empty, whoever it is", async () => {
    for (const id of ["client/alice", "service/test", "operator/olga", "auditor/ann"]) {
      const client = await mesh.client({ tls: await mesh.ca.issue(id) });
      expect(await rejection(client.requests((async function* () {})()))).toMatchObject(refused);
    }
  });
});

describe("a certificate of our CA that is nobody's", () => {
  const alice: JsonGeneralName = { type: "url", value: "spiffe://psephos.test/client/alice" };
  test.each([
    ["without a name", [], {}],
    ["with two", [alice, { type: "url", value: "spiffe://psephos.test/client/bob" }], {}],
    ["of another trust domain", [{ type: "url", value: "spiffe://psephos.other/client/alice" }], {}],
    ["of a CA", [alice], { ca: true }],
  ] as [string, JsonGeneralName[], { ca?: boolean }][])("%s", async (_, names, options) => {
    expect(await callAs(await mesh.ca.issueFor(names, options))).toMatchObject({
      kind: "permission-denied",
      reason: "CALLER_NOT_IDENTIFIED",
    });
  });
});

describe("the handshake fails", () => {
  const failure = async (options: ConnectionOptions): Promise<string> => {
    const socket = connect({
      port: mesh.port,
      host: "127.0.0.1",
      ALPNProtocols: ["h2"],
      rejectUnauthorized: false,
      ...options,
    });
    // In TLS 1.3 a client is done before the server has seen its certificate: the refusal comes with the first read.
    socket.resume();
    const outcome = await Promise.race([
      once(socket, "error").then(([error]) => String(error)),
      once(socket, "close").then(() => "closed"),
      once(socket, "data").then(() => "it was let in"),
    ]).catch(String);
    socket.destroy();
    return outcome;
  };
  const files = ({ certFile, keyFile }: TlsFiles) => ({
    cert: readFileSync(certFile),
    key: readFileSync(keyFile),
  });

  test("without a certificate", async () => {
    expect(await failure({})).toMatch(/certificate.required/i);
  });

  test("with a certificate of another CA, by the same name", async () => {
    using other = await TestCa.create();
    expect(await failure(files(await other.issue("client/alice")))).toMatch(/unknown.ca|ECONNRESET|closed/i);
    const client = await mesh.client({
      tls: { ...(await other.issue("client/alice")), caFile: mesh.ca.caFile },
    });
    expect(await rejection(client.unary({}))).toMatchObject({ kind: "unavailable" });
  });

  test("with one that has expired", async () => {
    const names: JsonGeneralName[] = [{ type: "url", value: "spiffe://psephos.test/client/alice" }];
    const expired = await mesh.ca.issueFor(names, { expired: true });
    expect(await failure(files(expired))).toMatch(/expired|ECONNRESET|closed/i);
  });

  test("over TLS 1.2", async () => {
    const good = files(await mesh.ca.issue("client/alice"));
    expect(await failure({ ...good, minVersion: "TLSv1.2", maxVersion: "TLSv1.2" })).toMatch(
      /protocol.version/i,
    );
    expect(await failure({ ...good, minVersion: "TLSv1.3" })).toBe("it was let in");
  });

  test("without TLS", async () => {
    const session = connectHttp2(`http://127.0.0.1:${mesh.port}`);
    session.on("error", () => {});
    const request = session.request({ ":method": "POST", ":path": "/psephos.test.v1.TestService/Unary" });
    request.on("error", () => {});
    const answered = vi.fn();
    request.on("response", answered);
    await once(request, "close");
    expect(answered).not.toHaveBeenCalled();
    session.destroy();
  });
});

describe("a client does not speak to a server", () => {
  const unreachable = { kind: "unavailable", message: "test cannot be reached" };

  test("that is another service of the mesh", async () => {
    const client = await mesh.client({ expectedServer: "service/other" });
    const error = await rejection(client.unary({}));
    expect(error).toMatchObject({ kind: "unavailable", message: "other cannot be reached" });
    expect(error instanceof Error && error.cause).toMatchObject({
      message: expect.stringContaining("expected service/other, found service/test"),
    });
  });

  test("of another trust domain", async () => {
    const client = await mesh.client({ trustDomain: "psephos.other" });
    expect(await rejection(client.unary({}))).toMatchObject(unreachable);
  });

  test("of a CA it does not know", async () => {
    using other = await TestCa.create();
    const client = await mesh.client({
      tls: { ...(await mesh.ca.issue("client/alice")), caFile: other.caFile },
    });
    expect(await rejection(client.unary({}))).toMatchObject(unreachable);
  });
});

import { createClient } from "@connectrpc/connect";
import { afterAll, beforeAll, expect, test } from "vitest";
import { VoteService } from "../../gen/ts/psephos/vote/v1/vote_pb.js";
import { peerOf } from "./identity.ts";
import { collect, ECHO, Mesh, rejection, TestService } from "./service.fixture.ts";

// Each kind of method, over TLS, in Connect's programming model.

let mesh: Mesh;
beforeAll(async () => {
  mesh = await Mesh.create();
  await mesh.serve({
    ...ECHO,
    unary: (request, context) => {
      context.responseHeader.set("x-header", context.requestHeader.get("x-sent") ?? "nothing");
      context.responseTrailer.set("x-trailer-bin", btoa("\u0000\u0001"));
      expect(context.url).toBe(`https://127.0.0.1:${mesh.port}/psephos.test.v1.TestService/Unary`);
      expect(context.service).toBe(TestService);
      expect(context.method.name).toBe("Unary");
      expect(context.timeoutMs()).toBeGreaterThan(0);
      return { value: Buffer.concat([request.value, Buffer.from(peerOf(context).uri)]) };
    },
  });
});
afterAll(() => mesh[Symbol.asyncDispose]());

async function* bytes(count: number) {
  for (let i = 0; i < count; i++) yield { value: new Uint8Array(i) };
}

test("unary, with metadata both ways and the caller's identity", async () => {
  const client = await mesh.client();
  let header: Headers | undefined;
  let trailer: Headers | undefined;
  const { value } = await client.unary(
    { value: Buffer.from("I am ") },
    {
      headers: { "x-sent": "this" },
      onHeader: (h) => {
        header = h;
      },
      onTrailer: (t) => {
        trailer = t;
      },
    },
  );
  expect(Buffer.from(value).toString()).toBe("I am spiffe://psephos.test/client/alice");
  expect(header?.get("x-header")).toBe("this");
  expect(atob(trailer?.get("x-trailer-bin") ?? "")).toBe("\u0000\u0001");
});

test("answers to one request", async () => {
  const client = await mesh.client();
  const answers = await collect(client.answers({ value: Uint8Array.of(200) }));
  expect(answers.map((answer) => answer.value[0])).toEqual(Array.from({ length: 200 }, (_, i) => i));
});

test("one answer to requests", async () => {
  const client = await mesh.client();
  expect((await client.requests(bytes(10))).value).toEqual(Uint8Array.of(45));
});

test("a conversation, in order", async () => {
  const client = await mesh.client();
  const answers = await collect(client.talk(bytes(500)));
  expect(answers.map((answer) => answer.value.length)).toEqual(Array.from({ length: 500 }, (_, i) => i));
});

test("empty streams", async () => {
  const client = await mesh.client();
  expect(await collect(client.talk(bytes(0)))).toEqual([]);
  expect(await collect(client.answers({ value: Uint8Array.of(0) }))).toEqual([]);
});

test("many calls at once, cancellable by one signal", async () => {
  const client = await mesh.client();
  const { signal } = new AbortController();
  const calls = Array.from({ length: 300 }, () => client.unary({ value: new Uint8Array(10) }, { signal }));
  expect(new Set((await Promise.all(calls)).map(({ value }) => value.length))).toEqual(new Set([44]));
});

test("received bytes are plain Uint8Arrays, whose slice is a copy", async () => {
  const client = await mesh.client();
  const { value } = await client.unary({ value: new Uint8Array(1) });
  expect(Object.getPrototypeOf(value)).toBe(Uint8Array.prototype);
});

test("a method without an implementation, and a service the server does not have", async () => {
  await using other = await Mesh.create();
  await other.serve({ unary: ECHO.unary });
  const client = await other.client();
  const votes = createClient(VoteService, await other.transport());
  const stranger = { kind: "internal", message: "test could not answer" };
  expect(await rejection(collect(client.talk(bytes(1))))).toMatchObject(stranger);
  expect(await rejection(votes.getVote({}))).toMatchObject({
    ...stranger,
    cause: expect.objectContaining({ message: expect.stringContaining("UNIMPLEMENTED") }),
  });
});

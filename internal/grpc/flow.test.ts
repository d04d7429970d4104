import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { ECHO, Mesh, rejection, TestService } from "./service.fixture.ts";

// Nobody's memory fills up because somebody else is slow.

const BLOCK = 50_000;
/** HTTP/2 windows of 64 KiB, sockets' buffers, and what is on its way between them: far less than is on offer. */
const BOUND = 60;

test("a handler waits for a client that reads slowly", async () => {
  await using mesh = await Mesh.create();
  let made = 0;
  await mesh.serve({
    async *answers() {
      for (; made < 200; made++) yield { value: new Uint8Array(BLOCK) };
    },
  });
  const client = await mesh.client();
  const answers = client.answers({})[Symbol.asyncIterator]();
  await answers.next();
  await sleep(200);
  const before = made;
  expect(before).toBeLessThan(BOUND);
  await sleep(200);
  expect(made).toBe(before);
  let read = 1;
  while (!(await answers.next()).done) read++;
  expect(read).toBe(200);
});

test("a client waits for a handler that reads slowly", async () => {
  await using mesh = await Mesh.create();
  const go = Promise.withResolvers<void>();
  await mesh.serve({
    requests: async (requests) => {
      let read = 0;
      for await (const _ of requests) {
        if (read++ === 0) await go.promise;
      }
      return { value: Uint8Array.of(read >> 8, read & 255) };
    },
  });
  const client = await mesh.client();
  let made = 0;
  const requests = async function* () {
    for (; made < 200; made++) yield { value: new Uint8Array(BLOCK) };
  };
  const call = client.requests(requests());
  await sleep(200);
  const before = made;
  expect(before).toBeLessThan(BOUND);
  await sleep(200);
  expect(made).toBe(before);
  go.resolve();
  const [high, low] = (await call).value;
  expect((high ?? 0) * 256 + (low ?? 0)).toBe(200);
});

test("requests that are all there at once do not keep the process from everything else", async () => {
  await using mesh = await Mesh.create();
  await mesh.serve(ECHO);
  const client = await mesh.client();
  const leaving = new AbortController();
  const requests = async function* () {
    for (;;) yield { value: Uint8Array.of(1) };
  };
  const call = rejection(client.requests(requests(), { signal: leaving.signal }));
  const began = performance.now();
  for (let i = 0; i < 5; i++) await sleep(1);
  expect(performance.now() - began).toBeLessThan(5_000);
  leaving.abort();
  await call;
});

test("a handler that stops reading early can still answer", async () => {
  await using mesh = await Mesh.create();
  await mesh.serve({
    ...ECHO,
    async *talk(requests) {
      for await (const request of requests) {
        yield request;
        return;
      }
    },
  });
  const transport = await mesh.transport();
  let stopped = false;
  const requests = async function* () {
    try {
      for (;;) yield { value: new Uint8Array(BLOCK) };
    } finally {
      stopped = true;
    }
  };
  const { message } = await transport.stream(
    TestService.method.talk,
    undefined,
    undefined,
    undefined,
    requests(),
  );
  const answers = [];
  for await (const answer of message) answers.push(answer.value.length);
  expect(answers).toEqual([BLOCK]);
  await expect.poll(() => stopped).toBe(true);
});

test("an answer too large for the client fails its call, not its connection", async () => {
  await using mesh = await Mesh.create();
  await mesh.serve({
    ...ECHO,
    unary: (request) => ({ value: new Uint8Array(request.value[0] ? 100_000 : 1) }),
  });
  const client = await mesh.client({ maxMessageBytes: 50_000 });
  const slow = client.answers({ value: Uint8Array.of(5) })[Symbol.asyncIterator]();
  await slow.next();
  expect(await rejection(client.unary({ value: Uint8Array.of(1) }))).toMatchObject({
    kind: "resource-exhausted",
  });
  expect((await client.unary({})).value.length).toBe(1);
  expect((await slow.next()).value?.value).toEqual(Uint8Array.of(1));
});

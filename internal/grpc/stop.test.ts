import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { collect, ECHO, Mesh, rejection } from "./service.fixture.ts";

async function timed(promise: Promise<void>): Promise<number> {
  const began = performance.now();
  await promise;
  return performance.now() - began;
}

/** What calls are given to end. Those that end by themselves do not use it up, also on a machine that is busy. */
const GRACE_MS = 10_000;
/** Far longer than the 400 ms of grace that some have, and far shorter than for ever. */
const NEVER_MS = 5_000;

describe("a server that stops", () => {
  test("lets a unary call finish, and takes no new ones", async () => {
    await using mesh = await Mesh.create();
    const begun = Promise.withResolvers<void>();
    const go = Promise.withResolvers<void>();
    const server = await mesh.serve({
      unary: async (request) => {
        begun.resolve();
        await go.promise;
        return request;
      },
    });
    const client = await mesh.client();
    const call = client.unary({ value: Uint8Array.of(1) });
    await begun.promise;
    const stopped = server.stop({ graceMs: GRACE_MS });
    const late = await rejection((await mesh.client()).unary({}));
    expect(late).toMatchObject({ kind: "unavailable" });
    go.resolve();
    expect((await call).value).toEqual(Uint8Array.of(1));
    expect(await timed(stopped)).toBeLessThan(GRACE_MS);
    expect(mesh.log.lines.filter(({ level }) => level === "warn")).toEqual([]);
  });

  test("lets a conversation answer what was asked, and says that it is not the end", async () => {
    await using mesh = await Mesh.create();
    const asked = Promise.withResolvers<void>();
    const server = await mesh.serve({
      async *talk(requests) {
        const unanswered = [];
        for await (const request of requests) {
          unanswered.push(request);
          if (unanswered.length === 10) asked.resolve();
        }
        await sleep(20); // as a commit would take
        yield* unanswered;
      },
    });
    const client = await mesh.client();
    const requests = async function* () {
      for (let i = 0; i < 10; i++) yield { value: Uint8Array.of(i) };
      await sleep(30_000, undefined, { ref: false });
    };
    const answers: number[] = [];
    const reading = (async () => {
      for await (const { value } of client.talk(requests())) answers.push(value[0] ?? -1);
    })();
    const failed = rejection(reading);
    await asked.promise;
    const ms = await timed(server.stop({ graceMs: GRACE_MS }));
    expect(await failed).toMatchObject({ kind: "unavailable", reason: "SHUTTING_DOWN" });
    expect(answers).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(ms).toBeLessThan(GRACE_MS);
  });

  test("lets a conversation end well whose client is done asking", async () => {
    await using mesh = await Mesh.create();
    const asked = Promise.withResolvers<void>();
    const go = Promise.withResolvers<void>();
    const server = await mesh.serve({
      async *talk(requests) {
        for await (const request of requests) yield request;
        asked.resolve();
        await go.promise;
        yield {};
      },
    });
    const client = await mesh.client();
    const requests = async function* () {
      yield {};
    };
    const answers = collect(client.talk(requests()));
    await asked.promise;
    const stopped = server.stop({ graceMs: GRACE_MS });
    go.resolve();
    expect(await answers).toHaveLength(2);
    await stopped;
  });

  test("ends streams of answers, and requests that a handler could think complete", async () => {
    await using mesh = await Mesh.create();
    const begun = Promise.withResolvers<void>();
    const ended = Promise.withResolvers<unknown>();
    const server = await mesh.serve({
      async *answers(request, context) {
        yield request;
        await new Promise((resolve) => context.signal.addEventListener("abort", resolve));
      },
      requests: async (requests) => {
        try {
          for await (const _ of requests) begun.resolve();
          ended.resolve("complete");
        } catch (error) {
          ended.resolve(error);
        }
        return {};
      },
    });
    const client = await mesh.client();
    const answers = client.answers({})[Symbol.asyncIterator]();
    await answers.next();
    const requests = async function* () {
      yield {};
      await sleep(30_000, undefined, { ref: false });
    };
    const upload = rejection(client.requests(requests()));
    await begun.promise;
    const stopped = timed(server.stop({ graceMs: GRACE_MS }));
    const shuttingDown = { kind: "unavailable", reason: "SHUTTING_DOWN" };
    expect(await rejection(answers.next())).toMatchObject(shuttingDown);
    expect(await upload).toMatchObject(shuttingDown);
    expect(await ended.promise).toMatchObject(shuttingDown);
    expect(await stopped).toBeLessThan(GRACE_MS);
  });

  test("ends a call that will not finish, in time and with a status", async () => {
    await using mesh = await Mesh.create();
    const begun = Promise.withResolvers<void>();
    const reason = Promise.withResolvers<unknown>();
    const server = await mesh.serve({
      unary: (_, context) => {
        begun.resolve();
        return new Promise(() =>
          context.signal.addEventListener("abort", () => reason.resolve(context.signal.reason)),
        );
      },
    });
    const client = await mesh.client();
    const call = rejection(client.unary({}));
    await begun.promise;
    const ms = await timed(server.stop({ graceMs: 400 }));
    expect(await call).toMatchObject({ kind: "unavailable", reason: "SHUTTING_DOWN" });
    expect(await reason.promise).toMatchObject({ reason: "SHUTTING_DOWN" });
    expect(ms).toBeGreaterThan(250);
    expect(ms).toBeLessThan(NEVER_MS);
    expect(mesh.log.lines).toContainEqual(
      expect.objectContaining({ message: "stopping: calls in progress were ended", fields: { calls: 1 } }),
    );
  });

  test("closes in time even when the client reads nothing", async () => {
    await using mesh = await Mesh.create();
    const server = await mesh.serve({
      async *answers() {
        for (;;) yield { value: new Uint8Array(100_000) };
      },
    });
    const client = await mesh.client();
    const answers = client.answers({})[Symbol.asyncIterator]();
    await answers.next();
    await sleep(50);
    expect(await timed(server.stop({ graceMs: 400 }))).toBeLessThan(NEVER_MS);
    expect(
      await rejection(
        (async () => {
          for (;;) if ((await answers.next()).done) throw new Error("complete");
        })(),
      ),
    ).toMatchObject({ kind: "unavailable" });
  });

  test("stops once, however often it is told", async () => {
    await using mesh = await Mesh.create();
    const server = await mesh.serve();
    await Promise.all([server.stop(), server.stop(), server[Symbol.asyncDispose]()]);
  });

  test("stops although a client does not hang up", async () => {
    await using mesh = await Mesh.create();
    const server = await mesh.serve();
    const client = await mesh.client();
    await client.unary({});
    expect(await timed(server.stop({ graceMs: GRACE_MS }))).toBeLessThan(GRACE_MS);
  });
});

test("a client comes back by itself when the server does", async () => {
  await using mesh = await Mesh.create();
  const first = await mesh.serve();
  const client = await mesh.client();
  await client.unary({});
  await first.stop({ graceMs: 100 });
  expect(await rejection(client.unary({}))).toMatchObject({ kind: "unavailable" });
  await mesh.serve();
  for (let i = 0; ; i++) {
    const error = await client.unary({}).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    if (error === undefined) break;
    expect(i).toBeLessThan(400);
    await sleep(50);
  }
});

test("calls over the limit are RESOURCE_EXHAUSTED, with a retry delay", async () => {
  await using mesh = await Mesh.create();
  const both = Promise.withResolvers<void>();
  let begun = 0;
  const go = Promise.withResolvers<void>();
  await mesh.serve(
    {
      ...ECHO,
      unary: async (request) => {
        if (++begun === 2) both.resolve();
        await go.promise;
        return request;
      },
    },
    { limits: { maxCalls: 2 } },
  );
  const client = await mesh.client();
  const two = [client.unary({}), client.unary({})];
  await both.promise;
  expect(await rejection(client.unary({}))).toMatchObject({
    kind: "resource-exhausted",
    reason: "TOO_MANY_CALLS",
    retryDelayMs: 100,
  });
  go.resolve();
  await Promise.all(two);
  await client.unary({});
  expect(await collect(client.answers({ value: Uint8Array.of(2) }))).toHaveLength(2);
});

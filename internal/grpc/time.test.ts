import { setTimeout as sleep } from "node:timers/promises";
import type { HandlerContext } from "@connectrpc/connect";
import { describe, expect, test, vi } from "vitest";
import { Metrics } from "../telemetry/metrics.ts";
import { CallMetrics } from "./call-metrics.ts";
import { onward } from "./onward.ts";
import { collect, ECHO, Mesh, rejection, TestService } from "./service.fixture.ts";

// Deadlines and cancellation: who waits no longer, and who is told.

/** Resolves, never rejects, when a handler's signal fires. */
function fired(signal: AbortSignal): Promise<unknown> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(signal.reason);
    signal.addEventListener("abort", () => resolve(signal.reason));
  });
}

describe("a deadline", () => {
  test("ends the call on both sides", async () => {
    await using mesh = await Mesh.create();
    const reason = Promise.withResolvers<unknown>();
    await mesh.serve({
      unary: async (request, context) => {
        if (request.value.length > 0) return request;
        expect(context.timeoutMs()).toBeLessThanOrEqual(500);
        reason.resolve(await fired(context.signal));
        return request;
      },
    });
    const client = await mesh.client();
    // The connection must not take its time out of the deadline.
    await client.unary({ value: Uint8Array.of(1) });
    const error = await rejection(client.unary({}, { timeoutMs: 500 }));
    expect(error).toMatchObject({ kind: "deadline-exceeded" });
    // The client's cancellation may be faster than the server's own clock.
    expect(["deadline-exceeded", "cancelled"]).toContain(((await reason.promise) as { kind: string }).kind);
  });

  test("that has passed, or that no answer can meet, costs the server nothing", async () => {
    await using mesh = await Mesh.create();
    const unary = vi.fn(ECHO.unary);
    await mesh.serve({ ...ECHO, unary }, { limits: { minTimeMs: 5_000 } });
    const client = await mesh.client();
    for (const timeoutMs of [-1, 0, 3_000]) {
      expect(await rejection(client.unary({}, { timeoutMs }))).toMatchObject({ kind: "deadline-exceeded" });
    }
    expect(unary).not.toHaveBeenCalled();
    await client.unary({}, { timeoutMs: 9_000 });
  });

  test("is imposed on a call that has none or too long a one", async () => {
    await using mesh = await Mesh.create();
    const left: number[] = [];
    await mesh.serve(
      {
        unary: (request, context) => {
          left.push(context.timeoutMs() ?? Number.NaN);
          return request;
        },
        async *talk(requests, context) {
          left.push(context.timeoutMs() ?? Number.NaN);
          yield* requests;
        },
      },
      { limits: { maxUnaryMs: 2_000, maxStreamMs: 100 } },
    );
    const client = await mesh.client();
    await client.unary({}, { timeoutMs: 60_000 });
    const forever = async function* () {
      await sleep(30_000, undefined, { ref: false });
      yield {};
    };
    expect(await rejection(collect(client.talk(forever())))).toMatchObject({
      kind: "deadline-exceeded",
      message: "the deadline has passed",
    });
    expect(left[0]).toBeLessThanOrEqual(2_000);
    expect(left[1]).toBeLessThanOrEqual(100);
  });

  test("of a call made to serve another is a little shorter", async () => {
    await using inner = await Mesh.create();
    await using outer = await Mesh.create();
    const left: number[] = [];
    await inner.serve({
      unary: async (_, context) => {
        left.push(context.timeoutMs() ?? Number.NaN);
        throw await fired(context.signal);
      },
    });
    const next = await inner.client();
    await outer.serve({
      unary: (request, context) => {
        left.push(context.timeoutMs() ?? Number.NaN);
        return next.unary(request, onward(context));
      },
    });
    const client = await outer.client();
    const error = await rejection(client.unary({}, { timeoutMs: 300 }));
    expect(error).toMatchObject({ kind: "deadline-exceeded" });
    expect(left[1]).toBeLessThan((left[0] ?? 0) - 15);
  });

  test("leaves an onward call the time there is, or none", () => {
    const context = (timeoutMs: number | undefined) =>
      ({ signal: new AbortController().signal, timeoutMs: () => timeoutMs }) as HandlerContext; // all that is used
    expect(onward(context(1_000)).timeoutMs).toBe(980);
    expect(onward(context(1_000), 100).timeoutMs).toBe(100);
    expect(onward(context(undefined))).not.toHaveProperty("timeoutMs");
    expect(onward(context(undefined), 100).timeoutMs).toBe(100);
    expect(() => onward(context(15))).toThrow("not enough time");
  });
});

describe("a client that leaves", () => {
  test("by its signal: CANCELLED here, the handler's signal there", async () => {
    await using mesh = await Mesh.create();
    const began = Promise.withResolvers<void>();
    const reason = Promise.withResolvers<unknown>();
    await mesh.serve({
      unary: async (request, context) => {
        began.resolve();
        reason.resolve(await fired(context.signal));
        return request;
      },
    });
    const client = await mesh.client();
    const leaving = new AbortController();
    const call = rejection(client.unary({}, { signal: leaving.signal }));
    await began.promise;
    leaving.abort(new Error("the user went home"));
    expect(await call).toMatchObject({ kind: "cancelled", cause: { message: "the user went home" } });
    expect(await reason.promise).toMatchObject({
      kind: "cancelled",
      message: "the client cancelled the call",
    });
    expect(await rejection(client.unary({}, { signal: leaving.signal }))).toMatchObject({
      kind: "cancelled",
    });
  });

  test("amid a conversation: the handler's requests fail and its finally blocks run", async () => {
    await using mesh = await Mesh.create();
    const seen = Promise.withResolvers<unknown>();
    await mesh.serve({
      async *talk(requests) {
        try {
          yield* requests;
        } catch (error) {
          seen.resolve(error);
          throw error;
        }
      },
    });
    const client = await mesh.client();
    const leaving = new AbortController();
    const requests = async function* () {
      yield { value: Uint8Array.of(1) };
      await sleep(30_000, undefined, { ref: false });
    };
    const answers = client.talk(requests(), { signal: leaving.signal })[Symbol.asyncIterator]();
    await answers.next();
    leaving.abort();
    expect(await rejection(answers.next())).toMatchObject({ kind: "cancelled" });
    expect(await seen.promise).toMatchObject({ kind: "cancelled" });
  });

  test("while a handler waits to send: the handler is released", async () => {
    await using mesh = await Mesh.create();
    const released = Promise.withResolvers<void>();
    await mesh.serve({
      async *answers() {
        try {
          for (;;) yield { value: new Uint8Array(100_000) };
        } finally {
          released.resolve();
        }
      },
    });
    const client = await mesh.client();
    const leaving = new AbortController();
    const answers = client.answers({}, { signal: leaving.signal })[Symbol.asyncIterator]();
    await answers.next();
    await sleep(50); // long enough for the windows to fill
    leaving.abort();
    await released.promise;
  });

  test("by breaking its connection", async () => {
    await using mesh = await Mesh.create();
    const began = Promise.withResolvers<void>();
    const reason = Promise.withResolvers<unknown>();
    await mesh.serve({
      unary: async (request, context) => {
        began.resolve();
        reason.resolve(await fired(context.signal));
        return request;
      },
    });
    const transport = await mesh.transport();
    const call = rejection(transport.unary(TestService.method.unary, undefined, undefined, undefined, {}));
    await began.promise;
    await transport.close();
    expect(await call).toMatchObject({ kind: "unavailable" });
    expect(await reason.promise).toMatchObject({ kind: "cancelled" });
    expect(
      await rejection(transport.unary(TestService.method.unary, undefined, undefined, undefined, {})),
    ).toMatchObject({ message: "the transport is closed" });
  });
});

test("a handler's signal fires when its call has ended well", async () => {
  await using mesh = await Mesh.create();
  let reason: Promise<unknown> = Promise.resolve();
  await mesh.serve({
    unary: (request, context) => {
      reason = fired(context.signal);
      return request;
    },
  });
  await (await mesh.client()).unary({});
  expect(await reason).toMatchObject({ message: "the call has ended" });
});

test("a client that stops reading answers cancels the call", async () => {
  await using mesh = await Mesh.create();
  const reason = Promise.withResolvers<unknown>();
  await mesh.serve({
    async *talk(requests, context) {
      void fired(context.signal).then(reason.resolve);
      yield* requests;
      await fired(context.signal);
    },
  });
  const transport = await mesh.transport();
  let asked = 0;
  const requests = async function* () {
    for (;;) yield { value: Uint8Array.of(asked++) };
  };
  const { message } = await transport.stream(
    TestService.method.talk,
    undefined,
    undefined,
    undefined,
    requests(),
  );
  for await (const _ of message) break;
  expect(await reason.promise).toMatchObject({ kind: "cancelled" });
});

test("every call is counted once, by what became of it, on both sides", async () => {
  await using mesh = await Mesh.create();
  const [here, there] = [new Metrics({ service: "here" }), new Metrics({ service: "there" })];
  await mesh.serve(ECHO, { metrics: new CallMetrics({ metrics: there }) });
  const client = await mesh.client({ metrics: new CallMetrics({ metrics: here }) });
  await client.unary({});
  await client.unary({});
  await collect(client.talk((async function* () {})()));
  await rejection(client.unary({}, { signal: AbortSignal.abort() }));
  for (const [metrics, side] of [
    [here, "client"],
    [there, "server"],
  ] as const) {
    await vi.waitFor(async () => {
      const counts = (await metrics.render())
        .split("\n")
        .filter((line) => line.includes("call_seconds_count"));
      expect(counts.map((line) => line.replace(/service="\w+"/, ""))).toEqual([
        expect.stringMatching(`side="${side}",method="psephos.test.v1.TestService/Unary",code="OK".* 2`),
        expect.stringMatching(`side="${side}",method="psephos.test.v1.TestService/Talk",code="OK".* 1`),
      ]);
    });
  }
});

import { setTimeout as delay, setImmediate as turn } from "node:timers/promises";
import { expect, test } from "vitest";
import { answerStream } from "./answer-stream.ts";

const never = new AbortController().signal;

/** Answers that the test gives when it wants to. */
function byHand() {
  const asked: number[] = [];
  const answers = new Map<number, (value: string) => void>();
  const answer = (request: number) => {
    asked.push(request);
    return new Promise<string>((resolve) => answers.set(request, resolve));
  };
  return { asked, answer, give: (request: number) => answers.get(request)?.(`answer ${request}`) };
}

async function* numbers(count: number) {
  for (let i = 0; i < count; i++) yield i;
}

test("answers come as they are ready, in any order, and all of them", async () => {
  const { answer, give } = byHand();
  const stream = answerStream(numbers(3), { answer, limit: 10, signal: never });
  const first = stream.next();
  await turn();
  give(2);
  expect(await first).toEqual({ done: false, value: "answer 2" });
  const second = stream.next();
  give(0);
  expect(await second).toEqual({ done: false, value: "answer 0" });
  give(1);
  expect(await stream.next()).toEqual({ done: false, value: "answer 1" });
  expect(await stream.next()).toEqual({ done: true, value: undefined });
});

test("an empty stream ends at once", async () => {
  const stream = answerStream(numbers(0), { answer: async () => "x", limit: 1, signal: never });
  expect(await stream.next()).toEqual({ done: true, value: undefined });
});

test("half-close waits for the last answer", async () => {
  const answer = async (request: number) => {
    await delay(20);
    return request;
  };
  const answers: number[] = [];
  for await (const value of answerStream(numbers(100), { answer, limit: 7, signal: never }))
    answers.push(value);
  expect(answers.sort((a, b) => a - b)).toEqual(Array.from({ length: 100 }, (_, i) => i));
});

test("no more requests are read than the limit allows, and an answer taken makes room", async () => {
  const { asked, answer, give } = byHand();
  const stream = answerStream(numbers(1_000), { answer, limit: 5, signal: never });
  const first = stream.next();
  await delay(10);
  expect(asked).toHaveLength(5);
  give(3);
  await first;
  // Ready answers that nobody takes count as well.
  for (const request of [0, 1, 2, 4]) give(request);
  await delay(10);
  expect(asked).toHaveLength(6);
  await stream.next();
  await delay(10);
  expect(asked).toHaveLength(7);
});

test("requests that fail end the stream with their error", async () => {
  async function* broken() {
    yield 1;
    throw new Error("the client left");
  }
  const stream = answerStream(broken(), { answer: async (n) => n, limit: 5, signal: never });
  expect(await stream.next()).toEqual({ done: false, value: 1 });
  await expect(stream.next()).rejects.toThrow("the client left");
});

test("an abort ends it although nothing comes in and nothing goes out", async () => {
  const { answer } = byHand();
  const controller = new AbortController();
  async function* silent() {
    yield 1;
    await new Promise(() => {});
  }
  const stream = answerStream(silent(), { answer, limit: 5, signal: controller.signal });
  const next = stream.next();
  await turn();
  controller.abort(new Error("deadline"));
  await expect(next).rejects.toThrow("deadline");
});

test("a reader that stops early stops the reading", async () => {
  const { asked, answer, give } = byHand();
  let returned = false;
  async function* endless() {
    try {
      for (let i = 0; ; i++) yield i;
    } finally {
      returned = true;
    }
  }
  const stream = answerStream(endless(), { answer, limit: 3, signal: never });
  const first = stream.next();
  await turn();
  give(0);
  await first;
  await stream.return();
  await delay(10);
  expect(returned).toBe(true);
  expect(asked.length).toBeLessThanOrEqual(4);
});

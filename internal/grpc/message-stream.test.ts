import { describe, expect, test } from "vitest";
import { MessageStream } from "./message-stream.ts";

function stream() {
  const log: string[] = [];
  const messages = new MessageStream<number>({ read: () => log.push("read"), left: () => log.push("left") });
  return { messages, log };
}

describe("a message stream", () => {
  test("asks for a message only when one is wanted", async () => {
    const { messages, log } = stream();
    expect(log).toEqual([]);
    const first = messages.next();
    expect(log).toEqual(["read"]);
    messages.push(1);
    expect(await first).toEqual({ done: false, value: 1 });
    expect(log).toEqual(["read"]);
  });

  test("serves several readers in turn, one read at a time", async () => {
    const { messages, log } = stream();
    const wanted = [messages.next(), messages.next(), messages.next()];
    expect(log).toEqual(["read"]);
    messages.push(1);
    messages.push(2);
    expect(log).toEqual(["read", "read", "read"]);
    messages.end();
    expect(await Promise.all(wanted)).toEqual([
      { done: false, value: 1 },
      { done: false, value: 2 },
      { done: true, value: undefined },
    ]);
  });

  test("takes a message given while it asks", async () => {
    let next = 0;
    const messages: MessageStream<number> = new MessageStream({
      read: () => (next < 3 ? messages.push(next++) : messages.end()),
    });
    const seen: number[] = [];
    for await (const message of messages) seen.push(message);
    expect(seen).toEqual([0, 1, 2]);
  });

  test("fails once and for all", async () => {
    const { messages } = stream();
    const waiting = messages.next();
    messages.fail(new Error("gone"));
    await expect(waiting).rejects.toThrow("gone");
    await expect(messages.next()).rejects.toThrow("gone");
  });

  test("does not fail after its end", async () => {
    const { messages } = stream();
    messages.end();
    messages.fail(new Error("too late"));
    expect(await messages.next()).toEqual({ done: true, value: undefined });
  });

  test("says when its reader leaves early, and only then", async () => {
    const { messages, log } = stream();
    queueMicrotask(() => messages.push(1));
    for await (const _ of messages) break;
    expect(log).toEqual(["read", "left"]);
    const ended = stream();
    ended.messages.end();
    for await (const _ of ended.messages) break;
    await ended.messages.return();
    expect(ended.log).toEqual([]);
  });
});

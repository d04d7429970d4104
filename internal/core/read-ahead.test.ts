import { expect, test } from "vitest";
import { readAhead } from "./read-ahead.ts";

async function* numbers(count: number, started: number[], end: () => void) {
  try {
    for (let i = 0; i < count; i++) {
      started.push(i);
      yield i;
    }
  } finally {
    end();
  }
}

test("items come in order, and so many are started before they are wanted", async () => {
  const started: number[] = [];
  const seen: number[] = [];
  for await (const item of readAhead(
    numbers(6, started, () => {}),
    3,
  )) {
    seen.push(item);
    expect(started.length).toBeLessThanOrEqual(item + 3);
    expect(started.length).toBeGreaterThanOrEqual(Math.min(6, item + 1));
  }
  expect(seen).toEqual([0, 1, 2, 3, 4, 5]);
});

test("who stops early ends the source", async () => {
  let ended = 0;
  for await (const item of readAhead(
    numbers(6, [], () => ended++),
    3,
  ))
    if (item === 1) break;
  expect(ended).toBe(1);
});

test("an error comes after the items before it", async () => {
  async function* failing() {
    yield 1;
    throw new Error("no more");
  }
  const seen: number[] = [];
  const reading = async () => {
    for await (const item of readAhead(failing(), 4)) {
      await new Promise((resolve) => setTimeout(resolve, 5));
      seen.push(item);
    }
  };
  await expect(reading()).rejects.toThrow("no more");
  expect(seen).toEqual([1]);
});

import { expect, test } from "vitest";
import { mapConcurrently } from "./map-concurrently.ts";

const tick = () => new Promise((resolve) => setTimeout(resolve, 1));

test("answers in order, and never does more at once than it may", async () => {
  let [now, most] = [0, 0];
  const work = async (item: number, index: number) => {
    most = Math.max(most, ++now);
    await tick();
    if (index % 3 === 0) await tick();
    now--;
    return item * 2;
  };
  const items = Array.from({ length: 20 }, (_, i) => i);
  expect(await mapConcurrently(items, 4, work)).toEqual(items.map((item) => item * 2));
  expect(most).toBe(4);
  expect(await mapConcurrently([], 4, work)).toEqual([]);
});

test("a failure starts no more, and is told when what is under way has settled", async () => {
  const [started, settled]: number[][] = [[], []];
  const work = async (item: number) => {
    started?.push(item);
    if (item === 2) throw new Error("no");
    await tick();
    settled?.push(item);
  };
  await expect(mapConcurrently([0, 1, 2, 3, 4, 5], 3, work)).rejects.toThrow("no");
  expect(started).toEqual([0, 1, 2]);
  expect(settled).toEqual([0, 1]);
});

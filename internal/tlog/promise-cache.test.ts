import { expect, test } from "vitest";
import { PromiseCache } from "./promise-cache.ts";

function counting(): { loads: string[]; load: (key: string) => () => Promise<string> } {
  const loads: string[] = [];
  const load = (key: string) => async () => {
    loads.push(key);
    return key.toUpperCase();
  };
  return { loads, load };
}

test("one load for callers at the same time and after", async () => {
  const { loads, load } = counting();
  const cache = new PromiseCache<string>({ limit: 2 });
  expect(await Promise.all([cache.get("a", load("a")), cache.get("a", load("a"))])).toEqual(["A", "A"]);
  expect(await cache.get("a", load("a"))).toBe("A");
  expect(loads).toEqual(["a"]);
});

test("the least recently used goes first", async () => {
  const { loads, load } = counting();
  const cache = new PromiseCache<string>({ limit: 2 });
  for (const key of ["a", "b", "a", "c", "a", "b"]) await cache.get(key, load(key));
  expect(loads).toEqual(["a", "b", "c", "b"]);
});

test("a failed load is tried again", async () => {
  const cache = new PromiseCache<string>({ limit: 2 });
  const failure = new Error("no");
  await expect(cache.get("a", () => Promise.reject(failure))).rejects.toBe(failure);
  expect(await cache.get("a", async () => "A")).toBe("A");
});

import { setImmediate } from "node:timers/promises";
import { expect, test } from "vitest";
import { utf8 } from "../core/bytes.ts";
import type { ObjectStore } from "./object-store.ts";
import { putAll } from "./put-all.ts";

/** A store whose puts settle when the test says so. */
function gatedStore() {
  const open = new Map<string, { resolve: () => void; reject: (error: Error) => void }>();
  const store: ObjectStore = {
    put: (key, body) =>
      new Promise((resolve, reject) => {
        const object = { key, versionId: "v", sha256: "", bytes: body.length, retainUntil: null };
        open.set(key, { resolve: () => resolve(object), reject });
      }),
    get: () => Promise.resolve(undefined),
    stat: () => Promise.resolve(undefined),
    list: async function* () {},
  };
  return { open, store };
}

const objects = (count: number) =>
  Array.from({ length: count }, (_, i) => ({ key: `k${i}`, body: utf8(`${i}`) }));

test("answers what is stored in the order asked, whatever the order of completion", async () => {
  const { open, store } = gatedStore();
  const done = putAll(store, objects(3));
  for (const key of ["k2", "k0", "k1"]) {
    open.get(key)?.resolve();
    await setImmediate();
  }
  expect((await done).map((object) => object.key)).toEqual(["k0", "k1", "k2"]);
  expect(await putAll(store, [])).toEqual([]);
});

test("keeps at most so many puts under way", async () => {
  const { open, store } = gatedStore();
  const done = putAll(store, objects(5), 2);
  expect([...open.keys()]).toEqual(["k0", "k1"]);
  open.get("k1")?.resolve();
  await setImmediate();
  expect([...open.keys()]).toEqual(["k0", "k1", "k2"]);
  for (const key of ["k0", "k2", "k3", "k4"]) {
    open.get(key)?.resolve();
    await setImmediate();
  }
  expect(await done).toHaveLength(5);
});

test("after a failure it starts no more and rejects when none is under way", async () => {
  const { open, store } = gatedStore();
  let settled = false;
  const done = putAll(store, objects(9), 3).finally(() => {
    settled = true;
  });
  done.catch(() => {});
  open.get("k1")?.reject(new Error("disk full"));
  await setImmediate();
  open.get("k0")?.resolve();
  await setImmediate();
  expect([...open.keys()]).toEqual(["k0", "k1", "k2"]);
  expect(settled).toBe(false);
  open.get("k2")?.resolve();
  await expect(done).rejects.toThrow("disk full");
});

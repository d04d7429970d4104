import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { expect, test } from "vitest";
import { utf8 } from "../core/bytes.ts";
import { DirectoryStore } from "./directory-store.ts";
import { type Fault, FaultyStore, InjectedFault } from "./faulty-store.ts";
import { keys } from "./object-store.contract.ts";

async function newFaultyStore(fault: FaultyStore["fault"]) {
  const directory = await mkdtemp(join(tmpdir(), "psephos-worm-"));
  const store = new DirectoryStore({ directory });
  return {
    store,
    faulty: new FaultyStore({ store, fault }),
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true, force: true }),
  };
}

test("lets calls through, and counts them", async () => {
  await using place = await newFaultyStore(() => undefined);
  const object = await place.faulty.put("a", utf8("x"));
  expect(await place.faulty.get("a", object.versionId)).toEqual(utf8("x"));
  expect(await place.faulty.stat("a", object.versionId)).toMatchObject({ bytes: 1 });
  expect(await keys(place.faulty, "")).toEqual(["a"]);
  await place.faulty.put("b", utf8("x"));
  expect(place.faulty.operations).toEqual([
    { name: "put", key: "a", call: 1 },
    { name: "get", key: "a", call: 1 },
    { name: "stat", key: "a", call: 1 },
    { name: "list", key: "", call: 1 },
    { name: "put", key: "b", call: 2 },
  ]);
});

test.each<[Fault, string[]]>([
  ["before", []],
  ["after", ["a"]],
])("a put failing %s it happened leaves %j", async (fault, there) => {
  await using place = await newFaultyStore(({ name, call }) =>
    name === "put" && call === 1 ? fault : undefined,
  );
  await expect(place.faulty.put("a", utf8("x"))).rejects.toThrow(InjectedFault);
  expect(await keys(place.store, "")).toEqual(there);
  expect(await place.faulty.put("a", utf8("x"))).toMatchObject({ bytes: 1 });
});

test("a call that hangs does nothing, and rejects once released", async () => {
  await using place = await newFaultyStore(() => "hang");
  let settled = false;
  const put = place.faulty.put("a", utf8("x")).finally(() => {
    settled = true;
  });
  put.catch(() => {});
  await setImmediate();
  expect(settled).toBe(false);
  place.faulty.release();
  await expect(put).rejects.toThrow(InjectedFault);
  expect(await place.store.get("a")).toBeUndefined();
});

test("reads fail too", async () => {
  await using place = await newFaultyStore(({ name }) => (name === "put" ? undefined : "before"));
  await place.faulty.put("a", utf8("x"));
  await expect(place.faulty.get("a")).rejects.toThrow(InjectedFault);
  await expect(place.faulty.stat("a")).rejects.toThrow(InjectedFault);
  await expect(keys(place.faulty, "")).rejects.toThrow(InjectedFault);
  place.faulty.fault = () => "after";
  await expect(keys(place.faulty, "")).rejects.toThrow(InjectedFault);
});

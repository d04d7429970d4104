// For tests: what every ObjectStore must pass.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { toHex, utf8 } from "../core/bytes.ts";
import { sha256 } from "../core/sha256.ts";
import {
  isKey,
  MAX_OBJECT_BYTES,
  ObjectConflictError,
  ObjectKeyError,
  type ObjectStore,
} from "./object-store.ts";

/** An empty place for objects. */
export interface Place extends AsyncDisposable {
  /** A new store over this place, as another process would open it. */
  open(): ObjectStore;
}

/** Declares the tests of the contract for the stores that `newPlace` gives. `runs` is how many places one property takes. */
export function objectStoreContract(name: string, newPlace: () => Promise<Place>, { runs = 40 } = {}): void {
  describe(`${name} keeps the contract of ObjectStore`, () => {
    test("what was put is read back, by any store over the same place", async () => {
      await using place = await newPlace();
      const body = utf8("psephos");
      const object = await place.open().put("vermont-2020/votes/a.json", body);
      expect(object).toMatchObject({
        key: "vermont-2020/votes/a.json",
        bytes: 7,
        sha256: toHex(sha256(body)),
        versionId: expect.stringMatching(/./),
      });
      for (const store of [place.open(), place.open()]) {
        expect(await store.get("vermont-2020/votes/a.json")).toEqual(body);
        expect(await store.get("vermont-2020/votes/a.json", object.versionId)).toEqual(body);
        expect(await keys(store, "")).toEqual(["vermont-2020/votes/a.json"]);
      }
    });

    test("stat says of an object what put answered", async () => {
      await using place = await newPlace();
      const body = utf8("psephos");
      const { key, versionId, sha256: hash, bytes } = await place.open().put("a/b", body);
      const expected = { key, versionId, sha256: hash, bytes, access: "available", storageClass: "STANDARD" };
      expect(await place.open().stat("a/b")).toMatchObject(expected);
      expect(await place.open().stat("a/b", versionId)).toMatchObject(expected);
      for (const missing of ["a", "a/b/c", "a/c"]) expect(await place.open().stat(missing)).toBeUndefined();
    });

    test("an object may be empty", async () => {
      await using place = await newPlace();
      const object = await place.open().put("empty", new Uint8Array());
      expect(object.bytes).toBe(0);
      expect(await place.open().get("empty")).toEqual(new Uint8Array());
    });

    test("nothing is there that was not put", async () => {
      await using place = await newPlace();
      const store = place.open();
      await store.put("a/b", utf8("x"));
      for (const key of ["a", "a/b/c", "a/c", "b"]) expect(await store.get(key)).toBeUndefined();
    });

    test("putting equal bytes again answers the same object", async () => {
      await using place = await newPlace();
      const first = await place.open().put("a/b", utf8("same"));
      const store = place.open();
      expect(await store.put("a/b", utf8("same"))).toEqual(first);
      expect(await store.put("a/b", utf8("same"))).toEqual(first);
    });

    test.each(["other", "sames", "sam", ""])(
      "putting other bytes (%j) is refused and changes nothing",
      async (other) => {
        await using place = await newPlace();
        const first = await place.open().put("a/b", utf8("same"));
        const refused = place.open().put("a/b", utf8(other));
        await expect(refused).rejects.toThrow(ObjectConflictError);
        await expect(refused).rejects.toMatchObject({ key: "a/b" });
        expect(await place.open().get("a/b", first.versionId)).toEqual(utf8("same"));
      },
    );

    test("of writers at once with equal bytes, all succeed with one answer", async () => {
      await using place = await newPlace();
      const stores = [place.open(), place.open()];
      const puts = Array.from({ length: 16 }, (_, i) => stores[i % 2]?.put("deep/er/key", utf8("equal")));
      const objects = await Promise.all(puts);
      expect(new Set(objects.map((object) => JSON.stringify(object))).size).toBe(1);
    });

    test("of writers at once with other bytes, one succeeds", async () => {
      await using place = await newPlace();
      const stores = [place.open(), place.open()];
      const results = await Promise.allSettled(
        Array.from({ length: 16 }, (_, i) => stores[i % 2]?.put("deep/er/key", utf8(`writer ${i}`))),
      );
      const winners = results.flatMap((result, i) => (result.status === "fulfilled" ? [i] : []));
      expect(winners).toHaveLength(1);
      for (const result of results) {
        if (result.status === "rejected") expect(result.reason).toBeInstanceOf(ObjectConflictError);
      }
      expect(await place.open().get("deep/er/key")).toEqual(utf8(`writer ${winners[0]}`));
    });

    test("the store keeps its own copy", async () => {
      await using place = await newPlace();
      const store = place.open();
      const body = utf8("mine");
      await store.put("k", body);
      body.fill(0);
      const read = await store.get("k");
      expect(read).toEqual(utf8("mine"));
      read?.fill(0);
      expect(await store.get("k")).toEqual(utf8("mine"));
    });

    test("an object over the size limit is refused", async () => {
      await using place = await newPlace();
      const body = new Uint8Array(MAX_OBJECT_BYTES + 1);
      await expect(place.open().put("big", body)).rejects.toThrow(ObjectKeyError);
      expect(await place.open().get("big")).toBeUndefined();
    });

    test("a folder of keys sorts among files by its slash", async () => {
      await using place = await newPlace();
      const store = place.open();
      const inOrder = ["t/234.p/7", "t/234/x", "t/2340", "t/235", "t_", "u"];
      for (const key of inOrder.toReversed()) await store.put(key, utf8(key));
      expect(await keys(store, "")).toEqual(inOrder);
      expect(await keys(store, "t/234")).toEqual(inOrder.slice(0, 3));
      expect(await keys(store, "t/")).toEqual(inOrder.slice(0, 4));
      expect(await keys(store, "t/234/")).toEqual(["t/234/x"]);
      expect(await keys(store, "v/w")).toEqual([]);
      expect(await keys(store, "u/")).toEqual([]);
    });

    test("list is complete, ascending and cut by its prefix, whatever the keys", async () => {
      const nameOf = fc.stringMatching(/^[ab1_-][ab1_.-]{0,3}$/);
      const keyOf = fc.array(nameOf, { minLength: 1, maxLength: 3 }).map((names) => names.join("/"));
      await fc.assert(
        fc.asyncProperty(fc.uniqueArray(keyOf, { maxLength: 20 }), fc.nat(6), async (candidates, cut) => {
          await using place = await newPlace();
          const store = place.open();
          const present = candidates.filter(
            (key) => !candidates.some((other) => other.startsWith(`${key}/`)),
          );
          await Promise.all(present.map((key) => store.put(key, utf8(key))));
          const prefix = present[0]?.slice(0, cut) ?? "";
          const expected = present.filter((key) => key.startsWith(prefix)).sort();
          expect(await keys(store, prefix)).toEqual(expected);
        }),
        { numRuns: runs },
      );
    });

    test.each([
      "",
      "/",
      "a/",
      "/a",
      "a//b",
      ".",
      "..",
      "../a",
      "a/../b",
      "a/./b",
      "a/..",
      ".tmp/x",
      "a/.hidden",
      "A",
      "a b",
      "a\\b",
      "a\0b",
      "a\nb",
      "é",
      "a:b",
      "a*",
      "%2e%2e/a",
      "a".repeat(256),
      `${"a/".repeat(256)}a`,
    ])("the malformed key %j is refused by all", async (key) => {
      await using place = await newPlace();
      const store = place.open();
      await expect(store.put(key, utf8("x"))).rejects.toThrow(ObjectKeyError);
      await expect(store.get(key)).rejects.toThrow(ObjectKeyError);
      await expect(store.stat(key)).rejects.toThrow(ObjectKeyError);
      expect(await keys(store, "")).toEqual([]);
    });

    test.each(["/", "a//", "../", "..", "a/../b", "a/.", ".tmp", "A", "a b"])(
      "no key starts with %j",
      async (prefix) => {
        await using place = await newPlace();
        await expect(keys(place.open(), prefix)).rejects.toThrow(ObjectKeyError);
      },
    );

    test("any text is a key that works or is refused as one", async () => {
      await using place = await newPlace();
      const store = place.open();
      const text = fc.oneof(
        fc.string({ unit: "binary", maxLength: 40 }),
        fc
          .array(fc.constantFrom("a", "..", ".", "", "/", "b.c", "\0", "-"), { maxLength: 6 })
          .map((x) => x.join("/")),
      );
      await fc.assert(
        fc.asyncProperty(text, async (key) => {
          if (isKey(key)) await store.get(key);
          else await expect(store.put(key, utf8(key))).rejects.toThrow(ObjectKeyError);
        }),
        { numRuns: 300 },
      );
      expect(await keys(store, "")).toEqual([]);
    });
  });
}

/** All keys that `list` gives, in its order. */
export async function keys(store: ObjectStore, prefix: string): Promise<string[]> {
  const found: string[] = [];
  for await (const key of store.list(prefix)) found.push(key);
  return found;
}

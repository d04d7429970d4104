// What differs from a directory: locks, versions, and other people who may write.

import { setTimeout as sleep } from "node:timers/promises";
import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
  type PutObjectCommandInput,
} from "@aws-sdk/client-s3";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { S3_IMPLEMENTATIONS } from "../../deploy/local/s3-binaries.ts";
import { equalBytes, utf8 } from "../core/bytes.ts";
import { keys, objectStoreContract } from "./object-store.contract.ts";
import {
  MAX_OBJECT_BYTES,
  ObjectConflictError,
  ObjectCorruptError,
  ObjectLockError,
  ObjectStoreError,
} from "./object-store.ts";
import { S3Calls } from "./s3-calls.ts";
import { S3Store, type S3StoreOptions } from "./s3-store.ts";
import { type ObjectVersion, S3Versions } from "./s3-versions.ts";
import { TestS3 } from "./test-s3.ts";

const DAY_MS = 86_400_000;

describe.each(S3_IMPLEMENTATIONS)("S3Store over %s", (implementation) => {
  let s3: TestS3;
  let bucket: string;
  let places = 0;

  beforeAll(async () => {
    s3 = await TestS3.start(implementation);
    bucket = await s3.createBucket();
  });

  afterAll(() => s3?.[Symbol.asyncDispose]());

  /** An empty place in the bucket, and what its administrator does there. */
  function newPlace() {
    const prefix = `place-${++places}`;
    const stores = new AsyncDisposableStack();
    const name = (key: string) => ({ Bucket: bucket, Key: `${prefix}/${key}` });
    return {
      prefix,
      open: (options: Partial<S3StoreOptions> = {}): S3Store =>
        stores.use(s3.store(bucket, { prefix, ...options })),
      write: (key: string, text: string, more: Partial<PutObjectCommandInput> = {}) =>
        s3.client.send(new PutObjectCommand({ ...name(key), Body: utf8(text), ...more })),
      hide: (key: string) => s3.client.send(new DeleteObjectCommand(name(key))),
      deleteVersion: (key: string, VersionId: string) =>
        s3.client.send(new DeleteObjectCommand({ ...name(key), VersionId, BypassGovernanceRetention: true })),
      head: (key: string, VersionId: string) =>
        s3.client.send(new HeadObjectCommand({ ...name(key), VersionId, ChecksumMode: "ENABLED" })),
      current: (key: string) => s3.client.send(new GetObjectCommand(name(key))),
      [Symbol.asyncDispose]: () => stores.disposeAsync(),
    };
  }

  objectStoreContract("S3Store", async () => newPlace(), { runs: 10 });

  test.each(["COMPLIANCE", "GOVERNANCE"] as const)(
    "an object is locked with %s, as put says",
    async (mode) => {
      await using place = newPlace();
      const before = Date.now();
      const store = place.open({ retention: { mode, days: 2 } });
      for (const key of ["first", "second"]) {
        const { versionId, retainUntil, sha256 } = await store.put(key, utf8("x"));
        const until = retainUntil?.getTime() ?? 0;
        expect(until % 1000).toBe(0);
        expect(until).toBeGreaterThan(before + 2 * DAY_MS - 1000);
        expect(until).toBeLessThanOrEqual(Date.now() + 2 * DAY_MS);
        expect(await store.stat(key)).toMatchObject({ sha256, retention: { mode, until: retainUntil } });
        const head = await place.head(key, versionId);
        expect(head.ObjectLockMode).toBe(mode);
        expect(head.ObjectLockRetainUntilDate).toEqual(retainUntil);
        expect(head.ChecksumSHA256).toBe(Buffer.from(sha256, "hex").toString("base64"));
      }
    },
  );

  test("a repeated put answers the first one's retention, whatever the setting is now", async () => {
    await using place = newPlace();
    const first = await place.open({ retention: { days: 2 } }).put("a/x", utf8("x"));
    expect(await place.open({ retention: { days: 9, mode: "GOVERNANCE" } }).put("a/x", utf8("x"))).toEqual(
      first,
    );
  });

  test("a newer version on top changes nothing", async () => {
    await using place = newPlace();
    const known = place.open();
    const object = await known.put("a/x", utf8("true"));
    const { versionId, retainUntil: until } = object;
    const fake = await place.write("a/x", "fake");
    expect(await (await place.current("a/x")).Body?.transformToString()).toBe("fake");
    for (const store of [known, place.open()]) {
      expect(await store.get("a/x")).toEqual(utf8("true"));
      expect(await store.get("a/x", versionId)).toEqual(utf8("true"));
      expect(await store.get("a/x", fake.VersionId)).toEqual(utf8("fake"));
      expect(await store.stat("a/x")).toMatchObject({ versionId, retention: { mode: "COMPLIANCE", until } });
      expect(await keys(store, "")).toEqual(["a/x"]);
      expect(await store.put("a/x", utf8("true"))).toEqual(object);
      await expect(store.put("a/x", utf8("fake"))).rejects.toThrow(ObjectConflictError);
    }
    expect(await versions(known)).toEqual([`a/x ${fake.VersionId} latest`, `a/x ${versionId}`]);
  });

  test("a delete marker on top hides nothing", async () => {
    await using place = newPlace();
    const known = place.open();
    const object = await known.put("a/x", utf8("true"));
    const { versionId, retainUntil: until } = object;
    const { VersionId: marker } = await place.hide("a/x");
    await expect(place.current("a/x")).rejects.toThrow();
    for (const store of [known, place.open(), place.open()]) {
      // The put first: a reader would have told the store what is there.
      await expect(store.put("a/x", utf8("else"))).rejects.toThrow(ObjectConflictError);
      expect(await store.put("a/x", utf8("true"))).toEqual(object);
      expect(await store.get("a/x")).toEqual(utf8("true"));
      expect(await store.get("a/x", versionId)).toEqual(utf8("true"));
      expect(await store.get("a/x", marker)).toBeUndefined();
      expect(await store.stat("a/x")).toMatchObject({ versionId, retention: { mode: "COMPLIANCE", until } });
      expect(await keys(store, "a/")).toEqual(["a/x"]);
    }
    expect(await versions(known)).toEqual([`a/x ${marker} marker latest`, `a/x ${versionId}`]);
  });

  test("versions and markers are listed newest first", async () => {
    await using place = newPlace();
    const store = place.open();
    const first = await store.put("a", utf8("1"));
    const second = await place.write("a", "2");
    const marker = await place.hide("a");
    const third = await place.write("a", "3");
    const beside = await place.write("a-b", "beside");
    const lines = await versions(store);
    expect(lines.toSorted()).toEqual(
      [
        `a ${third.VersionId} latest`,
        `a ${marker.VersionId} marker`,
        `a ${second.VersionId}`,
        `a ${first.versionId}`,
        `a-b ${beside.VersionId} latest`,
      ].sort(),
    );
    // Where among the versions a marker stands, a server whose dates are whole seconds does not say.
    expect(lines.filter((line) => !line.includes("marker"))).toEqual([
      `a ${third.VersionId} latest`,
      `a ${second.VersionId}`,
      `a ${first.versionId}`,
      `a-b ${beside.VersionId} latest`,
    ]);
  });

  test("an object that another program put without a checksum is compared by its bytes", async () => {
    await using place = newPlace();
    const { VersionId: versionId } = await place.write("a/x", "same", {});
    const store = place.open();
    expect(await store.stat("a/x")).toMatchObject({ sha256: undefined, retention: null });
    expect(await store.put("a/x", utf8("same"))).toMatchObject({ versionId, sha256: expect.any(String) });
    await expect(store.put("a/x", utf8("else"))).rejects.toThrow(ObjectConflictError);
  });

  test("what another program put without a lock is locked before it counts as put", async () => {
    await using place = newPlace();
    const { VersionId: versionId = "" } = await place.write("a/x", "same", { ChecksumAlgorithm: "SHA256" });
    await place.write("a/x", "newer");
    const object = await place.open({ retention: { days: 2 } }).put("a/x", utf8("same"));
    expect(object.versionId).toBe(versionId);
    expect(object.retainUntil?.getTime()).toBeGreaterThan(Date.now() + DAY_MS);
    const retention = { mode: "COMPLIANCE", until: object.retainUntil };
    expect(await place.open().stat("a/x")).toMatchObject({ versionId, retention });
    await expect(place.deleteVersion("a/x", versionId)).rejects.toThrow();
    expect(await place.open().put("a/x", utf8("same"))).toEqual(object);
  });

  test("a weaker lock is made the wanted one, or the put fails", async () => {
    await using place = newPlace();
    const until = new Date(Math.floor((Date.now() + 9 * DAY_MS) / 1000) * 1000);
    const weaker = { ObjectLockMode: "GOVERNANCE", ObjectLockRetainUntilDate: until } as const;
    await place.write("a/x", "same", { ...weaker, ChecksumAlgorithm: "SHA256" });
    const store = place.open({ retention: { days: 2 } });
    const [put] = await Promise.allSettled([store.put("a/x", utf8("same"))]);
    const mode = (await store.stat("a/x"))?.retention?.mode;
    if (put.status === "fulfilled") expect(put.value.retainUntil).toEqual(until);
    else expect(put.reason).toBeInstanceOf(ObjectLockError);
    expect(mode).toBe(put.status === "fulfilled" ? "COMPLIANCE" : "GOVERNANCE");
    const lenient = place.open({ retention: { days: 2, mode: "GOVERNANCE" } });
    expect(await lenient.put("a/x", utf8("same"))).toMatchObject({ retainUntil: until });
  });

  test("what was first and is deleted is no longer there, also for a store that knew it", async () => {
    await using place = newPlace();
    const { VersionId: first = "" } = await place.write("a", "first");
    const { VersionId: second = "" } = await place.write("a", "second");
    const store = place.open();
    expect(await store.get("a")).toEqual(utf8("first"));
    await place.deleteVersion("a", first);
    expect(await store.get("a")).toEqual(utf8("second"));
    expect(await store.get("a", first)).toBeUndefined();
    await place.deleteVersion("a", second);
    expect(await store.get("a")).toBeUndefined();
    expect(await store.put("a", utf8("third"))).toMatchObject({ bytes: 5 });
  });

  test.each([
    "nonexistent",
    "0",
    "null",
    "01M804SV7D2R7Y6XAH0T81WGAS",
    "9d1d461e-b80f-4e09-9062-8018201b0b0e",
  ])("there is no version %s", async (versionId) => {
    await using place = newPlace();
    const store = place.open();
    await store.put("a", utf8("x"));
    expect(await store.get("a", versionId)).toBeUndefined();
    expect(await store.stat("a", versionId)).toBeUndefined();
    expect(await store.get("b", versionId)).toBeUndefined();
  });

  test("an object too large to be one is not read into memory", async () => {
    await using place = newPlace();
    await place.write("huge", "x".repeat(MAX_OBJECT_BYTES + 1));
    await expect(place.open().get("huge")).rejects.toThrow(ObjectCorruptError);
  });

  test("what other programs put beside is not listed", async () => {
    await using place = newPlace();
    const store = place.open();
    await store.put("a/b", utf8("x"));
    for (const name of ["README.md", "a b", "a/.hidden", "a/é+%2F", "z\u{1F5F3}"])
      await place.write(name, "x");
    expect(await keys(store, "")).toEqual(["a/b"]);
    expect(await keys(store, "a/")).toEqual(["a/b"]);
  });

  test.each([2, 3, 7])(
    "a listing in pages of %d misses nothing, also between versions of one name",
    async (pageSize) => {
      await using place = newPlace();
      const expected: string[] = [];
      for (const name of ["a", "a-b", "a0", "b/c", "b/d", "c"]) {
        const ids: (string | undefined)[] = [];
        for (let i = 0; i < 3; i++) ids.unshift((await place.write(name, name)).VersionId);
        expected.push(...ids.map((id) => `${place.prefix}/${name} ${id}`));
        if (name === "b/c") expected.push(`${place.prefix}/${name} ${(await place.hide(name)).VersionId}`);
      }
      const calls = new S3Calls({ client: s3.client });
      const paged = new S3Versions({ calls, bucket, pageSize });
      const found: string[] = [];
      for await (const { key, versionId } of paged.list(`${place.prefix}/`))
        found.push(`${key} ${versionId}`);
      const unmarked = (lines: readonly string[]) => lines.filter((line) => expected.indexOf(line) !== 12);
      expect(unmarked(found)).toEqual(unmarked(expected));
      expect(found.toSorted()).toEqual(expected.toSorted());
    },
  );

  test("a bucket without Object Lock is refused, and so is one that is not there", async () => {
    const unlocked = await s3.createBucket({ lock: false });
    const options = { ...s3.connection, bucket: unlocked };
    await expect(S3Store.open(options)).rejects.toThrow(ObjectLockError);
    await expect(S3Store.open(options)).rejects.toThrow(`bucket ${unlocked} has no Object Lock`);
    await expect(S3Store.open({ ...options, bucket: "psephos-none" })).rejects.toThrow(
      "there is no bucket psephos-none",
    );
    await using store = s3.store(unlocked);
    await expect(store.put("a", utf8("x"))).rejects.toThrow(ObjectLockError);
    expect(await versions(store)).toEqual([]);
  });

  test("wrong credentials are an error that says so, and passes once they are right", async () => {
    const { accessKeyId, secretAccessKey } = s3.connection.credentials;
    const wrong = [
      { accessKeyId: "nobody-knows-me", secretAccessKey },
      { accessKeyId, secretAccessKey: "not-this-one" },
    ];
    // One server looks at the form of a version id before it looks at the credentials.
    const id = "9d1d461e-b80f-4e09-9062-8018201b0b0e";
    for (const credentials of wrong) {
      await using store = s3.store(bucket, { credentials });
      const calls = [store.put("a", utf8("x")), store.get("a", id), store.stat("a", id), keys(store, "")];
      for (const result of await Promise.allSettled(calls)) {
        const error = result.status === "rejected" ? result.reason : undefined;
        expect(error).toBeInstanceOf(ObjectStoreError);
        expect(error).toMatchObject({ failure: "credentials" });
        expect(String(error)).toContain("does not take the credentials");
        expect(JSON.stringify([error, error.stack, error.cause])).not.toContain(credentials.secretAccessKey);
      }
    }
    let current = wrong[1];
    const credentials = async () => ({ ...(current ?? s3.connection.credentials), expiration: new Date() });
    await using store = s3.store(bucket, { credentials, prefix: "renewed" });
    await expect(store.put("a", utf8("x"))).rejects.toThrow(ObjectStoreError);
    current = undefined;
    expect(await store.put("a", utf8("x"))).toMatchObject({ bytes: 1 });
  });

  test("a clock that is wrong here shortens nothing there", async () => {
    await using place = newPlace();
    for (const minutes of [-20, 20]) {
      const now = Date.now();
      vi.useFakeTimers({ toFake: ["Date"], now: now + minutes * 60_000 });
      try {
        const { retainUntil } = await place.open({ retention: { days: 2 } }).put(`a${minutes}`, utf8("x"));
        expect(Math.abs((retainUntil?.getTime() ?? 0) - now - 2 * DAY_MS)).toBeLessThan(5_000);
      } finally {
        vi.useRealTimers();
      }
    }
  });

  test("a server restarted in the middle of uploads has each of them whole or not at all", async () => {
    await using place = newPlace();
    const store = place.open();
    await store.put("first", utf8("x"));
    const bodies = Array.from({ length: 6 }, (_, i) => new Uint8Array(4 * 1024 * 1024).fill(i));
    const uploads = bodies.map(async (body, i) => {
      // As AuditService does: again, until it is there.
      for (let failures = 0; ; failures++) {
        const stored = await store.put(`big-${i}`, body).catch((error: unknown) => {
          if (!(error instanceof ObjectStoreError)) throw error;
          expect(error.failure).toMatch(/unreachable|failed|throttled/);
          expect(failures, error.message).toBeLessThan(20);
        });
        if (stored) return { stored, failures };
      }
    });
    await sleep(20);
    await s3.server.kill();
    await s3.server.start();
    const done = await Promise.all(uploads);
    await using reader = place.open();
    for (const [i, { stored }] of done.entries()) {
      const read = await reader.get(`big-${i}`); // `toEqual` would compare four million numbers.
      expect(read && equalBytes(read, bodies[i] ?? utf8("")), `big-${i}`).toBe(true);
      expect((await reader.stat(`big-${i}`))?.retention?.until).toEqual(stored.retainUntil);
    }
    expect(await versions(reader)).toHaveLength(1 + done.length);
  });
});

async function versions(store: S3Store): Promise<string[]> {
  const lines: string[] = [];
  const line = ({ key, versionId, deleteMarker, latest }: ObjectVersion) =>
    [key, versionId, ...(deleteMarker ? ["marker"] : []), ...(latest ? ["latest"] : [])].join(" ");
  for await (const version of store.listVersions("")) lines.push(line(version));
  return lines;
}

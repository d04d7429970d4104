// Everything between us and S3 goes wrong, once and for good, before the server has done what was asked and after. The
// server is real, and so is what it does; a proxy before it decides what becomes of requests and answers.
import { PutObjectCommand, type PutObjectCommandInput } from "@aws-sdk/client-s3";
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { utf8 } from "../core/bytes.ts";
import { systemClock } from "../core/clock.ts";
import { keys } from "./object-store.contract.ts";
import {
  ObjectArchivedError,
  ObjectConflictError,
  ObjectCorruptError,
  ObjectLockError,
  ObjectStoreError,
  type StoredObject,
  type StoreFailure,
} from "./object-store.ts";
import { S3Calls } from "./s3-calls.ts";
import { createS3Client } from "./s3-client.ts";
import { credentialsFromFiles } from "./s3-credentials.ts";
import type { S3Store, S3StoreOptions } from "./s3-store.ts";
import { S3Versions } from "./s3-versions.ts";
import { TestS3 } from "./test-s3.ts";
import { type Answer, type Asked, type S3Fault, s3Error, TestS3Proxy } from "./test-s3-proxy.ts";

const body = utf8("evidence");
const slowDown = s3Error(503, "SlowDown", "Please reduce your request rate.");
/** Pauses end at once: what they are is looked at, not waited for. */
const noPauses = { ...systemClock, sleep: async () => {} };

let s3: TestS3;
let proxy: TestS3Proxy;
let bucket: string;
let stores: AsyncDisposableStack;
let places = 0;

beforeAll(async () => {
  s3 = await TestS3.start("minio");
  proxy = await TestS3Proxy.to(s3.connection);
  bucket = await s3.createBucket();
  stores = new AsyncDisposableStack();
});

afterAll(async () => {
  await stores?.disposeAsync();
  await proxy?.[Symbol.asyncDispose]();
  await s3?.[Symbol.asyncDispose]();
});

beforeEach(() => {
  proxy.fault = () => undefined;
  proxy.take();
});

function newPlace() {
  const prefix = `place-${++places}`;
  return {
    prefix,
    open: (options: Partial<S3StoreOptions> = {}): S3Store => {
      const way = { endpoint: proxy.endpoint, ca: undefined, clock: noPauses };
      return stores.use(s3.store(bucket, { ...way, prefix, ...options }));
    },
  };
}

/** Short where no answer comes; long elsewhere, for the machine may be busy. */
function patience(fault: S3Fault): Partial<S3StoreOptions> {
  return fault === "hang" ? { timeouts: { answerMs: 400 } } : {};
}

function only(operation: string, fault: S3Fault) {
  return (asked: Asked) => (asked.operation === operation ? fault : undefined);
}

async function versionCount(store: S3Store, key: string): Promise<number> {
  let count = 0;
  for await (const version of store.listVersions(key)) if (version.key === key) count++;
  return count;
}

describe("requests", () => {
  test("one for a put, one for a read by version, and few more where more has to be known", async () => {
    const { open } = newPlace();
    const store = open();
    const { versionId } = await store.put("e/first", body);
    const first = [
      "GetObjectLockConfiguration",
      "ListObjectVersions",
      "PutObject",
      "PutObject",
      "HeadObject",
    ];
    expect(proxy.take()).toEqual(first);
    const second = await store.put("e/second", body);
    expect(proxy.take()).toEqual(["PutObject"]);
    await store.get("e/second", second.versionId);
    await store.get("e/second");
    expect(proxy.take()).toEqual(["GetObject", "GetObject"]);
    await store.put("e/second", body);
    expect(proxy.take()).toEqual(["HeadObject"]);
    await store.put("f/third", body);
    expect(proxy.take()).toEqual(["ListObjectVersions", "PutObject"]); // A folder it has not looked into.

    const reader = open();
    expect(await reader.get("e/first")).toEqual(body);
    expect(proxy.take()).toEqual(["ListObjectVersions", "GetObject"]);
    expect(await keys(reader, "e/")).toEqual(["e/first", "e/second"]);
    for (const key of ["e/first", "e/second"]) await reader.get(key);
    expect(proxy.take()).toEqual(["ListObjectVersions", "GetObject", "GetObject"]);

    expect(await open().put("e/first", body)).toMatchObject({ versionId });
    expect(proxy.take()).toEqual([...first.slice(0, 3), "ListObjectVersions", "HeadObject"]);
  });

  test("a put says what is to be locked, with a checksum and a condition", async () => {
    await newPlace().open().put("a", body);
    const [put] = proxy.log.filter(({ operation }) => operation === "PutObject");
    expect(put?.headers).toMatchObject({
      "if-none-match": "*",
      "x-amz-checksum-sha256": "7oJQ+3bglLNLRx8Tpz275R0a4ULp31nXwNMewg8KCo4=",
      "x-amz-object-lock-mode": "COMPLIANCE",
    });
    expect(put?.headers["x-amz-checksum-crc32"]).toBeUndefined();
  });

  test("so many at once, and no more", async () => {
    const store = newPlace().open();
    await store.put("a", body);
    proxy.mostAtOnce = 0;
    const held = Promise.withResolvers<undefined>();
    proxy.fault = () => held.promise;
    const reads = Promise.all(Array.from({ length: 150 }, () => store.get("a")));
    await vi.waitFor(() => expect(proxy.mostAtOnce).toBe(64), ARRIVAL);
    await systemClock.sleep(100); // One more would be here by now, were it sent.
    held.resolve(undefined);
    await reads;
    expect(proxy.mostAtOnce).toBe(64);
  });
});

/** For what 64 calls at once take to arrive on a machine that is busy. */
const ARRIVAL = { timeout: 30_000 };

describe("a fault that passes", () => {
  test.each<[string, S3Fault]>([
    ["the connection breaking before", "before"],
    ["the connection breaking after", "after"],
    ["no answer", "hang"],
    ["slow down", slowDown],
    ["an error of the server", s3Error(500, "InternalError")],
    ["a proxy's page", { status: 502, body: "<html>Bad Gateway</html>" }],
    ["an answer that is no XML", { status: 500, body: "oops" }],
  ])("at any request of a put is not seen by its caller: %s", async (_, fault) => {
    let faults = 0;
    for (let at = 1; ; at++) {
      const { open } = newPlace();
      const store = open(patience(fault));
      proxy.take();
      proxy.fault = ({ call }) => (call === at ? fault : undefined);
      const object = await store.put("e-1/votes/x", body);
      if (proxy.log.length < at) break;
      faults++;
      const where = `${proxy.log[at - 1]?.operation}, request ${at}`;
      expect(object, where).toMatchObject({ bytes: 8, retainUntil: expect.any(Date) });
      for (const again of [store, open()]) {
        expect(await again.put("e-1/votes/x", body), where).toEqual(object);
        expect(await again.get("e-1/votes/x", object.versionId), where).toEqual(body);
        await expect(again.put("e-1/votes/x", utf8("else")), where).rejects.toThrow(ObjectConflictError);
      }
      expect(await versionCount(store, "e-1/votes/x"), where).toBe(1);
    }
    expect(faults).toBe(5);
  });

  test.each<S3Fault>(["before", "after", "cut", "hang", slowDown])(
    "of a read is not seen: %j",
    async (fault) => {
      const { open } = newPlace();
      const { versionId } = await open().put("a", body);
      for (const operation of ["GetObject", "HeadObject", "ListObjectVersions"]) {
        let left = 2;
        proxy.fault = (asked) => (asked.operation === operation && left-- > 0 ? fault : undefined);
        const store = open(patience(fault));
        expect(await store.get("a")).toEqual(body);
        expect(await store.stat("a")).toMatchObject({ versionId });
        expect(await keys(open(patience(fault)), "")).toEqual(["a"]);
        expect(left).toBeLessThan(fault === "cut" && operation === "HeadObject" ? 2 : 1);
      }
    },
  );

  test("crossed conditional writes are tried again", async () => {
    const store = newPlace().open();
    let left = 3;
    proxy.fault = ({ operation }) =>
      operation === "PutObject" && left-- > 0 ? s3Error(409, "ConditionalRequestConflict") : undefined;
    expect(await store.put("a", body)).toMatchObject({ bytes: 8 });
  });

  test("a slow answer is waited for as long as it goes on", async () => {
    const { open } = newPlace();
    const text = "x".repeat(100_000);
    await open().put("a", utf8(text));
    proxy.fault = only("GetObject", "slow");
    expect(await open().get("a")).toEqual(utf8(text));
    expect(proxy.take().filter((operation) => operation === "GetObject")).toHaveLength(1);
  });
});

describe("a fault that stays", () => {
  test.each<[StoreFailure, number, S3Fault]>([
    ["unreachable", 5, "before"],
    ["unreachable", 5, "after"],
    ["unreachable", 5, "hang"],
    ["throttled", 5, slowDown],
    ["failed", 5, s3Error(500, "InternalError")],
    ["refused", 1, s3Error(400, "EntityTooLarge")],
    ["access", 1, s3Error(403, "AccessDenied", "explicit deny in a resource-based policy")],
    ["credentials", 1, s3Error(400, "ExpiredToken", "The provided token has expired.")],
  ])(
    "is reported as %s after %d attempts, and the put can be repeated: %j",
    async (failure, attempts, fault) => {
      const { open } = newPlace();
      const store = open();
      for (const operation of ["PutObject", "GetObjectLockConfiguration", "ListObjectVersions"]) {
        const fresh = open(patience(fault));
        proxy.take();
        proxy.fault = only(operation, fault);
        const key = `e/${operation.toLowerCase()}`;
        const failed = fresh.put(key, body);
        await expect(failed).rejects.toThrow(ObjectStoreError);
        await expect(failed).rejects.toMatchObject({ failure });
        expect(proxy.take().filter((name) => name === operation)).toHaveLength(attempts);
        proxy.fault = () => undefined;
        expect(await fresh.put(key, body)).toMatchObject({ bytes: 8 });
        expect(await versionCount(store, key)).toBeLessThanOrEqual(2); // The one that tries the server out.
      }
    },
  );

  test("a bare HEAD says no more than 400: the reason is asked for", async () => {
    const { open } = newPlace();
    const { versionId } = await open().put("a", body);
    proxy.fault = () => s3Error(400, "ExpiredToken", "The provided token has expired.");
    await expect(open().stat("a", versionId)).rejects.toThrow(/credentials.*\(ExpiredToken, HTTP 400\)/);
    proxy.fault = () => s3Error(403, "AccessDenied", "no");
    await expect(open().stat("a", versionId)).rejects.toThrow(/do not permit it \(AccessDenied/);
    proxy.fault = only("HeadObject", { status: 400 });
    await expect(open().stat("a", versionId)).rejects.toThrow(ObjectStoreError);
  });

  test("no error holds what was signed with, or what a server repeats of it", async () => {
    const { secretAccessKey } = s3.connection.credentials;
    const credentials = { accessKeyId: "key-id", secretAccessKey, sessionToken: "session-token-of-the-test" };
    const faults: S3Fault[] = [
      s3Error(403, "SignatureDoesNotMatch", `You sent ${secretAccessKey} session-token-of-the-test`),
      s3Error(400, "ExpiredToken", "session-token-of-the-test"),
      "before",
    ];
    for (const fault of faults) {
      proxy.fault = () => fault;
      const error: unknown = await newPlace()
        .open({ credentials })
        .put("a", body)
        .catch((reason: unknown) => reason);
      if (!(error instanceof ObjectStoreError)) throw error;
      const all = [
        error.message,
        error.stack,
        JSON.stringify(error),
        JSON.stringify(error.cause ?? null),
      ].join();
      expect(all).not.toContain(secretAccessKey);
      expect(all).not.toContain("session-token-of-the-test");
    }
  });

  test("a slow-down holds every call back, also those that wait for their turn", async () => {
    const sleeping: (() => void)[] = [];
    const clock = { ...systemClock, sleep: () => new Promise<void>((wake) => sleeping.push(wake)) };
    const { open } = newPlace();
    const store = open({ clock });
    await store.put("a", body);
    proxy.take();
    const others = Promise.withResolvers<undefined>();
    const arrived = Promise.withResolvers<void>();
    proxy.fault = async ({ call }) => {
      if (call === 64) arrived.resolve();
      if (call <= 2) return arrived.promise.then(() => slowDown);
      return call <= 64 ? others.promise : undefined;
    };
    const reads = Promise.all(Array.from({ length: 150 }, () => store.get("a")));
    await vi.waitFor(() => expect(sleeping).toHaveLength(4), ARRIVAL); // Two pauses of all, two between attempts.
    others.resolve(undefined); // Their places are free now.
    await systemClock.sleep(100);
    expect(proxy.log).toHaveLength(64);
    for (const wake of [0, 1, 3]) sleeping[wake]?.();
    await systemClock.sleep(100);
    expect(proxy.log).toHaveLength(64);
    sleeping[2]?.();
    expect(new Set(await reads)).toHaveLength(150);
    expect(proxy.log).toHaveLength(152);
  });

  test.each<S3Fault>([
    { status: 404 },
    { status: 404, body: "<html><body>no such service</body></html>" },
    s3Error(404, "NotFound"),
    s3Error(400, "InvalidArgument", "partNumber must be a number"),
    { status: 200, headers: { "last-modified": "yesterday" }, body: "evidence" },
  ])("an odd answer to a read does not say that there is nothing: %j", async (fault) => {
    const store = newPlace().open();
    const { versionId } = await store.put("a", body);
    proxy.fault = only("GetObject", fault);
    await expect(store.get("a", versionId)).rejects.toThrow(ObjectStoreError);
    for (const gone of [
      s3Error(404, "NoSuchKey"),
      s3Error(404, "NoSuchVersion"),
      s3Error(400, "InvalidArgument", "Invalid version id specified"),
    ]) {
      proxy.fault = only("GetObject", gone);
      expect(await store.get("a", versionId)).toBeUndefined();
    }
  });

  test("a page that is no listing is not an empty one", async () => {
    const { open } = newPlace();
    await open().put("a", body);
    proxy.take();
    proxy.fault = only("ListObjectVersions", { status: 200, body: "<html><body>Welcome</body></html>" });
    await expect(open().get("a")).rejects.toMatchObject({ failure: "failed", code: "NoListing" });
    expect(proxy.take()).toHaveLength(5);
  });

  test("who was denied what is not repeated, but why", async () => {
    const message =
      "User: arn:aws:iam::123456789012:user/writer is not authorized to perform: s3:PutObject on resource: " +
      '"arn:aws:s3:::bucket/a" of 210987654321 with an explicit deny in a resource-based policy';
    proxy.fault = () => s3Error(403, "AccessDenied", message);
    const denied = newPlace().open().put("a", body);
    await expect(denied).rejects.toThrow(
      /s3:PutObject on resource: "arn:aws:s3:::bucket\/a" .* explicit deny/,
    );
    await expect(denied).rejects.not.toThrow(/123456789012|210987654321|arn:aws:iam|writer/);
  });

  test("a key file that is not there is a failure of credentials", async () => {
    const credentials = credentialsFromFiles({ accessKeyId: "id", secretAccessKeyFile: "/nonexistent/key" });
    const refused = newPlace().open({ credentials }).put("a", body);
    await expect(refused).rejects.toMatchObject({ failure: "credentials", code: "ENOENT" });
    await expect(refused).rejects.toThrow("/nonexistent/key cannot be read");
    expect(proxy.log).toHaveLength(0);
  });
});

describe("a store that is disposed", () => {
  test("ends what hangs, and what waits for its turn", async () => {
    const store = newPlace().open();
    await store.put("a", body);
    proxy.fault = () => "hang";
    proxy.take();
    const reads = Promise.allSettled(Array.from({ length: 70 }, () => store.get("a")));
    await vi.waitFor(() => expect(proxy.log).toHaveLength(64));
    await store[Symbol.asyncDispose]();
    for (const read of await reads) {
      expect(read).toMatchObject({ status: "rejected", reason: { failure: "unreachable", code: "Closed" } });
    }
    expect(proxy.log).toHaveLength(64);
  }, 10_000);

  test("makes no more attempts", async () => {
    const clock = {
      ...systemClock,
      sleep: (_: number, signal?: AbortSignal) => systemClock.sleep(60_000, signal),
    };
    const store = newPlace().open({ clock });
    await store.put("a", body);
    proxy.fault = () => slowDown;
    proxy.take();
    const [read, later] = [store.get("a"), systemClock.sleep(200).then(() => store.get("a"))];
    const settled = Promise.allSettled([read, later]);
    await systemClock.sleep(400);
    await store[Symbol.asyncDispose]();
    for (const { status } of await settled) expect(status).toBe("rejected");
    await expect(read).rejects.toThrow("the store has been closed");
    expect(proxy.take()).toEqual(["GetObject"]);
  }, 10_000);
});

test("which folders hide nothing is remembered of those used last", async () => {
  const { prefix } = newPlace();
  const client = createS3Client({ ...s3.connection, endpoint: proxy.endpoint, ca: undefined });
  const versions = new S3Versions({ calls: new S3Calls({ client }), bucket });
  const ask = (folder: string) => versions.isHidden(`${prefix}/${folder}/x`);
  for (const part of [0, 500, 1_000]) {
    await ask("used");
    await Promise.all(Array.from({ length: 500 }, (_, i) => ask(`${part + i}`)));
  }
  proxy.take();
  for (const folder of ["used", "1499", "900"]) await ask(folder);
  expect(proxy.take()).toEqual([]);
  await ask("0");
  expect(proxy.take()).toEqual(["ListObjectVersions"]);
  client.destroy();
});

describe("a server without conditional writes", () => {
  /** Does what the client asks, but for the condition, which the client's signature covers and the proxy cannot drop. */
  async function overwrite({ operation, key, headers, body: Body }: Asked): Promise<Answer | undefined> {
    if (operation !== "PutObject") return undefined;
    const input: PutObjectCommandInput = {
      Bucket: bucket,
      Key: key,
      Body,
      ChecksumSHA256: String(headers["x-amz-checksum-sha256"]),
      ObjectLockMode: headers["x-amz-object-lock-mode"] === "GOVERNANCE" ? "GOVERNANCE" : "COMPLIANCE",
      ObjectLockRetainUntilDate: new Date(String(headers["x-amz-object-lock-retain-until-date"])),
    };
    const { VersionId = "" } = await s3.client.send(new PutObjectCommand(input));
    return { status: 200, headers: { "x-amz-version-id": VersionId } };
  }

  const notImplemented = (asked: Asked) =>
    asked.headers["if-none-match"] === undefined ? undefined : s3Error(501, "NotImplemented");

  test.each([
    ["ignoring the header", overwrite],
    ["refusing the header", notImplemented],
  ])("%s: the first of many writers is the object", async (_, fault) => {
    const { open } = newPlace();
    proxy.fault = fault;
    const [one, two] = [open(), open()];
    await Promise.all([one.put("e/one", body), two.put("e/two", body)]); // Each has tried the server out.

    // One after another: this server dates a version before it commits it, so that of two without conditions that are
    // under way at once an older one may appear after both have looked. Servers whose conditions are kept decide that.
    const equal: StoredObject[] = [];
    for (let i = 0; i < 8; i++) equal.push(await (i % 2 ? one : two).put("e/equal", body));
    expect(new Set(equal.map((object) => JSON.stringify(object))).size).toBe(1);
    const others: PromiseSettledResult<StoredObject>[] = [];
    for (let i = 0; i < 8; i++) {
      const put = (i % 2 ? one : two).put("e/other", utf8(`writer ${i}`));
      others.push(...(await Promise.allSettled([put])));
    }
    const winners = others.flatMap((result, i) => (result.status === "fulfilled" ? [i] : []));
    expect(winners).toHaveLength(1);
    for (const result of others) {
      if (result.status === "rejected") expect(result.reason).toBeInstanceOf(ObjectConflictError);
    }
    for (const store of [one, open()])
      expect(await store.get("e/other")).toEqual(utf8(`writer ${winners[0]}`));
    await expect(open().put("e/equal", utf8("else"))).rejects.toThrow(ObjectConflictError);
    expect(await open().put("e/equal", body)).toEqual(equal[0]);
  });

  test("a put whose answer is lost is one object all the same", async () => {
    const { open } = newPlace();
    proxy.fault = overwrite;
    const store = open();
    await store.put("e/first", body);
    let lost = false;
    proxy.fault = async (asked) => {
      const answer = await overwrite(asked);
      if (answer === undefined || lost) return answer;
      lost = true;
      return "before";
    };
    const object = await store.put("e/lost", body);
    expect(lost).toBe(true);
    expect(await versionCount(store, "e/lost")).toBe(2);
    expect(await open().put("e/lost", body)).toEqual(object);
  });
});

describe("a server that says", () => {
  const about = { "content-length": "8", "x-amz-version-id": "v" };

  test("nothing of the lock that it was asked for is not believed", async () => {
    const { open } = newPlace();
    const silent = s3Error(404, "NoSuchObjectLockConfiguration");
    proxy.fault = (asked) =>
      only("HeadObject", { status: 200, headers: about })(asked) ?? only("GetObjectRetention", silent)(asked);
    const refused = open().put("a", body);
    await expect(refused).rejects.toThrow(ObjectLockError);
    await expect(refused).rejects.toThrow(/retention COMPLIANCE until .*, and S3 shows none/);
    const shorter = {
      "x-amz-object-lock-mode": "COMPLIANCE",
      "x-amz-object-lock-retain-until-date": "2030-01-01T00:00:00Z",
    };
    proxy.fault = only("HeadObject", { status: 200, headers: { ...about, ...shorter } });
    await expect(open().put("b", body)).rejects.toThrow("S3 shows COMPLIANCE until 2030-01-01T00:00:00.000Z");
  });

  test("nothing of the lock on the first that it creates is not believed, whatever was there before", async () => {
    const { open } = newPlace();
    await open().put("manifest", body);
    const store = open();
    await store.put("manifest", body);
    const silent = s3Error(404, "NoSuchObjectLockConfiguration");
    proxy.fault = (asked) =>
      only("HeadObject", { status: 200, headers: about })(asked) ?? only("GetObjectRetention", silent)(asked);
    await expect(store.put("a", body)).rejects.toThrow(ObjectLockError);
    proxy.fault = () => undefined;
    expect(await store.put("b", body)).toMatchObject({ bytes: 8 });
    expect(await store.put("a", body)).toMatchObject({ bytes: 8 });
  });

  test.each<[string, S3Fault]>([
    ["refuses to lock", s3Error(403, "AccessDenied")],
    ["cannot lock", s3Error(501, "NotImplemented")],
    ["locks, and does not,", { status: 200 }],
  ])("that it %s what was there without a lock is not success", async (_, fault) => {
    const { prefix, open } = newPlace();
    const there = { Bucket: bucket, Key: `${prefix}/a`, Body: body };
    await s3.client.send(new PutObjectCommand(there));
    const store = open();
    proxy.fault = only("PutObjectRetention", fault);
    await expect(store.put("a", body)).rejects.toThrow(ObjectLockError);
    expect((await store.stat("a"))?.retention).toBeNull();
    proxy.fault = () => undefined;
    const { retainUntil: until } = await store.put("a", body);
    expect(await store.stat("a")).toMatchObject({ retention: { mode: "COMPLIANCE", until } });
  });

  test.each<Record<string, string>>([{}, { "x-amz-version-id": "null" }])(
    "that it keeps no versions is refused: %j",
    async (headers) => {
      proxy.fault = only("PutObject", { status: 200, headers });
      await expect(newPlace().open().put("a", body)).rejects.toThrow(`bucket ${bucket} keeps no versions`);
    },
  );

  test("other bytes than their checksum's is corrupt", async () => {
    const checksum = { "x-amz-checksum-sha256": "7oJQ+3bglLNLRx8Tpz275R0a4ULp31nXwNMewg8KCo4=" };
    proxy.fault = only("GetObject", { status: 200, headers: checksum, body: "evidencf" });
    await expect(newPlace().open().get("a", "v")).rejects.toThrow(ObjectCorruptError);
    proxy.fault = only("GetObject", { status: 200, headers: checksum, body: "evidence" });
    expect(await newPlace().open().get("a", "v")).toEqual(body);
  });

  test.each<[string, Record<string, string>]>([
    ["available", {}],
    ["available", { "x-amz-storage-class": "STANDARD_IA" }],
    ["available", { "x-amz-storage-class": "GLACIER_IR" }],
    ["archived", { "x-amz-storage-class": "GLACIER" }],
    ["archived", { "x-amz-storage-class": "DEEP_ARCHIVE" }],
    ["archived", { "x-amz-storage-class": "INTELLIGENT_TIERING", "x-amz-archive-status": "ARCHIVE_ACCESS" }],
    ["restoring", { "x-amz-storage-class": "GLACIER", "x-amz-restore": 'ongoing-request="true"' }],
    [
      "available",
      {
        "x-amz-storage-class": "DEEP_ARCHIVE",
        "x-amz-restore": 'ongoing-request="false", expiry-date="Fri, 21 Dec 2012 00:00:00 GMT"',
      },
    ],
  ])("of a cold tier, is %s with %j", async (access, headers) => {
    const storageClass = headers["x-amz-storage-class"] ?? "STANDARD";
    const locked = {
      "x-amz-object-lock-mode": "GOVERNANCE",
      "x-amz-object-lock-retain-until-date": "2030-01-01T00:00:00Z",
    };
    proxy.fault = only("HeadObject", { status: 200, headers: { ...about, ...locked, ...headers } });
    expect(await newPlace().open().stat("a", "v")).toMatchObject({ access, storageClass, bytes: 8 });
  });

  test("that an object is archived has it restored, on request", async () => {
    const { prefix, open } = newPlace();
    const store = open();
    const { versionId } = await store.put("a", body);
    proxy.fault = only("GetObject", s3Error(403, "InvalidObjectState"));
    await expect(store.get("a")).rejects.toThrow(ObjectArchivedError);
    proxy.take();
    for (const answer of [{ status: 202 }, { status: 200 }, s3Error(409, "RestoreAlreadyInProgress")]) {
      proxy.fault = only("RestoreObject", answer);
      await store.requestRestore("a", versionId, 7);
    }
    expect(proxy.log[0]).toMatchObject({ operation: "RestoreObject", key: `${prefix}/a` });
    expect(String(proxy.log[0]?.body)).toMatch(/<Days>7<\/Days>.*<Tier>Standard<\/Tier>/);
    proxy.fault = () => undefined; // This server has no cold tier.
    await expect(store.requestRestore("a", versionId, 7)).rejects.toMatchObject({ failure: "refused" });
  });
});

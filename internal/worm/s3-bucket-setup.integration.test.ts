// What each server can be given, and what it answers to the rest. The tables are facts about these versions.
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";
import {
  DeleteBucketPolicyCommand,
  DeleteObjectCommand,
  GetBucketLifecycleConfigurationCommand,
  GetBucketPolicyCommand,
  GetObjectLockConfigurationCommand,
  ListBucketsCommand,
  ListObjectVersionsCommand,
  PutBucketPolicyCommand,
  PutObjectCommand,
  PutObjectLegalHoldCommand,
  PutObjectLockConfigurationCommand,
} from "@aws-sdk/client-s3";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { findS3Server, S3_IMPLEMENTATIONS, type S3Implementation } from "../../deploy/local/s3-binaries.ts";
import { utf8 } from "../core/bytes.ts";
import { type BucketSetup, type BucketSetupOptions, setUpBucket } from "./bucket-setup.ts";
import { ObjectConflictError } from "./object-store.ts";
import { createS3Client, type S3Credentials } from "./s3-client.ts";
import { TestS3 } from "./test-s3.ts";
import { type S3Fault, s3Error, TestS3Proxy } from "./test-s3-proxy.ts";

/** What each can have of what is not essential. */
const OPTIONAL: Readonly<Record<S3Implementation, Readonly<Record<string, RegExp>>>> = {
  versitygw: { lifecycle: /NotImplemented, HTTP 501/, "public access": /NotImplemented, HTTP 501/ },
  minio: { lifecycle: /InvalidStorageClass, HTTP 400/, "public access": /NotImplemented|MalformedXML/ },
};

describe.each(S3_IMPLEMENTATIONS)("setUpBucket on %s", (implementation) => {
  let s3: TestS3;
  let buckets = 0;

  beforeAll(async () => {
    s3 = await TestS3.start(implementation);
  });
  afterAll(() => s3?.[Symbol.asyncDispose]());

  const newName = () => `evidence-${++buckets}`;
  const setUp = (bucket: string, options: Partial<BucketSetupOptions> = {}) =>
    setUpBucket({ ...s3.connection, bucket, ...options });

  test("makes a bucket, and the second time finds all as it is", async () => {
    const bucket = newName();
    const [first, second] = [await setUp(bucket), await setUp(bucket)];
    const states = (state: string) => ({
      bucket: state,
      versioning: "already so", // Creation with Object Lock brings it.
      "Object Lock": "already so",
      "default retention": state,
      lifecycle: "not supported",
      "scratch objects": implementation === "minio" ? state : "not supported",
      policy: state,
      "public access": "not supported",
      "a locked object": "done",
    });
    expect(statesOf(first)).toEqual(states("done"));
    expect(statesOf(second)).toEqual(states("already so"));
    expect([first.ok, second.ok]).toEqual([true, true]);
    for (const [item, answer] of Object.entries(OPTIONAL[implementation])) {
      expect(first.items.find((found) => found.item === item)?.detail).toMatch(answer);
    }
    // Root is bound by no policy on either.
    expect(detailOf(first, "policy")).toContain("does not bind the credentials used here");
    const { Versions, DeleteMarkers } = await s3.client.send(
      new ListObjectVersionsCommand({ Bucket: bucket }),
    );
    expect([Versions?.length, DeleteMarkers]).toEqual([1, undefined]);
  });

  test("below a prefix, it touches nothing of what others have in the bucket", async () => {
    const bucket = newName();
    for (const prefix of ["a", "b/"]) await setUp(bucket, { prefix });
    const again = await setUp(bucket, { prefix: "a" });
    const { Versions = [] } = await s3.client.send(new ListObjectVersionsCommand({ Bucket: bucket }));
    expect(Versions.map(({ Key }) => Key)).toEqual(["a/psephos-worm-init", "b/psephos-worm-init"]);
    if (implementation !== "minio") return;
    expect(statesOf(again)).toMatchObject({ "scratch objects": "already so" });
    const lifecycle = new GetBucketLifecycleConfigurationCommand({ Bucket: bucket });
    const { Rules = [] } = await s3.client.send(lifecycle);
    expect(Rules.map(({ Filter }) => Filter?.Prefix).sort()).toEqual([
      "a/_psephos-probe/",
      "a/_psephos-probe/",
      "b/_psephos-probe/",
      "b/_psephos-probe/",
    ]);
  });

  test("a policy is taken back where it shuts everybody out, and not where storing fails otherwise", async () => {
    await using proxy = await TestS3Proxy.to(s3.connection);
    const failing = (failure: S3Fault) => {
      let set = false;
      proxy.fault = ({ operation }) => {
        if (operation === "PUT policy") set = true;
        return set && operation === "PutObject" ? failure : undefined;
      };
      return setUp(newName(), { endpoint: proxy.endpoint });
    };
    const refused = await failing(s3Error(400, "QuotaExceeded"));
    expect(statesOf(refused)).toMatchObject({ policy: "done", "a locked object": "lacking" });
    const shut = await failing(s3Error(403, "AccessDenied"));
    expect(statesOf(shut)).toMatchObject({ policy: "not supported" });
    expect(detailOf(shut, "policy")).toContain("taken back");
  });

  test("evidence can be stored in what it made", async () => {
    const bucket = newName();
    await setUp(bucket);
    await using store = s3.store(bucket);
    await store.put("a", utf8("x"));
    expect((await store.stat("a"))?.retention).toMatchObject({ mode: "COMPLIANCE" });
  });

  test("a dry run changes nothing", async () => {
    const bucket = newName();
    const setup = await setUp(bucket, { dryRun: true });
    expect(new Set(setup.items.map(({ state }) => state))).toEqual(new Set(["to do"]));
    const { Buckets = [] } = await s3.client.send(new ListBucketsCommand({}));
    expect(Buckets.map(({ Name }) => Name)).not.toContain(bucket);

    const plain = await s3.createBucket({ lock: false });
    const looked = await setUp(plain, { dryRun: true });
    expect(statesOf(looked)).toMatchObject({
      bucket: "already so",
      versioning: "to do",
      "Object Lock": "to do",
    });
    expect(detailOf(looked, "Object Lock")).toContain("may be impossible to add");
    expect(statesOf(await setUp(plain, { dryRun: true }))).toEqual(statesOf(looked));
  });

  test("a bucket without Object Lock: it is added where the server can, and else said to be lacking", async () => {
    const bucket = await s3.createBucket({ lock: false });
    await s3.client.send(new PutObjectCommand({ Bucket: bucket, Key: "old", Body: "x" }));
    const setup = await setUp(bucket);
    if (implementation === "versitygw") {
      expect(statesOf(setup)).toMatchObject({ versioning: "done", "Object Lock": "done", policy: "done" });
      expect(setup.ok).toBe(true);
    } else {
      expect(statesOf(setup)).toMatchObject({
        "Object Lock": "lacking",
        "default retention": "lacking",
        "a locked object": "lacking",
      });
      expect(detailOf(setup, "Object Lock")).toMatch(
        /may be impossible to add.*InvalidBucketState, HTTP 409/,
      );
      expect(setup.ok).toBe(false);
    }
  });

  test("what somebody made stricter, or set beside it, stays", async () => {
    const bucket = await s3.createBucket();
    const rule = (days: number) => ({ DefaultRetention: { Mode: "COMPLIANCE" as const, Days: days } });
    await s3.client.send(
      new PutObjectLockConfigurationCommand({
        Bucket: bucket,
        ObjectLockConfiguration: { ObjectLockEnabled: "Enabled", Rule: rule(9_999) },
      }),
    );
    const theirs = {
      Sid: "Theirs",
      Effect: "Deny",
      Principal: "*",
      Action: "s3:GetObject",
      Resource: `arn:aws:s3:::${bucket}/hidden/*`,
    };
    const policy = JSON.stringify({ Version: "2012-10-17", Statement: [theirs] });
    await s3.client.send(new PutBucketPolicyCommand({ Bucket: bucket, Policy: policy }));

    expect(statesOf(await setUp(bucket))).toMatchObject({
      "default retention": "already so",
      policy: "done",
    });
    const lock = await s3.client.send(new GetObjectLockConfigurationCommand({ Bucket: bucket }));
    expect(lock.ObjectLockConfiguration?.Rule?.DefaultRetention?.Days).toBe(9_999);
    const { Policy = "" } = await s3.client.send(new GetBucketPolicyCommand({ Bucket: bucket }));
    expect(JSON.parse(Policy).Statement).toHaveLength(4);
    expect(Policy).toContain("hidden/*");

    // Weaker than what is wanted: made stricter, in both respects.
    const weak = await s3.createBucket();
    await setUp(weak, { retention: { mode: "GOVERNANCE", days: 30 } });
    await setUp(weak, { retention: { mode: "COMPLIANCE", days: 7 } });
    const raised = await s3.client.send(new GetObjectLockConfigurationCommand({ Bucket: weak }));
    expect(raised.ObjectLockConfiguration?.Rule?.DefaultRetention).toMatchObject({
      Mode: "COMPLIANCE",
      Days: 30,
    });
  });

  test("credentials it does not take are nothing about the bucket", async () => {
    const credentials = { accessKeyId: "nobody", secretAccessKey: "nothing" };
    await expect(setUp(newName(), { credentials })).rejects.toMatchObject({ failure: "credentials" });
  });
});

// Users and their rights are each server's own; this one takes both without a server of its own for them.
describe("whom the policies of deploy/s3/ bind, on versitygw", () => {
  const BUCKET = "votes-example-org-evidence";
  let s3: TestS3;

  beforeAll(async () => {
    s3 = await TestS3.start("versitygw");
    await setUpBucket({ ...s3.connection, bucket: BUCKET });
  });
  afterAll(() => s3?.[Symbol.asyncDispose]());

  /** A new user with the rights of a file of deploy/s3/, beside the bucket's own policy. */
  async function user(name: string): Promise<S3Credentials> {
    const { program } = await findS3Server("versitygw");
    const { endpoint, credentials: root } = s3.connection;
    const credentials = { accessKeyId: name, secretAccessKey: "a-secret-of-the-test" };
    const as = ["-a", root.accessKeyId, "-s", root.secretAccessKey, "-er", endpoint];
    const create = ["create-user", "-a", name, "-s", credentials.secretAccessKey, "-r", "user"];
    const env = { SSL_CERT_FILE: s3.server.caFile };
    await promisify(execFile)(program, ["admin", ...as, ...create], { env });

    const file = new URL(`../../deploy/s3/${name}-policy.json`, import.meta.url);
    const { Statement: rights } = JSON.parse(await readFile(file, "utf8"));
    const { Policy = "" } = await s3.client.send(new GetBucketPolicyCommand({ Bucket: BUCKET }));
    const policy = JSON.parse(Policy);
    for (const statement of rights) policy.Statement.push({ ...statement, Principal: { AWS: [name] } });
    await s3.client.send(new PutBucketPolicyCommand({ Bucket: BUCKET, Policy: JSON.stringify(policy) }));
    return credentials;
  }

  test("AuditService can do all it does, and neither delete nor hide", async () => {
    const credentials = await user("audit-service");
    await using store = s3.store(BUCKET, { credentials });
    const { versionId } = await store.put("a", utf8("x"));
    expect(await store.put("a", utf8("x"))).toMatchObject({ versionId });
    await expect(store.put("a", utf8("y"))).rejects.toBeInstanceOf(ObjectConflictError);
    expect(await store.get("a", versionId)).toEqual(utf8("x"));
    expect((await store.stat("a"))?.retention).toMatchObject({ mode: "COMPLIANCE" });
    expect(await store.get("b")).toBeUndefined();
    const keys = [];
    for await (const key of store.list("")) keys.push(key);
    expect(keys).toContain("a");

    const client = createS3Client({ ...s3.connection, credentials });
    const denied = { name: "AccessDenied" };
    const Key = { Bucket: BUCKET, Key: "a" };
    await expect(client.send(new DeleteObjectCommand(Key))).rejects.toMatchObject(denied);
    await expect(
      client.send(new DeleteObjectCommand({ ...Key, VersionId: versionId })),
    ).rejects.toMatchObject(denied);
    const hold = { LegalHold: { Status: "ON" as const } };
    await expect(client.send(new PutObjectLegalHoldCommand({ ...Key, ...hold }))).rejects.toMatchObject(
      denied,
    );
    const noPolicy = new DeleteBucketPolicyCommand({ Bucket: BUCKET });
    await expect(client.send(noPolicy)).rejects.toMatchObject(denied);
    client.destroy();
  });

  test("an auditor can read, and store nothing", async () => {
    await using ours = s3.store(BUCKET);
    const { versionId } = await ours.put("c", utf8("x"));
    await using store = s3.store(BUCKET, { credentials: await user("auditor") });
    expect(await store.get("c", versionId)).toEqual(utf8("x"));
    expect((await store.stat("c"))?.retention).toMatchObject({ mode: "COMPLIANCE" });
    const versions = [];
    for await (const { key } of store.listVersions("")) versions.push(key);
    expect(versions).toContain("c");
    await expect(store.put("d", utf8("x"))).rejects.toMatchObject({ failure: "access" });
  });
});

function statesOf({ items }: BucketSetup): Record<string, string> {
  return Object.fromEntries(items.map(({ item, state }) => [item, state]));
}

function detailOf({ items }: BucketSetup, item: string): string | undefined {
  return items.find((found) => found.item === item)?.detail;
}

// What two servers really do, attacked. Where they differ, both answers stand here: a test that fails because a server
// has changed is news about that server.
import {
  DeleteObjectCommand,
  GetBucketVersioningCommand,
  GetObjectLockConfigurationCommand,
  PutBucketPolicyCommand,
  PutBucketVersioningCommand,
  PutObjectLockConfigurationCommand,
} from "@aws-sdk/client-s3";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { runProgram } from "../../../deploy/local/run-program.ts";
import {
  findS3Server,
  S3_IMPLEMENTATIONS,
  type S3Implementation,
} from "../../../deploy/local/s3-binaries.ts";
import { TestS3 } from "../test-s3.ts";
import { s3Error, TestS3Proxy } from "../test-s3-proxy.ts";
import { CHECK_NAMES, type CheckName, checkOf } from "./checks.ts";
import type { Verdict } from "./judge.ts";
import { outcomeOf, type ProbeReport } from "./report.ts";
import { S3Probe, type S3ProbeOptions, SCRATCH_FOLDER } from "./s3-probe.ts";

type Truth = readonly [verdict: Verdict, observed: string];
type Truths = Readonly<Record<CheckName, Truth>>;

const refused = (code: string): Truth => ["held", `refused (${code}); the version is as it was`];
/** In the words of a missing permission, which here are the lock's as well. */
const denied: Truth = [
  "held",
  "refused (AccessDenied); the version is as it was; not proved: perhaps these credentials may not",
];
const notOurs: Truth = ["broken", "accepted; it was changed"];
const taken: Truth = ["held", "refused (PreconditionFailed); the name has 1 version"];
const gone: Truth = ["broken", "accepted; the version is gone"];
const intact: Truth = ["held", "accepted; the version is as it was"];

/** As root, in a bucket whose default is COMPLIANCE for a day. */
const TRUTH: Readonly<Record<S3Implementation, Truths>> = {
  versitygw: {
    "lock-stored": ["held", "the version shows COMPLIANCE until DATE"],
    overwrite: intact,
    "copy-over": intact,
    "multipart-over": intact,
    "delete-version": denied,
    "delete-version-bypass": denied,
    "delete-in-bulk": denied,
    "delete-marker": intact,
    "shorten-retention": denied,
    "downgrade-to-governance": denied,
    "remove-retention": refused("InvalidArgument"),
    "suspend-versioning": ["held", "refused (InvalidBucketState); it is as it was"],
    "governance-delete": denied,
    // The bucket's default is COMPLIANCE, and here that decides; without it root deletes the version.
    "governance-bypass": refused("AccessDenied"),
    "legal-hold-removal": notOurs,
    // A hold ends with the retention.
    "legal-hold-after-expiry": gone,
    "put-without-checksum": ["broken", "accepted; the name has 1 version"],
    "put-with-wrong-checksum": ["held", "refused (BadDigest); the name has 0 versions"],
    "conditional-put": taken,
    "conditional-put-concurrent": ["held", "one version of each name"],
    "conditional-put-under-marker": taken,
    // A default is not written to the version, but looked up in the bucket when one is deleted.
    "default-retention-shown": ["broken", "the version shows no lock"],
    "default-retention-enforced": ["held", "refused (AccessDenied); the version is there"],
    "weaken-default": notOurs,
  },
  minio: {
    "lock-stored": ["held", "the version shows COMPLIANCE until DATE"],
    overwrite: intact,
    "copy-over": intact,
    "multipart-over": intact,
    "delete-version": refused("InvalidRequest"),
    "delete-version-bypass": refused("InvalidRequest"),
    "delete-in-bulk": refused("InvalidRequest"),
    "delete-marker": intact,
    "shorten-retention": refused("InvalidRequest"),
    "downgrade-to-governance": refused("InvalidRequest"),
    "remove-retention": refused("InvalidRequest"),
    "suspend-versioning": ["held", "refused (InvalidBucketState); it is as it was"],
    "governance-delete": refused("InvalidRequest"),
    "governance-bypass": gone,
    "legal-hold-removal": notOurs,
    "legal-hold-after-expiry": ["held", "refused (InvalidRequest); the version is there"],
    "put-without-checksum": ["broken", "accepted; the name has 1 version"],
    "put-with-wrong-checksum": ["held", "refused (XAmzContentChecksumMismatch); the name has 0 versions"],
    "conditional-put": taken,
    "conditional-put-concurrent": ["held", "one version of each name"],
    // A name under a delete marker is free, as it is with AWS.
    "conditional-put-under-marker": ["broken", "accepted; the name has 2 versions"],
    "default-retention-shown": ["held", "the version shows COMPLIANCE until DATE"],
    "default-retention-enforced": ["held", "refused (InvalidRequest); the version is there"],
    "weaken-default": notOurs,
  },
};

/** What is told of the checks, with dates left out. */
function truthOf({ results }: ProbeReport): Partial<Truths> {
  const shown = (text: string) => text.replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, "DATE");
  return Object.fromEntries(
    results.map(({ check, verdict, observed }) => [check, [verdict, shown(observed)]]),
  );
}

function brokenOf({ results }: ProbeReport): CheckName[] {
  return results.filter(({ verdict }) => verdict === "broken").map(({ check }) => check);
}

const CRITICAL = CHECK_NAMES.filter((name) => checkOf(name).severity === "critical");

describe.each(S3_IMPLEMENTATIONS)("the probe over %s", (implementation) => {
  let s3: TestS3;
  beforeAll(async () => {
    s3 = await TestS3.start(implementation);
  });
  afterAll(() => s3?.[Symbol.asyncDispose]());

  const open = (bucket: string, more: Partial<S3ProbeOptions> = {}) =>
    new S3Probe({ ...s3.connection, bucket, prefix: "evidence", ...more });

  async function versionedBucket(): Promise<string> {
    const bucket = await s3.createBucket({ lock: false });
    const VersioningConfiguration = { Status: "Enabled" } as const;
    await s3.client.send(new PutBucketVersioningCommand({ Bucket: bucket, VersioningConfiguration }));
    return bucket;
  }

  test("tells the truth about a bucket that locks, and leaves its settings as they were", async () => {
    const bucket = await s3.createBucket();
    const rule = { DefaultRetention: { Mode: "COMPLIANCE", Days: 1 } } as const;
    const ObjectLockConfiguration = { ObjectLockEnabled: "Enabled", Rule: rule } as const;
    await s3.client.send(new PutObjectLockConfigurationCommand({ Bucket: bucket, ObjectLockConfiguration }));

    await using probe = open(bucket);
    const told: string[] = [];
    const report = await probe.run({ lasting: true, onResult: ({ check }) => told.push(check) });
    expect(truthOf(report)).toEqual(TRUTH[implementation]);
    expect(outcomeOf(report)).toBe("serious");
    expect(told).toEqual(CHECK_NAMES);
    expect(report.store).toBe(`s3://${bucket}/evidence`);

    const { Status } = await s3.client.send(new GetBucketVersioningCommand({ Bucket: bucket }));
    expect(Status).toBe("Enabled");
    const lock = await s3.client.send(new GetObjectLockConfigurationCommand({ Bucket: bucket }));
    expect(lock.ObjectLockConfiguration?.Rule).toMatchObject(rule);
    for await (const key of s3.store(bucket).list("")) {
      expect(key).toMatch(new RegExp(`^evidence/${SCRATCH_FOLDER}/`));
    }
  });

  test("says that a bucket with versions and without Object Lock protects nothing", async () => {
    const bucket = await versionedBucket();
    await using probe = open(bucket);
    const report = await probe.run({ lasting: false });
    expect(brokenOf(report)).toEqual(expect.arrayContaining(CRITICAL));
    expect(outcomeOf(report)).toBe("critical");
    expect(truthOf(report)["suspend-versioning"]).toEqual(["broken", "no Object Lock"]);
    const { Status } = await s3.client.send(new GetBucketVersioningCommand({ Bucket: bucket }));
    expect(Status).toBe("Enabled");
  });

  test("a clock that is wrong here says nothing of the locks there", async () => {
    const bucket = await s3.createBucket();
    for (const minutes of [-20, 20]) {
      vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + minutes * 60_000 });
      try {
        await using probe = open(bucket);
        const report = await probe.run({ lasting: false });
        const verdicts = report.results.filter(({ check }) => CRITICAL.includes(check));
        expect(new Set(verdicts.map(({ verdict }) => verdict))).toEqual(new Set(["held"]));
      } finally {
        vi.useRealTimers();
      }
    }
  });

  test("believes what it sees, not what it is told", async () => {
    await using proxy = await TestS3Proxy.to(s3.connection);
    const { endpoint } = proxy;

    // Deletions are said to be done, and none is.
    proxy.fault = ({ operation }) => (operation === "DeleteObject" ? { status: 204 } : undefined);
    await using locked = open(await s3.createBucket(), { endpoint });
    const truth = truthOf(await locked.run({ lasting: false }));
    expect(truth["delete-version"]).toEqual(intact);
    expect(truth["governance-bypass"]).toEqual(intact);

    // Deletions are said to be refused, and each is done.
    const bucket = await versionedBucket();
    proxy.fault = async ({ operation, key, query }) => {
      if (operation !== "DeleteObject") return undefined;
      const VersionId = query.get("versionId") ?? undefined;
      await s3.client.send(new DeleteObjectCommand({ Bucket: bucket, Key: key, VersionId }));
      return s3Error(403, "AccessDenied");
    };
    await using plain = open(bucket, { endpoint });
    const { "delete-version": verdict } = truthOf(await plain.run({ lasting: false }));
    expect(verdict).toEqual(["broken", "refused (AccessDenied); the version is gone"]);
  });

  // MinIO's bucket policies bind strangers alone, and its users come from another API.
  test.runIf(implementation === "versitygw")(
    "of a writer that may only write, an administrator's credentials show what it cannot",
    async () => {
      const bucket = await s3.createBucket();
      const credentials = await createWriter(s3, bucket);
      await using probe = open(bucket, { credentials, admin: s3.connection.credentials });
      const report = await probe.run({ lasting: true });
      const of = (as: "writer" | "admin") =>
        truthOf({ ...report, results: report.results.filter((result) => result.as === as) });

      expect(brokenOf({ ...report, results: report.results.filter(({ as }) => as === "writer") })).toEqual([
        "put-without-checksum",
        "default-retention-shown",
      ]);
      expect(of("writer")).toMatchObject({
        "delete-version": denied,
        "delete-marker": refused("AccessDenied"),
        "suspend-versioning": ["held", "refused (AccessDenied); it is as it was"],
        "governance-bypass": refused("AccessDenied"),
        "legal-hold-removal": ["held", "refused (AccessDenied); it is as it was"],
        "legal-hold-after-expiry": [
          "held",
          "refused (AccessDenied); the version is there; so is one without a hold",
        ],
        "weaken-default": ["not-supported", "the bucket has no default"],
      });
      expect(of("admin")).toMatchObject({
        "delete-version-bypass": denied,
        "delete-marker": intact,
        "suspend-versioning": ["held", "refused (InvalidBucketState); it is as it was"],
        "governance-bypass": gone,
        "legal-hold-removal": notOurs,
        "legal-hold-after-expiry": gone,
        "default-retention-enforced": gone,
      });
      expect(of("admin")).not.toHaveProperty("overwrite");
    },
  );

  test("rejects where nothing can be tried", async () => {
    const credentials = { ...s3.connection.credentials, secretAccessKey: "another" };
    await using stranger = open(await s3.createBucket(), { credentials });
    await expect(stranger.run({ lasting: false })).rejects.toMatchObject({ failure: "credentials" });
    await using proxy = await TestS3Proxy.to(s3.connection);
    proxy.fault = ({ call }) => (call > 20 ? "before" : undefined);
    await using leaving = open(await s3.createBucket(), { endpoint: proxy.endpoint });
    await expect(leaving.run({ lasting: false })).rejects.toMatchObject({ failure: "unreachable" });
    await using nowhere = open("psephos-there-is-no-such-bucket");
    await expect(nowhere.run({ lasting: false })).rejects.toThrow(
      "there is no bucket psephos-there-is-no-such-bucket",
    );
  });
});

/** A user of versitygw's who may do what evidence needs, and nothing else. */
async function createWriter({ server, client, connection }: TestS3, bucket: string) {
  const { program } = await findS3Server("versitygw");
  const { accessKeyId, secretAccessKey } = connection.credentials;
  const writer = { accessKeyId: "writer", secretAccessKey: "the writer's secret" };
  const root = ["--access", accessKeyId, "--secret", secretAccessKey, "--endpoint-url", server.endpoint];
  const user = ["--access", writer.accessKeyId, "--secret", writer.secretAccessKey, "--role", "user"];
  await runProgram({
    file: program,
    args: ["admin", ...root, "create-user", ...user],
    env: { SSL_CERT_FILE: server.caFile },
    timeoutMs: 10_000,
  });
  const actions = [
    ...["PutObject", "PutObjectRetention", "GetObject", "GetObjectVersion", "GetObjectRetention"],
    ...["ListBucket", "ListBucketVersions", "GetBucketObjectLockConfiguration"],
  ];
  const Statement = [
    {
      Effect: "Allow",
      Principal: { AWS: [writer.accessKeyId] },
      Action: actions.map((action) => `s3:${action}`),
      Resource: [`arn:aws:s3:::${bucket}`, `arn:aws:s3:::${bucket}/*`],
    },
  ];
  const Policy = JSON.stringify({ Version: "2012-10-17", Statement });
  await client.send(new PutBucketPolicyCommand({ Bucket: bucket, Policy }));
  return writer;
}

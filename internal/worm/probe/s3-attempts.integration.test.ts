// Single attempts, on a real server that a proxy makes refuse or break off.
import { ListMultipartUploadsCommand } from "@aws-sdk/client-s3";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { systemClock } from "../../core/clock.ts";
import { createS3Client } from "../s3-client.ts";
import { TestS3 } from "../test-s3.ts";
import { s3Error, TestS3Proxy } from "../test-s3-proxy.ts";
import type { Scene } from "./attempt.ts";
import { Bench } from "./bench.ts";
import { suspendVersioning } from "./bucket-attempts.ts";
import { legalHoldRemoval } from "./hold-attempts.ts";
import { multipartOver, shortenRetention } from "./version-attempts.ts";

describe("an attempt", () => {
  let s3: TestS3;
  let proxy: TestS3Proxy;
  let scene: Scene;

  beforeAll(async () => {
    s3 = await TestS3.start("minio");
    proxy = await TestS3Proxy.to(s3.connection);
  });
  afterAll(async () => {
    await proxy?.[Symbol.asyncDispose]();
    await s3?.[Symbol.asyncDispose]();
  });
  beforeEach(async () => {
    proxy.fault = () => undefined;
    proxy.log.splice(0);
    const client = createS3Client({ ...s3.connection, endpoint: proxy.endpoint });
    const bench = new Bench({ client, bucket: await s3.createBucket(), lockMs: 60_000, clock: systemClock });
    scene = { writer: bench, attacker: bench, strongest: bench, name: "probe" };
  });

  const versionings = () =>
    proxy.log
      .filter(({ operation }) => operation === "PUT versioning")
      .map(({ body }) => /<Status>(\w+)</.exec(body.toString())?.[1]);

  test("that seems to have suspended versioning puts it back, however it ends", async () => {
    let enabling = 0;
    proxy.fault = ({ operation, key, body }) => {
      if (key === "probe-after") return s3Error(500, "InternalError");
      if (operation !== "PUT versioning") return undefined;
      if (body.includes("Suspended")) return { status: 200 };
      return ++enabling < 7 ? "before" : undefined; // More often than one call is tried.
    };
    await expect(suspendVersioning(scene)).rejects.toMatchObject({ failure: "failed" });
    expect(versionings()).toEqual(["Suspended", ...Array(7).fill("Enabled")]);
  });

  test("that has suspended it for good says so", async () => {
    proxy.fault = ({ operation, key, body }) => {
      if (key === "probe-after") return s3Error(500, "InternalError");
      if (operation !== "PUT versioning") return undefined;
      return body.includes("Suspended") ? { status: 200 } : s3Error(403, "AccessDenied");
    };
    expect(await suspendVersioning(scene)).toMatchObject({
      verdict: "broken",
      observed: expect.stringContaining("cannot be put back"),
    });
  });

  test("to suspend versioning is not made without Object Lock, which alone forbids it", async () => {
    const client = createS3Client(s3.connection);
    const bucket = await s3.createBucket({ lock: false });
    const bench = new Bench({ client, bucket, lockMs: 60_000, clock: systemClock });
    const judgement = await suspendVersioning({ ...scene, writer: bench, attacker: bench, strongest: bench });
    expect(judgement).toEqual({ verdict: "broken", observed: "no Object Lock" });
    expect(versionings()).toEqual([]);
  });

  test("that a missing right to bypass ends is made without the bypass, too", async () => {
    let bypassed = 0;
    proxy.fault = ({ headers }) => {
      if (!headers["x-amz-bypass-governance-retention"]) return undefined;
      bypassed++;
      return s3Error(403, "AccessDenied");
    };
    expect(await shortenRetention(scene)).toEqual({
      verdict: "held",
      observed: "refused (InvalidRequest); the version is as it was",
    });
    expect(bypassed).toBe(1);
  });

  test("that only a missing permission ends does not prove the lock", async () => {
    proxy.fault = ({ query, body }) =>
      query.has("retention") && body.length > 0 ? s3Error(403, "AccessDenied") : undefined;
    expect(await shortenRetention(scene)).toEqual({
      verdict: "held",
      observed:
        "refused (AccessDenied); the version is as it was; not proved: perhaps these credentials may not",
    });
  });

  test.each([
    ["part", "UploadPart"],
    ["completion", "POST uploadId"],
  ])("of an upload in parts leaves none of them where its %s is refused", async (_, operation) => {
    proxy.fault = (asked) => (asked.operation === operation ? s3Error(403, "AccessDenied") : undefined);
    expect(await multipartOver(scene)).toEqual({
      verdict: "held",
      observed: "refused (AccessDenied); the version is as it was",
    });
    expect(proxy.take()).toContain("AbortMultipartUpload");
    const { Uploads } = await s3.client.send(
      new ListMultipartUploadsCommand({ Bucket: scene.writer.bucket, Prefix: scene.name }),
    );
    expect(Uploads).toBeUndefined();
  });

  test("whose hold nobody lifts says where it stays", async () => {
    proxy.fault = ({ query, body }) =>
      query.has("legal-hold") && body.includes("OFF") ? s3Error(403, "AccessDenied") : undefined;
    expect(await legalHoldRemoval(scene)).toEqual({
      verdict: "held",
      observed: "refused (AccessDenied); it is as it was; the hold on probe stays: refused (AccessDenied)",
    });
  });
});

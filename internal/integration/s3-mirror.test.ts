// The public directory in a bucket that anybody may read, without credentials: psephos verify takes it for the log.
import { PutBucketPolicyCommand, PutObjectCommand } from "@aws-sdk/client-s3";
import { afterAll, beforeAll, expect, test } from "vitest";
import { TestElection } from "../publisher/test-election.ts";
import { mirroredFiles } from "../publisher/test-mirror.ts";
import { TestDirectories } from "../publisher/test-publisher.ts";
import { TestS3 } from "../worm/test-s3.ts";
import { psephos } from "./cli-fixture.ts";

const resources = new AsyncDisposableStack();
let s3: TestS3;
let bucket: string;

beforeAll(async () => {
  s3 = resources.use(await TestS3.start("versitygw"));
  bucket = await s3.createBucket({ lock: false });
  // Without ListBucket, S3 says 403 and not 404 of what is not there, and readers of tiles would stop at it.
  const allow = (Action: string, Resource: string) => ({ Effect: "Allow", Principal: "*", Action, Resource });
  const Statement = [
    allow("s3:GetObject", `arn:aws:s3:::${bucket}/*`),
    allow("s3:ListBucket", `arn:aws:s3:::${bucket}`),
  ];
  const Policy = JSON.stringify({ Version: "2012-10-17", Statement });
  await s3.client.send(new PutBucketPolicyCommand({ Bucket: bucket, Policy }));
});

afterAll(() => resources.disposeAsync());

test("a copy of the folder in a bucket is the log", async () => {
  await using directories = await TestDirectories.create({ inMemory: true });
  const election = new TestElection();
  {
    await using publisher = await directories.open(election);
    await publisher.submit(election.id, election.grow(700).close().head());
  }
  for (const { path, bytes, contentType } of await mirroredFiles(directories.public)) {
    const object = { Bucket: bucket, Key: path, Body: bytes, ContentType: contentType };
    await s3.client.send(new PutObjectCommand(object));
  }

  const url = `${s3.server.endpoint}/${bucket}`;
  const args = ["verify", "--json", "--election", "vermont-2020", "--public", url];
  const { status, stdout, stderr } = await psephos(args, { env: { NODE_EXTRA_CA_CERTS: s3.server.caFile } });
  expect(status, stderr + stdout).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({ result: "ok", log_size: 701, closed: true });
});

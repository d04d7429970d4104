import { randomUUID } from "node:crypto";
import { join } from "node:path";
import {
  CreateBucketCommand,
  DeleteObjectCommand,
  PutObjectCommand,
  PutObjectRetentionCommand,
  type S3Client,
} from "@aws-sdk/client-s3";
import { DevelopmentCa } from "../../deploy/local/dev-ca.ts";
import { PortBook } from "../../deploy/local/ports.ts";
import { findS3Server, type S3Implementation } from "../../deploy/local/s3-binaries.ts";
import { LocalS3, type S3Connection } from "../../deploy/local/s3-server.ts";
import { TemporaryFolder } from "../../deploy/local/temporary-folder.ts";
import { createS3Client } from "./s3-client.ts";
import { S3Store, type S3StoreOptions } from "./s3-store.ts";

/** A real S3 server for the tests of one file, and the root's client for what only an attacker or an administrator does. */
export class TestS3 implements AsyncDisposable {
  readonly server: LocalS3;
  readonly connection: S3Connection;
  readonly client: S3Client;
  readonly #resources: AsyncDisposableStack;

  private constructor(server: LocalS3, connection: S3Connection, resources: AsyncDisposableStack) {
    this.server = server;
    this.connection = connection;
    this.client = createS3Client(connection);
    this.#resources = resources;
  }

  static async start(implementation: S3Implementation): Promise<TestS3> {
    await using resources = new AsyncDisposableStack();
    const { path } = resources.use(await TemporaryFolder.create());
    const ports = resources.use(await PortBook.open(join(path, "ports.json")));
    const ca = await DevelopmentCa.open(join(path, "tls"));
    const program = await findS3Server(implementation);
    const port = await ports.port("s3");
    const server = resources.use(
      new LocalS3({ server: program, folder: join(path, implementation), port, ca }),
    );
    await server.start();
    return new TestS3(server, await server.connection(), resources.move());
  }

  /** A new bucket, with Object Lock unless told otherwise. Answers its name. */
  async createBucket({ lock = true } = {}): Promise<string> {
    const Bucket = `psephos-${randomUUID()}`;
    await this.client.send(new CreateBucketCommand({ Bucket, ObjectLockEnabledForBucket: lock }));
    return Bucket;
  }

  store(bucket: string, options: Partial<S3StoreOptions> = {}): S3Store {
    return new S3Store({ ...this.connection, bucket, ...options });
  }

  /** Writes a version without a lock of its own. */
  async put(bucket: string, key: string, body: Uint8Array): Promise<void> {
    await this.client.send(new PutObjectCommand({ Bucket: bucket, Key: key, Body: body }));
  }

  /** Hides an object. */
  async putDeleteMarker(bucket: string, key: string): Promise<void> {
    await this.client.send(new DeleteObjectCommand({ Bucket: bucket, Key: key }));
  }

  /** What GOVERNANCE lets an administrator do. */
  async changeRetention(bucket: string, key: string, until: Date): Promise<void> {
    const Retention = { Mode: "GOVERNANCE", RetainUntilDate: until } as const;
    const input = { Bucket: bucket, Key: key, Retention, BypassGovernanceRetention: true };
    await this.client.send(new PutObjectRetentionCommand(input));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.client.destroy();
    await this.#resources.disposeAsync();
  }
}

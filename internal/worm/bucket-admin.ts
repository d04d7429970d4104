import { hash } from "node:crypto";
import {
  type BucketLocationConstraint,
  CreateBucketCommand,
  DeleteBucketPolicyCommand,
  DeleteObjectCommand,
  GetBucketLifecycleConfigurationCommand,
  GetBucketPolicyCommand,
  GetBucketVersioningCommand,
  GetObjectLockConfigurationCommand,
  GetPublicAccessBlockCommand,
  HeadObjectCommand,
  type LifecycleRule,
  type PublicAccessBlockConfiguration,
  PutBucketLifecycleConfigurationCommand,
  PutBucketPolicyCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
  PutObjectLockConfigurationCommand,
  PutPublicAccessBlockCommand,
  type S3Client,
} from "@aws-sdk/client-s3";
import { utf8 } from "../core/bytes.ts";
import { ObjectStoreError } from "./object-store.ts";
import type { S3Calls } from "./s3-calls.ts";
import { hasS3Code } from "./s3-failure.ts";
import type { Retention } from "./s3-lock.ts";

/** What shows that objects can be stored, and stays: a bucket like this one cannot let go of anything. */
const TRIAL_NAME = "psephos-worm-init";
const TRIAL_BODY = utf8("psephos worm init stored this to see that objects can be stored here.\n");
const TRIAL_LOCK_MS = 60_000;

export interface BucketAdminOptions {
  readonly calls: S3Calls;
  readonly bucket: string;
  readonly region: string;
  /** Where evidence will be: others may have the rest of the bucket. Empty, or with a slash at its end. */
  readonly prefix: string;
}

/** The settings of a bucket, one request a method. What is not set is undefined. */
export class BucketAdmin {
  readonly #calls: S3Calls;
  readonly #bucket: string;
  readonly #region: string;
  readonly #trialKey: string;

  constructor({ calls, bucket, region, prefix }: BucketAdminOptions) {
    this.#calls = calls;
    this.#bucket = bucket;
    this.#region = region;
    this.#trialKey = `${prefix}${TRIAL_NAME}`;
  }

  async exists(): Promise<boolean> {
    return (await orUndefined(this.#getVersioning(), "NoSuchBucket")) !== undefined;
  }

  /** With Object Lock, which brings versioning. */
  async create(): Promise<void> {
    // AWS demands the region of a bucket in its body, except of the first region, where it refuses it.
    const elsewhere = this.#region !== "us-east-1";
    // The SDK lists the regions it was made with.
    const place = {
      CreateBucketConfiguration: { LocationConstraint: this.#region as BucketLocationConstraint },
    };
    const command = new CreateBucketCommand({
      Bucket: this.#bucket,
      ObjectLockEnabledForBucket: true,
      ...(elsewhere ? place : {}),
    });
    await this.#run(`create bucket ${this.#bucket}`, (client) => client.send(command));
  }

  async versioning(): Promise<boolean> {
    return (await this.#getVersioning()).Status === "Enabled";
  }

  async enableVersioning(): Promise<void> {
    const command = new PutBucketVersioningCommand({
      Bucket: this.#bucket,
      VersioningConfiguration: { Status: "Enabled" },
    });
    await this.#run("keep versions", (client) => client.send(command));
  }

  async hasLock(): Promise<boolean> {
    return (await this.#lockConfiguration())?.ObjectLockEnabled === "Enabled";
  }

  async enableLock(): Promise<void> {
    await this.#putLock("enable Object Lock");
  }

  /** How long a version is locked that was put without a date of its own. */
  async defaultRetention(): Promise<Retention | undefined> {
    const { Mode: mode, Days, Years } = (await this.#lockConfiguration())?.Rule?.DefaultRetention ?? {};
    const days = Days ?? (Years === undefined ? undefined : Math.floor(Years * 365.25));
    return mode === undefined || days === undefined ? undefined : { mode, days };
  }

  async setDefaultRetention({ mode, days }: Retention): Promise<void> {
    await this.#putLock("set the default retention", {
      Rule: { DefaultRetention: { Mode: mode, Days: days } },
    });
  }

  async lifecycle(): Promise<readonly LifecycleRule[] | undefined> {
    const command = new GetBucketLifecycleConfigurationCommand({ Bucket: this.#bucket });
    const found = this.#run("say its lifecycle rules", (client) => client.send(command));
    return (await orUndefined(found, "NoSuchLifecycleConfiguration"))?.Rules;
  }

  async setLifecycle(rules: readonly LifecycleRule[]): Promise<void> {
    const command = new PutBucketLifecycleConfigurationCommand({
      Bucket: this.#bucket,
      LifecycleConfiguration: { Rules: [...rules] },
    });
    await this.#run("set lifecycle rules", (client) => client.send(command));
  }

  async policy(): Promise<string | undefined> {
    const command = new GetBucketPolicyCommand({ Bucket: this.#bucket });
    const found = this.#run("say its policy", (client) => client.send(command));
    return (await orUndefined(found, "NoSuchBucketPolicy"))?.Policy;
  }

  /** undefined removes it. The bucket must not be empty then: some servers might take it for the bucket's own removal. */
  async setPolicy(policy: string | undefined): Promise<void> {
    const Bucket = this.#bucket;
    await this.#run("set the policy", (client) =>
      policy === undefined
        ? client.send(new DeleteBucketPolicyCommand({ Bucket }))
        : client.send(new PutBucketPolicyCommand({ Bucket, Policy: policy })),
    );
  }

  async publicAccessBlock(): Promise<PublicAccessBlockConfiguration | undefined> {
    const command = new GetPublicAccessBlockCommand({ Bucket: this.#bucket });
    const found = this.#run("say whether public access is blocked", (client) => client.send(command));
    return (await orUndefined(found, "NoSuchPublicAccessBlockConfiguration"))?.PublicAccessBlockConfiguration;
  }

  async setPublicAccessBlock(PublicAccessBlockConfiguration: PublicAccessBlockConfiguration): Promise<void> {
    const command = new PutPublicAccessBlockCommand({ Bucket: this.#bucket, PublicAccessBlockConfiguration });
    await this.#run("block public access", (client) => client.send(command));
  }

  /**
   * Stores one small object, locked for a minute as evidence is for years, unless an earlier trial has. What keeps it from
   * being stored is answered; undefined means that nothing does.
   */
  async tryToWrite(): Promise<ObjectStoreError | undefined> {
    const command = {
      Bucket: this.#bucket,
      Key: this.#trialKey,
      Body: TRIAL_BODY,
      ContentLength: TRIAL_BODY.length,
      ChecksumSHA256: hash("sha256", TRIAL_BODY, "base64"),
      IfNoneMatch: "*",
      ObjectLockMode: "COMPLIANCE" as const,
      ObjectLockRetainUntilDate: new Date(this.#calls.now().getTime() + TRIAL_LOCK_MS),
    };
    try {
      await this.#run("store an object", (client) => client.send(new PutObjectCommand(command)));
      return undefined;
    } catch (error) {
      if (!(error instanceof ObjectStoreError)) throw error;
      return error.code === "PreconditionFailed" ? undefined : error;
    }
  }

  /**
   * Whether these credentials may delete, in spite of a policy. Asked of a version that is not there: of a name without
   * objects the id of one that the server has given, so that nothing is deleted, or hidden, whatever the answer.
   */
  async mayDelete(): Promise<boolean> {
    const Bucket = this.#bucket;
    const head = new HeadObjectCommand({ Bucket, Key: this.#trialKey });
    const { VersionId } = await this.#run("say what it stored", (client) => client.send(head));
    if (VersionId === undefined) return true;
    const command = new DeleteObjectCommand({ Bucket, Key: `${this.#trialKey}-nothing`, VersionId });
    try {
      await this.#run("say whether it lets delete", (client) => client.send(command));
      return true;
    } catch (error) {
      if (!(error instanceof ObjectStoreError)) throw error;
      return error.failure !== "access";
    }
  }

  /** Not a HEAD, whose refusal would have no words. */
  #getVersioning() {
    const command = new GetBucketVersioningCommand({ Bucket: this.#bucket });
    return this.#run(`say how bucket ${this.#bucket} keeps versions`, (client) => client.send(command));
  }

  async #lockConfiguration() {
    const command = new GetObjectLockConfigurationCommand({ Bucket: this.#bucket });
    const found = this.#run("say whether it has Object Lock", (client) => client.send(command));
    return (await orUndefined(found, "ObjectLockConfigurationNotFoundError"))?.ObjectLockConfiguration;
  }

  async #putLock(action: string, rule: object = {}): Promise<void> {
    const command = new PutObjectLockConfigurationCommand({
      Bucket: this.#bucket,
      ObjectLockConfiguration: { ObjectLockEnabled: "Enabled", ...rule },
    });
    await this.#run(action, (client) => client.send(command));
  }

  #run<T>(action: string, call: (client: S3Client) => Promise<T>): Promise<T> {
    return this.#calls.run(action, call);
  }
}

/** The answer; undefined where S3 says with one of these words that there is nothing of the kind. */
async function orUndefined<T>(answer: Promise<T>, ...codes: readonly string[]): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (hasS3Code(error, ...codes)) return undefined;
    throw error;
  }
}

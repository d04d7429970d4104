import { createHash } from "node:crypto";
import {
  DeleteObjectCommand,
  GetObjectLockConfigurationCommand,
  GetObjectRetentionCommand,
  HeadBucketCommand,
  PutObjectCommand,
  type PutObjectCommandInput,
  type S3Client,
} from "@aws-sdk/client-s3";
import { equalBytes, utf8 } from "../../core/bytes.ts";
import type { Clock } from "../../core/clock.ts";
import {
  ObjectCorruptError,
  ObjectLockError,
  ObjectStoreError,
  type RetentionMode,
} from "../object-store.ts";
import { S3Calls } from "../s3-calls.ts";
import { hasS3Code } from "../s3-failure.ts";
import { BucketLock } from "../s3-lock.ts";
import { readVersion } from "../s3-read.ts";
import { S3Versions } from "../s3-versions.ts";
import type { Answer, Lock, Sight } from "./judge.ts";

/** A version of the probe's own. */
export interface Placed {
  readonly name: string;
  readonly versionId: string;
  readonly body: Uint8Array;
  /** null where the bucket takes no locks. */
  readonly lock: Lock | null;
}

export interface PlaceOptions {
  readonly mode?: RetentionMode;
  readonly lockMs?: number;
  readonly more?: Partial<PutObjectCommandInput>;
}

/** What a server calls a version where it keeps none. */
const NO_VERSION = "null";

/** The scratch place in a bucket, as one set of credentials sees it. */
export class Bench {
  readonly bucket: string;
  /** The server's. */
  readonly clock: Clock;
  /** How long the locks of the probe's objects last. */
  readonly lockMs: number;
  readonly #calls: S3Calls;
  readonly #versions: S3Versions;
  readonly #lock: BucketLock;

  constructor(options: {
    readonly client: S3Client;
    readonly bucket: string;
    readonly lockMs: number;
    readonly clock: Clock;
  }) {
    this.bucket = options.bucket;
    this.clock = options.clock;
    this.lockMs = options.lockMs;
    this.#calls = new S3Calls(options);
    this.#versions = new S3Versions({ calls: this.#calls, bucket: options.bucket });
    this.#lock = new BucketLock({ calls: this.#calls, bucket: options.bucket });
  }

  /** By the server's clock, which knows nothing of the SDK's own correction: the two must not add up. */
  now(): Date {
    return new Date(this.clock.nowMicros() / 1000);
  }

  /**
   * Asks something, whatever the answer.
   *
   * @throws ObjectStoreError  there is none, or these credentials are not known
   * @throws ObjectLockError   there is no such bucket
   */
  async knock(): Promise<void> {
    const Bucket = this.bucket;
    // The first is answered in words. The second tells that there is no bucket where the first speaks of locks alone.
    await this.#knockWith((client) => client.send(new GetObjectLockConfigurationCommand({ Bucket })));
    await this.#knockWith((client) => client.send(new HeadBucketCommand({ Bucket })));
  }

  /** @throws ObjectLockError  the bucket has no Object Lock, or does not exist */
  requireLock(): Promise<void> {
    return this.#lock.check();
  }

  async hasLock(): Promise<boolean> {
    try {
      await this.requireLock();
      return true;
    } catch (error) {
      if (error instanceof ObjectLockError) return false;
      throw error;
    }
  }

  /** Whole seconds, as servers keep no finer. */
  lockFor(ms: number, mode: RetentionMode = "COMPLIANCE"): Lock {
    return { mode, until: new Date(Math.floor((this.now().getTime() + ms) / 1000) * 1000) };
  }

  /** Asks what is needed to judge. @throws ObjectStoreError */
  ask<T>(action: string, call: (client: S3Client) => Promise<T>): Promise<T> {
    return this.#calls.run(action, call);
  }

  /** Tries what ought not to work. It does not throw: an attempt that seems to have failed may have been done. */
  async try(call: (client: S3Client) => Promise<unknown>): Promise<Answer> {
    try {
      await this.#calls.run("do it", call);
      return { kind: "done" };
    } catch (error) {
      if (!(error instanceof ObjectStoreError)) throw error;
      const { failure, code } = error;
      if (failure === "access") return { kind: "refused", code, reason: "permission" };
      if (failure === "refused") return { kind: "refused", code, reason: "request" };
      return { kind: "unknown", detail: `${failure}: ${code}` };
    }
  }

  /** An object with a lock, the first of its name. Without one where the bucket takes none: whatever can be had there. */
  async place(name: string, options: PlaceOptions = {}): Promise<Placed> {
    const { mode, lockMs = this.lockMs, more = {} } = options;
    const lock = this.lockFor(lockMs, mode);
    try {
      return await this.#put(name, lock, more);
    } catch (error) {
      if (!isRefusal(error) || (await this.hasLock())) throw error;
      return this.#put(name, null, {});
    }
  }

  /** An object that asks for no lock. */
  placeUnlocked(name: string): Promise<Placed> {
    return this.#put(name, null, {});
  }

  /** Reads a version by its id, and its lock. */
  async look(placed: Placed): Promise<Sight> {
    const content = await this.#content(placed);
    return { content, lock: content === "gone" ? null : await this.#lockOf(placed), at: this.now() };
  }

  /** How many versions a name has, delete markers not counted. */
  async countVersions(name: string): Promise<number> {
    let found = 0;
    for await (const { key, deleteMarker } of this.#versions.list(name)) {
      if (key === name && !deleteMarker) found++;
    }
    return found;
  }

  target({ name, versionId }: Placed) {
    return { Bucket: this.bucket, Key: name, VersionId: versionId };
  }

  /** What a PUT has, but for a lock and a checksum. */
  putInput(name: string, body: Uint8Array) {
    return { Bucket: this.bucket, Key: name, Body: body, ContentLength: body.length };
  }

  delete(placed: Placed, more: { readonly BypassGovernanceRetention?: boolean } = {}): Promise<Answer> {
    return this.try((client) => client.send(new DeleteObjectCommand({ ...this.target(placed), ...more })));
  }

  /** Hides a name under a delete marker. */
  hide(name: string): Promise<Answer> {
    return this.try((client) => client.send(new DeleteObjectCommand({ Bucket: this.bucket, Key: name })));
  }

  async #knockWith(call: (client: S3Client) => Promise<unknown>): Promise<void> {
    try {
      await this.ask(`answer for bucket ${this.bucket}`, call);
    } catch (error) {
      const answered = error instanceof ObjectStoreError && ["access", "refused"].includes(error.failure);
      if (!answered) throw error;
      if (hasS3Code(error, "NoSuchBucket", "NotFound")) {
        throw new ObjectLockError(`there is no bucket ${this.bucket}`);
      }
    }
  }

  async #put(name: string, lock: Lock | null, more: Partial<PutObjectCommandInput>): Promise<Placed> {
    const body = utf8(`written by a probe of psephos: ${name}`);
    const command = new PutObjectCommand({
      ...this.putInput(name, body),
      ChecksumSHA256: sha256Base64(body),
      ...(lock && lockHeaders(lock)),
      ...more,
    });
    const { VersionId = NO_VERSION } = await this.ask(`store ${name}`, (client) => client.send(command));
    return { name, versionId: VersionId, body, lock };
  }

  async #content(placed: Placed): Promise<Sight["content"]> {
    const { name, body } = placed;
    try {
      const found = await this.ask(`read ${name}`, (client) =>
        readVersion(client, name, this.target(placed)),
      );
      if (found === undefined) return "gone";
      return equalBytes(found, body) ? "same" : "other";
    } catch (error) {
      if (error instanceof ObjectCorruptError) return "other";
      throw error;
    }
  }

  /** Asked of the version itself: HEAD does not show a lock everywhere, and nowhere to those who may not see it. */
  async #lockOf(placed: Placed): Promise<Lock | null> {
    try {
      const command = new GetObjectRetentionCommand(this.target(placed));
      const { Retention: found } = await this.ask(`show the lock of ${placed.name}`, (client) =>
        client.send(command),
      );
      if (found?.Mode === undefined || found.RetainUntilDate === undefined) return null;
      return { mode: found.Mode, until: found.RetainUntilDate };
    } catch (error) {
      // There is a version, or we would not ask: what is missing is its lock, for which servers have many words.
      if (isRefusal(error)) return null;
      throw error;
    }
  }
}

export function isVersion({ versionId }: Placed): boolean {
  return versionId !== NO_VERSION;
}

export function lockHeaders({ mode, until }: Lock) {
  return { ObjectLockMode: mode, ObjectLockRetainUntilDate: until };
}

export function sha256Base64(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("base64");
}

/** Refused for what was asked, not for who asks. */
function isRefusal(error: unknown): boolean {
  return error instanceof ObjectStoreError && error.failure === "refused";
}

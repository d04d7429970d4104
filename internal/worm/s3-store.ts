import { hash } from "node:crypto";
import {
  PutObjectCommand,
  PutObjectRetentionCommand,
  RestoreObjectCommand,
  type S3Client,
} from "@aws-sdk/client-s3";
import { equalBytes } from "../core/bytes.ts";
import type { Clock } from "../core/clock.ts";
import {
  checkKey,
  checkPrefix,
  checkSize,
  isKey,
  ObjectConflictError,
  type ObjectInfo,
  ObjectLockError,
  type ObjectStore,
  ObjectStoreError,
  type StoredObject,
} from "./object-store.ts";
import { S3Calls } from "./s3-calls.ts";
import { createS3Client, type S3ClientOptions } from "./s3-client.ts";
import { hasS3Code } from "./s3-failure.ts";
import {
  BucketLock,
  holds,
  proveLock,
  type Retention,
  resolveRetention,
  retainedUntil,
  type WantedLock,
} from "./s3-lock.ts";
import { headVersion, readVersion } from "./s3-read.ts";
import { type ObjectVersion, S3Versions } from "./s3-versions.ts";

export interface S3StoreOptions extends S3ClientOptions {
  /** It must have Object Lock. */
  readonly bucket: string;
  /** Put before every key, with a slash between. Default: nothing. */
  readonly prefix?: string | undefined;
  /** Of every object put. Default: COMPLIANCE for ten years. */
  readonly retention?: Partial<Retention> | undefined;
  /** For the dates of retention and the pauses between attempts. */
  readonly clock?: Clock | undefined;
}

export type RestoreTier = "Bulk" | "Standard" | "Expedited";

/**
 * A bucket with Object Lock as an object store. Every object is put with a SHA-256 checksum, which S3 verifies, with a
 * retention of its own, and on the condition that its name is free.
 *
 * Object Lock keeps a *version* from being deleted and changed. It does not keep anybody who may write from putting a
 * newer version or a delete marker over it. So an object here is the **first version** of its name: that is what `put`
 * compares with, what `get` reads when it is given no version, and what `list` shows, hidden or not.
 *
 * A put costs one request, and a read by version another. A read without a version costs a second one, unless this
 * store put the object or has listed it.
 */
export class S3Store implements ObjectStore, AsyncDisposable {
  readonly #client: S3Client;
  readonly #calls: S3Calls;
  readonly #versions: S3Versions;
  readonly #lock: BucketLock;
  readonly #bucket: string;
  readonly #prefix: string;
  readonly #retention: Retention;
  #conditions: Promise<Conditions> | undefined;
  #lockProven: Promise<void> | undefined;

  /** Asks nothing of S3 yet: the first put does, and fails with an ObjectLockError where the bucket does not lock. */
  constructor(options: S3StoreOptions) {
    const { bucket, prefix = "", retention, clock } = options;
    this.#retention = resolveRetention(retention);
    this.#prefix = prefix === "" || prefix.endsWith("/") ? prefix : `${prefix}/`;
    this.#bucket = bucket;
    this.#client = createS3Client(options);
    this.#calls = new S3Calls({ client: this.#client, clock });
    this.#versions = new S3Versions({ calls: this.#calls, bucket });
    this.#lock = new BucketLock({ calls: this.#calls, bucket });
  }

  /**
   * A store whose bucket is known to lock.
   *
   * @throws ObjectLockError   it does not, or does not exist
   * @throws ObjectStoreError  it cannot be asked now
   */
  static async open(options: S3StoreOptions): Promise<S3Store> {
    const store = new S3Store(options);
    try {
      await store.#lock.check();
      return store;
    } catch (error) {
      await store[Symbol.asyncDispose]();
      throw error;
    }
  }

  async put(key: string, body: Uint8Array): Promise<StoredObject> {
    checkKey(key);
    checkSize(key, body.length);
    await this.#lock.check();
    const object = this.#newObject(key, body);
    const existing = await this.#existing(object);
    if (existing) return existing;
    const written = await (this.#conditions
      ? this.#write(object, await this.#conditions)
      : this.#tryOut(object));
    const { versionId, conditions } = written;
    // Where conditions are kept, what was written is first. Elsewhere two writers both succeed, and S3's order of
    // versions, which both see alike once they have written, decides.
    if (
      versionId !== undefined &&
      (conditions === "kept" || (await this.#versions.lookUp(object.name)) === versionId)
    ) {
      await this.#proveLockOnce(object, versionId);
      return this.#created(object, versionId);
    }
    return this.#settle(object, await this.#firstVersion(key));
  }

  async get(key: string, versionId?: string): Promise<Uint8Array | undefined> {
    checkKey(key);
    return this.#ofVersion(key, versionId, (version) => this.#read(key, version));
  }

  async stat(key: string, versionId?: string): Promise<ObjectInfo | undefined> {
    checkKey(key);
    return this.#ofVersion(key, versionId, (version) => this.#head(key, version));
  }

  /** Lists versions, not objects: evidence that somebody hides with a delete marker does not vanish from here. */
  async *list(prefix: string): AsyncIterable<string> {
    let previous: ObjectVersion | undefined;
    for await (const version of this.listVersions(prefix)) {
      if (version.deleteMarker) continue;
      if (previous !== undefined && previous.key !== version.key) yield this.#listed(previous);
      previous = version;
    }
    if (previous !== undefined) yield this.#listed(previous);
  }

  /** Every version and delete marker under keys that start with `prefix`: keys ascending, for each the newest first. */
  async *listVersions(prefix: string): AsyncIterable<ObjectVersion> {
    checkPrefix(prefix);
    for await (const version of this.#versions.list(this.#prefix + prefix)) {
      const key = version.key.slice(this.#prefix.length);
      if (isKey(key)) yield { ...version, key }; // Other programs' names may be anything.
    }
  }

  /**
   * Asks for a readable copy of an archived version, for so many days. It is there some hours later (`stat` says so);
   * asking again meanwhile does nothing.
   */
  async requestRestore(
    key: string,
    versionId: string,
    days: number,
    tier: RestoreTier = "Standard",
  ): Promise<void> {
    checkKey(key);
    const RestoreRequest = { Days: days, GlacierJobParameters: { Tier: tier } };
    const input = { Bucket: this.#bucket, Key: this.#prefix + key, VersionId: versionId, RestoreRequest };
    try {
      await this.#calls.run(`restore ${key}`, (client) => client.send(new RestoreObjectCommand(input)));
    } catch (error) {
      if (!hasS3Code(error, "RestoreAlreadyInProgress")) throw error;
    }
  }

  /** Ends what is under way, which then rejects. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#calls[Symbol.dispose]();
    this.#client.destroy();
  }

  /** The object, if it is already there with these bytes, and this process can know. */
  async #existing(object: NewObject): Promise<StoredObject | undefined> {
    const { name, key } = object;
    if (!this.#versions.isKnown(name) && !(await this.#versions.isHidden(name))) return undefined;
    const info = await this.stat(key);
    return info && this.#settle(object, info);
  }

  /**
   * The first put of this store, while others wait. Once it has succeeded it is sent again: a server that then makes a
   * second version of it ignores conditions.
   */
  #tryOut(object: NewObject): Promise<Written> {
    const written = this.#write(object, "kept").then(async ({ versionId }): Promise<Written> => {
      if (versionId === undefined) return { versionId, conditions: "kept" };
      const again = await this.#write(object, "kept");
      return { versionId, conditions: again.versionId === undefined ? "kept" : "ignored" };
    });
    const refused = (error: unknown) => {
      // The server does not take the header at all.
      if (hasS3Code(error, "NotImplemented")) return this.#write(object, "ignored");
      throw error;
    };
    const tried = written.catch(refused);
    this.#conditions = tried.then(({ conditions }) => conditions);
    this.#conditions.catch(() => {
      this.#conditions = undefined;
    });
    return tried;
  }

  /** The lock on the first object that this store creates is looked at rather than believed; of what was there, always. */
  #proveLockOnce(object: NewObject, versionId: string): Promise<void> {
    this.#lockProven ??= this.#head(object.key, versionId)
      .then((info) => proveLock(info, object))
      .catch((error: unknown) => {
        this.#lockProven = undefined;
        throw error;
      });
    return this.#lockProven;
  }

  /** Writes a version, unless it finds that the name is taken. */
  async #write(object: NewObject, conditions: Conditions): Promise<Written> {
    const { name, key, body, checksum, retainUntil } = object;
    if (conditions === "ignored" && (await this.#versions.lookUp(name)) !== undefined) {
      return { versionId: undefined, conditions };
    }
    const command = {
      Bucket: this.#bucket,
      Key: name,
      Body: body,
      ContentLength: body.length,
      ChecksumSHA256: checksum.toString("base64"),
      ObjectLockMode: this.#retention.mode,
      ObjectLockRetainUntilDate: retainUntil,
      ...(conditions === "kept" ? { IfNoneMatch: "*" } : {}),
    };
    try {
      const send = (client: S3Client) => client.send(new PutObjectCommand(command));
      const { VersionId: versionId } = await this.#calls.run(`store ${key}`, send);
      // "null" is what S3 calls a version where the bucket keeps none: the next write replaces it.
      if (versionId === undefined || versionId === "null") {
        throw new ObjectLockError(`bucket ${this.#bucket} keeps no versions`);
      }
      return { versionId, conditions };
    } catch (error) {
      if (hasS3Code(error, "PreconditionFailed")) return { versionId: undefined, conditions };
      throw error;
    }
  }

  #created({ name, key, body, checksum, retainUntil }: NewObject, versionId: string): StoredObject {
    this.#versions.learn(name, versionId);
    return { key, versionId, sha256: checksum.toString("hex"), bytes: body.length, retainUntil };
  }

  /** What is to be said of an object whose name was taken. */
  async #settle(object: NewObject, first: ObjectInfo): Promise<StoredObject> {
    const { key, body, checksum } = object;
    const { versionId, bytes } = first;
    const sha256 = checksum.toString("hex");
    if (bytes !== body.length || (first.sha256 ?? sha256) !== sha256) throw new ObjectConflictError(key);
    if (first.sha256 === undefined) {
      const there = await this.#read(key, versionId);
      if (there !== undefined && !equalBytes(there, body)) throw new ObjectConflictError(key);
    }
    return { key, versionId, sha256, bytes, retainUntil: await this.#ensureLock(object, first) };
  }

  /**
   * Answers until when an object that was there is locked. Anybody who may write can have put the right bytes there
   * without a lock, or with one that is weaker or over: it is evidence once it is locked as if it were ours. A shorter
   * lock of the right kind stays, for a repeated put is to answer what the first one did.
   */
  async #ensureLock(object: NewObject, { versionId, retention }: ObjectInfo): Promise<Date> {
    const { key, name, mode } = object;
    if (retention && holds(retention, { mode, now: this.#calls.now() })) return retention.until;
    const retainUntil =
      retention && retention.until > object.retainUntil ? retention.until : object.retainUntil;
    const command = new PutObjectRetentionCommand({
      Bucket: this.#bucket,
      Key: name,
      VersionId: versionId,
      Retention: { Mode: mode, RetainUntilDate: retainUntil },
    });
    try {
      await this.#calls.run(`lock ${key}`, (client) => client.send(command));
    } catch (error) {
      const refused =
        error instanceof ObjectStoreError && (error.failure === "access" || error.failure === "refused");
      if (!refused) throw error;
      const found = retention ? `only ${retention.mode} until ${retention.until.toISOString()}` : "no lock";
      throw new ObjectLockError(`object ${key} was there with ${found}: ${error.message}`);
    }
    proveLock(await this.#head(key, versionId), { mode, retainUntil });
    return retainUntil;
  }

  async #firstVersion(key: string): Promise<ObjectInfo> {
    await this.#versions.lookUp(this.#prefix + key);
    const info = await this.stat(key);
    if (info) return info;
    throw new ObjectStoreError(
      "failed",
      "Vanished",
      `S3 has no version of ${key}, and yet says that it is there`,
    );
  }

  async #ofVersion<T>(
    key: string,
    versionId: string | undefined,
    use: (versionId: string) => Promise<T | undefined>,
  ): Promise<T | undefined> {
    if (versionId !== undefined) return use(versionId);
    const name = this.#prefix + key;
    const known = this.#versions.isKnown(name);
    const first = await this.#versions.first(name);
    const found = first === undefined ? undefined : await use(first);
    if (found !== undefined || !known) return found;
    // What was first when this process last asked has been deleted since.
    const next = await this.#versions.lookUp(name);
    return next === undefined ? undefined : use(next);
  }

  #read(key: string, versionId: string): Promise<Uint8Array | undefined> {
    const version = { Bucket: this.#bucket, Key: this.#prefix + key, VersionId: versionId };
    return this.#calls.run(`read ${key}`, (client) => readVersion(client, key, version));
  }

  #head(key: string, versionId: string): Promise<ObjectInfo | undefined> {
    const version = { Bucket: this.#bucket, Key: this.#prefix + key, VersionId: versionId };
    return this.#calls.run(`say what it has of ${key}`, (client) => headVersion(client, key, version));
  }

  #listed({ key, versionId }: ObjectVersion): string {
    this.#versions.learn(this.#prefix + key, versionId);
    return key;
  }

  #newObject(key: string, body: Uint8Array): NewObject {
    const checksum = hash("sha256", body, "buffer");
    const retainUntil = retainedUntil(this.#calls.now(), this.#retention);
    return { key, name: this.#prefix + key, body, checksum, mode: this.#retention.mode, retainUntil };
  }
}

/** Whether the server keeps `If-None-Match: *`, or overwrites. */
type Conditions = "kept" | "ignored";

interface Written {
  /** undefined: the name was taken. */
  readonly versionId: string | undefined;
  readonly conditions: Conditions;
}

interface NewObject extends WantedLock {
  readonly key: string;
  /** The key behind the prefix: what S3 calls a key. */
  readonly name: string;
  readonly body: Uint8Array;
  /** SHA-256. */
  readonly checksum: Buffer;
}

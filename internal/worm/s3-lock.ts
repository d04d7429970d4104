import { GetObjectLockConfigurationCommand, HeadBucketCommand } from "@aws-sdk/client-s3";
import { type ObjectInfo, ObjectLockError, type RetentionMode } from "./object-store.ts";
import type { S3Calls } from "./s3-calls.ts";
import { hasS3Code } from "./s3-failure.ts";

export interface Retention {
  readonly mode: RetentionMode;
  readonly days: number;
}

/** Ten years, leap days included. */
export const DEFAULT_RETENTION: Retention = { mode: "COMPLIANCE", days: 3_653 };

const DAY_MS = 24 * 60 * 60 * 1000;

export function resolveRetention(given: Partial<Retention> = {}): Retention {
  const retention = { ...DEFAULT_RETENTION, ...given };
  if (!(Number.isInteger(retention.days) && retention.days >= 1 && retention.days <= 36_500)) {
    throw new RangeError("retention is 1 to 36500 days");
  }
  return retention;
}

/** Whole seconds, as servers keep no finer: a repeated `put` answers the same. */
export function retainedUntil(now: Date, { days }: Retention): Date {
  return new Date(Math.floor((now.getTime() + days * DAY_MS) / 1000) * 1000);
}

/** The lock that a PUT asked for. */
export interface WantedLock {
  readonly mode: RetentionMode;
  readonly retainUntil: Date;
}

/** Whether a lock holds now and is no weaker than one of that mode. */
export function holds(
  lock: NonNullable<ObjectInfo["retention"]>,
  { mode, now }: { readonly mode: RetentionMode; readonly now: Date },
): boolean {
  return lock.until > now && (lock.mode === mode || mode === "GOVERNANCE");
}

/** @throws ObjectLockError  the server took the PUT and does not show the lock that it asked for */
export function proveLock(info: ObjectInfo | undefined, { mode, retainUntil }: WantedLock): void {
  const { retention = null, key = "" } = info ?? {};
  if (retention?.mode === mode && retention.until >= retainUntil) return;
  const wanted = `${mode} until ${retainUntil.toISOString()}`;
  const found = retention ? `${retention.mode} until ${retention.until.toISOString()}` : "none";
  throw new ObjectLockError(
    `object ${key} was stored with retention ${wanted}, and S3 shows ${found}: it does not lock`,
  );
}

/** Words for "this bucket has no Object Lock", which are not failures to answer. */
const UNLOCKED = ["ObjectLockConfigurationNotFoundError", "NotImplemented"];

/** Whether a bucket has Object Lock. Without it, a PUT with retention is refused by most servers, and taken by some. */
export class BucketLock {
  readonly #calls: S3Calls;
  readonly #bucket: string;
  #checked: Promise<void> | undefined;

  constructor(options: { readonly calls: S3Calls; readonly bucket: string }) {
    this.#calls = options.calls;
    this.#bucket = options.bucket;
  }

  /** Asks until there is an answer, and then no more: Object Lock cannot be taken from a bucket again. */
  check(): Promise<void> {
    this.#checked ??= this.#check().catch((error: unknown) => {
      this.#checked = undefined;
      throw error;
    });
    return this.#checked;
  }

  async #check(): Promise<void> {
    const bucket = this.#bucket;
    const command = new GetObjectLockConfigurationCommand({ Bucket: bucket });
    try {
      const action = `say whether bucket ${bucket} has Object Lock`;
      const { ObjectLockConfiguration: lock } = await this.#calls.run(action, (client) =>
        client.send(command),
      );
      if (lock?.ObjectLockEnabled === "Enabled") return;
    } catch (error) {
      if (hasS3Code(error, "NoSuchBucket")) throw new ObjectLockError(`there is no bucket ${bucket}`);
      if (!hasS3Code(error, ...UNLOCKED)) throw error;
    }
    if (!(await this.#exists())) throw new ObjectLockError(`there is no bucket ${bucket}`);
    throw new ObjectLockError(
      `bucket ${bucket} has no Object Lock: whatever is put there can be deleted. Object Lock is best given to a ` +
        "bucket when it is created; many servers cannot add it later",
    );
  }

  /** Some servers say of a bucket that is not there only that it has no Object Lock. */
  async #exists(): Promise<boolean> {
    const action = `say whether there is a bucket ${this.#bucket}`;
    const command = new HeadBucketCommand({ Bucket: this.#bucket });
    try {
      await this.#calls.run(action, (client) => client.send(command));
      return true;
    } catch (error) {
      return !hasS3Code(error, "NotFound");
    }
  }
}

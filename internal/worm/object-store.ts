/** An object as the store keeps it. Equal for every `put` of the same bytes under the same key. */
export interface StoredObject {
  readonly key: string;
  /** Names these bytes for good, even where somebody puts a newer version or a delete marker over them. */
  readonly versionId: string;
  /** Of the object's bytes, lower-case hex. */
  readonly sha256: string;
  readonly bytes: number;
  /** Until when the store refuses to delete this version; null in a store without retention. Whole seconds. */
  readonly retainUntil: Date | null;
}

/** COMPLIANCE: nobody can delete the version before its date. GOVERNANCE: whoever has the permission to bypass it can. */
export type RetentionMode = "COMPLIANCE" | "GOVERNANCE";

/** What a store says of one version of an object. It is the store's word: only reading the bytes proves them. */
export interface ObjectInfo {
  readonly key: string;
  readonly versionId: string;
  readonly bytes: number;
  /** Lower-case hex; undefined where the store keeps none, as for an object that another program put without one. */
  readonly sha256: string | undefined;
  /** The lock on this version; null where there is none, or where the store cannot lock. */
  readonly retention: { readonly mode: RetentionMode; readonly until: Date } | null;
  /** Whether `get` can read it now, or it is in a cold tier: "archived" needs a restore request, "restoring" has one. */
  readonly access: "available" | "archived" | "restoring";
  /** In the words of S3: "STANDARD", "GLACIER", "DEEP_ARCHIVE" … */
  readonly storageClass: string;
}

/**
 * Write-once storage. This is the contract that a directory and S3 with Object Lock both keep, and callers may rely on
 * nothing else:
 *
 * - **Names are immutable.** A key gets its bytes once. There is no overwrite, no append and no delete.
 * - **Durable when `put` resolves**: the object survives the loss of power from then on. When `put` rejects, or the
 *   process dies before it settles, the object is there whole or not at all, and the same `put` again settles which.
 * - **Whole or absent.** No reader ever sees a part of an object.
 * - **Read your writes**: `get` and `list` see what was put before they were called, from any process.
 *
 * What it does not promise: an order between two puts in flight, that a `list` shows what is put while it runs, or that
 * nobody with the administrator's rights changes bytes. Readers compare hashes.
 */
export interface ObjectStore {
  /**
   * Creates the object. If the key is there with equal bytes, that is success and answers what is there: a caller that
   * does not know how its last attempt ended tries again. The caller keeps `body` unchanged until this settles.
   *
   * @throws ObjectConflictError  the key is there with other bytes. Two writers disagree about history: fatal.
   * @throws ObjectCorruptError   the store can tell that objects are gone which it was to keep
   * @throws ObjectKeyError       the key is malformed, or `body` is larger than `MAX_OBJECT_BYTES`
   */
  put(key: string, body: Uint8Array): Promise<StoredObject>;

  /**
   * The bytes of an object, or undefined when there is none. With a `versionId` that `put` answered: the bytes of that
   * version, whatever has happened to the key since.
   *
   * @throws ObjectCorruptError   the store itself can tell that the bytes are no longer those that were put
   * @throws ObjectArchivedError  the object is in a cold tier and has to be restored first
   * @throws ObjectKeyError       the key is malformed
   */
  get(key: string, versionId?: string): Promise<Uint8Array | undefined>;

  /**
   * What the store says of the object that `get` would read; undefined when there is none.
   *
   * @throws ObjectCorruptError  as `get` does
   * @throws ObjectKeyError      the key is malformed
   */
  stat(key: string, versionId?: string): Promise<ObjectInfo | undefined>;

  /**
   * Every key that starts with `prefix` (`""` for all), in ascending order of its bytes. It holds a page or a folder of
   * names in memory, never all.
   *
   * @throws ObjectKeyError  no key can start with `prefix`
   */
  list(prefix: string): AsyncIterable<string>;
}

/** The key has other bytes already. Never retried, never resolved by a program. */
export class ObjectConflictError extends Error {
  override readonly name = "ObjectConflictError";
  readonly key: string;

  constructor(key: string) {
    super(`object ${key} is there with other bytes`);
    this.key = key;
  }
}

/** What is stored is not what was put. */
export class ObjectCorruptError extends Error {
  override readonly name = "ObjectCorruptError";
  readonly key: string;

  constructor(key: string, what: string) {
    super(`object ${key} ${what}`);
    this.key = key;
  }
}

/** The object is in a cold tier, from which it cannot be read at once. Not lost: an operator has it restored. */
export class ObjectArchivedError extends Error {
  override readonly name = "ObjectArchivedError";
  readonly key: string;

  constructor(key: string) {
    super(`object ${key} is archived; it can be read some hours after a restore request`);
    this.key = key;
  }
}

/** The place where the objects are to go does not lock them: nothing put there would be evidence. */
export class ObjectLockError extends Error {
  override readonly name = "ObjectLockError";
}

/**
 * Why a store could not do what it was asked: "credentials", which it does not know or which have expired; "access",
 * which it denies; "throttled"; "unreachable"; "failed", its own error; "refused", a request it does not take.
 */
export type StoreFailure = "credentials" | "access" | "throttled" | "unreachable" | "failed" | "refused";

/**
 * The store could not be asked, or said no for a reason that has nothing to do with what it holds. It may pass with
 * time or with a repair, so what was asked is worth asking again. The message is for operators and holds no secret.
 */
export class ObjectStoreError extends Error {
  override readonly name = "ObjectStoreError";
  readonly failure: StoreFailure;
  /** The store's own word for it, such as S3's "ExpiredToken". */
  readonly code: string;

  constructor(failure: StoreFailure, code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.failure = failure;
    this.code = code;
  }
}

/** A key, or an object, outside of what every store takes: a mistake of the caller. */
export class ObjectKeyError extends RangeError {
  override readonly name = "ObjectKeyError";
}

/** A segment of 1,000 votes is about 0.3 MB. The limit keeps a damaged store from filling a reader's memory. */
export const MAX_OBJECT_BYTES = 32 * 1024 * 1024;

// S3 allows keys of 1,024 bytes; the rest is for the prefix a deployment may put before them. A file name is at most 255.
const MAX_KEY_LENGTH = 512;
const MAX_NAME_LENGTH = 255;

/**
 * Checks a key: names of `a-z 0-9 _ - .` separated by `/`, none empty, none starting with a dot. Lower case only, so
 * that a file system that folds case keeps two keys apart; no leading dot, so that no key leaves its folder (`..`) or
 * meets a store's own files. Callers keep one more rule, which a folder needs and S3 does not check: no key is a folder
 * of another (`a` and `a/b`).
 */
export function checkKey(key: string): void {
  if (!isKey(key)) {
    throw new ObjectKeyError(
      `malformed object key ${JSON.stringify(key.slice(0, 100))}: names of a-z, 0-9, "_", "-" and "." (not first) ` +
        `separated by "/", at most ${MAX_KEY_LENGTH} characters`,
    );
  }
}

export function isKey(key: string): boolean {
  return key.length <= MAX_KEY_LENGTH && key.split("/").every(isName);
}

/** Whether `name` can stand between two slashes of a key. */
export function isName(name: string): boolean {
  return name.length <= MAX_NAME_LENGTH && /^[a-z0-9_-][a-z0-9_.-]*$/.test(name);
}

/** Checks that some key can start with `prefix`: a key whose last name may be empty. */
export function checkPrefix(prefix: string): void {
  if (prefix !== "" && !isKey(prefix.endsWith("/") ? `${prefix}x` : prefix)) {
    throw new ObjectKeyError(`no object key starts with ${JSON.stringify(prefix.slice(0, 100))}`);
  }
}

export function checkSize(key: string, bytes: number): void {
  if (bytes > MAX_OBJECT_BYTES) {
    throw new ObjectKeyError(`object ${key} has ${bytes} bytes; the limit is ${MAX_OBJECT_BYTES}`);
  }
}

import type { LifecycleRule, PublicAccessBlockConfiguration } from "@aws-sdk/client-s3";
import { BucketAdmin } from "./bucket-admin.ts";
import { evidenceStatements, hasStatements, policyWith, statementsOf } from "./bucket-policy.ts";
import { ObjectStoreError, type StoreFailure } from "./object-store.ts";
import { SCRATCH_FOLDER } from "./probe/s3-probe.ts";
import { S3Calls } from "./s3-calls.ts";
import { createS3Client, type S3ClientOptions } from "./s3-client.ts";
import { type Retention, resolveRetention } from "./s3-lock.ts";

export interface BucketSetupOptions extends S3ClientOptions {
  readonly bucket: string;
  /** Of the evidence in it. */
  readonly prefix?: string | undefined;
  /** For what is put without a date. Default: COMPLIANCE for ten years. */
  readonly retention?: Partial<Retention> | undefined;
  /** Looks, and changes nothing. */
  readonly dryRun?: boolean | undefined;
}

/**
 * - `done`: it was not so, and now it is
 * - `already so`
 * - `to do`: it is not so, and this was a dry run
 * - `not supported`: the server has no such thing
 * - `lacking`: it is not so, and could not be made so
 */
export type SetupState = "done" | "already so" | "to do" | "not supported" | "lacking";

export interface SetupItem {
  readonly item: string;
  readonly state: SetupState;
  /** Without it, what is in the bucket is not evidence. */
  readonly essential: boolean;
  /** What it is about, or the server's answer. */
  readonly detail: string;
}

export interface BucketSetup {
  readonly bucket: string;
  /** None is lacking, and none that is essential is not supported. */
  readonly ok: boolean;
  readonly items: readonly SetupItem[];
}

/**
 * Makes a bucket fit for evidence, and says what it lacks. It can be done again at any time: what is so already stays, what
 * others have set beside it stays, and what somebody made stricter is not loosened.
 *
 * @throws ObjectStoreError  S3 cannot be asked, or does not take the credentials
 */
export async function setUpBucket(options: BucketSetupOptions): Promise<BucketSetup> {
  const { bucket, region, dryRun = false, prefix: given = "" } = options;
  const prefix = given === "" || given.endsWith("/") ? given : `${given}/`;
  const retention = resolveRetention(options.retention);
  const client = createS3Client(options);
  try {
    const admin = new BucketAdmin({ calls: new S3Calls({ client }), bucket, region, prefix });
    const items = await new Setup({ admin, bucket, prefix, retention, dryRun }).run();
    return { bucket, ok: !items.some(isMissing), items };
  } finally {
    client.destroy();
  }
}

function isMissing({ state, essential }: SetupItem): boolean {
  return state === "lacking" || (essential && state === "not supported");
}

/** One setting of a bucket. */
interface Setting<T> {
  readonly item: string;
  readonly essential?: boolean;
  /** What it is to be, in words. */
  readonly wanted: string;
  /** How it is; undefined where nobody has set it. */
  readonly read: () => Promise<T | undefined>;
  readonly isSo: (found: T | undefined) => boolean;
  readonly change: (found: T | undefined) => Promise<void>;
  /** Where it cannot be made so. */
  readonly advice?: string | undefined;
  /** S3's words with which servers refuse what they do not have, beside "not implemented". */
  readonly unsupported?: readonly string[];
}

/** The detail is what was wanted unless there is more to say. */
type Outcome = readonly [state: SetupState, detail?: string | undefined];

interface SetupOptions {
  readonly admin: BucketAdmin;
  readonly bucket: string;
  readonly prefix: string;
  readonly retention: Retention;
  readonly dryRun: boolean;
}

class Setup {
  readonly #options: SetupOptions;
  readonly #items: SetupItem[] = [];
  /** Whether objects could be stored before what may shut everybody out. */
  #writable = true;

  constructor(options: SetupOptions) {
    this.#options = options;
  }

  /** One after another: each stands on those before. */
  async run(): Promise<readonly SetupItem[]> {
    const { bucket, dryRun } = this.#options;
    await this.#bucket();
    if (this.#is("bucket", "lacking")) return this.#items;
    await this.#locks();
    await this.#lifecycle();
    if (!dryRun) this.#writable = (await this.#options.admin.tryToWrite()) === undefined;
    await this.#policy(bucket); // Before public access is blocked: some servers take no policy after it.
    await this.#publicAccess();
    if (!dryRun) await this.#proof();
    return this.#items;
  }

  #bucket(): Promise<void> {
    const { admin, bucket } = this.#options;
    return this.#ensure({
      item: "bucket",
      essential: true,
      wanted: `${bucket} exists`,
      read: () => admin.exists(),
      isSo: (exists) => exists === true,
      change: () => admin.create(),
    });
  }

  async #locks(): Promise<void> {
    const { admin, retention } = this.#options;
    await this.#ensure({
      item: "versioning",
      essential: true,
      wanted: "no write replaces another",
      read: () => admin.versioning(),
      isSo: (enabled) => enabled === true,
      change: () => admin.enableVersioning(),
    });
    await this.#ensure({
      item: "Object Lock",
      essential: true,
      wanted: "what is stored from now on can be locked",
      read: () => admin.hasLock(),
      isSo: (locks) => locks === true,
      change: () => admin.enableLock(),
      advice: "Object Lock may be impossible to add to a bucket that is there: name a new one",
    });
    await this.#ensure({
      item: "default retention",
      wanted: `${retention.mode}, ${retention.days} days, for what is stored without a date of its own`,
      read: () => admin.defaultRetention(),
      isSo: (found) => found !== undefined && isAsStrict(found, retention),
      change: (found) => admin.setDefaultRetention(stricterOf(found, retention)),
      advice: this.#is("Object Lock", "lacking") ? "it needs Object Lock" : undefined,
    });
  }

  /** Two items, as there are servers that expire and have no cold tiers. */
  async #lifecycle(): Promise<void> {
    const { admin, prefix } = this.#options;
    await this.#ensure({
      item: "lifecycle",
      wanted: "to Glacier after 90 days, to Deep Archive after a year",
      read: () => admin.lifecycle(),
      isSo: (rules = []) => rules.some(archives),
      change: (rules = []) => admin.setLifecycle([...rules.filter(({ ID }) => ID !== ARCHIVE.ID), ARCHIVE]),
      unsupported: ["InvalidStorageClass"],
    });
    const scratch = `${prefix}${SCRATCH_FOLDER}/`;
    const wanted = expiryOf(scratch);
    await this.#ensure({
      item: "scratch objects",
      wanted: `what probes leave in ${scratch} goes after a day`,
      read: () => admin.lifecycle(),
      isSo: (rules = []) => expires(rules, scratch),
      change: (rules = []) =>
        admin.setLifecycle([...rules.filter(({ ID }) => !wanted.some((ours) => ours.ID === ID)), ...wanted]),
    });
  }

  #policy(bucket: string): Promise<void> {
    const { admin } = this.#options;
    const statements = evidenceStatements(bucket);
    return this.#ensure({
      item: "policy",
      wanted: "nobody deletes, bypasses retention, changes legal holds or speaks plain HTTP",
      read: () => admin.policy(),
      isSo: (policy) => hasStatements(statementsOf(policy), statements),
      change: (policy) =>
        this.#unlessShutOut(
          () => admin.setPolicy(policyWith(statementsOf(policy), statements)),
          () => admin.setPolicy(policy),
        ),
    });
  }

  /**
   * Ceph calls a bucket public whose policy speaks of everybody, also one that denies, and then lets nobody in, not even its
   * owner.
   */
  #publicAccess(): Promise<void> {
    const { admin } = this.#options;
    return this.#ensure({
      item: "public access",
      wanted: "blocked, by lists and by policies",
      read: () => admin.publicAccessBlock(),
      isSo: (found = NOT_BLOCKED) => BLOCKS.every((block) => found[block] === true),
      change: (found = NOT_BLOCKED) =>
        this.#unlessShutOut(
          () => admin.setPublicAccessBlock(BLOCKED),
          () => admin.setPublicAccessBlock(found),
        ),
      unsupported: ["MalformedXML"], // MinIO takes it for the creation of a bucket.
    });
  }

  /** That all of this together lets evidence be stored, and whom the policy binds. */
  async #proof(): Promise<void> {
    const { admin } = this.#options;
    const failure = await admin.tryToWrite();
    this.#items.push({
      item: "a locked object",
      state: failure === undefined ? "done" : "lacking",
      essential: true,
      detail: failure === undefined ? "can be stored" : failure.message,
    });
    const policy = this.#items.findIndex(({ item }) => item === "policy");
    const item = this.#items[policy];
    if (failure || !item || isMissing(item) || item.state === "not supported") return;
    if (!(await admin.mayDelete())) return;
    const detail = `${item.detail}. It does not bind the credentials used here: of them, only Object Lock protects`;
    this.#items[policy] = { ...item, detail };
  }

  async #ensure<T>(setting: Setting<T>): Promise<void> {
    const { item, essential = false, wanted } = setting;
    const [state, detail] = await this.#outcome(setting).catch((error: unknown) => refusal(setting, error));
    this.#items.push({ item, state, essential, detail: detail ?? wanted });
  }

  async #outcome<T>({ read, isSo, change, advice }: Setting<T>): Promise<Outcome> {
    const { dryRun } = this.#options;
    // Of a bucket that a dry run has not created, nothing can be asked.
    if (dryRun && this.#is("bucket", "to do")) return ["to do"];
    const found = await read();
    if (isSo(found)) return ["already so"];
    if (dryRun) return ["to do", advice];
    await change(found);
    if (isSo(await read())) return ["done"];
    return ["lacking", "the server took it, and shows that it is not so"];
  }

  /**
   * A change of who may do what: taken back where it keeps even us from storing objects. That they cannot be stored for
   * another reason, such as a server that is slow now, speaks not against it.
   */
  async #unlessShutOut(change: () => Promise<void>, undo: () => Promise<void>): Promise<void> {
    await change();
    if (!this.#writable || (await this.#options.admin.tryToWrite())?.failure !== "access") return;
    await undo();
    throw new ObjectStoreError("refused", SHUT_OUT, "with it this server lets nobody store: taken back");
  }

  #is(item: string, state: SetupState): boolean {
    return this.#items.some((done) => done.item === item && done.state === state);
  }
}

/** Ours, beside S3's own. */
const SHUT_OUT = "ShutOut";

/** Failures that say nothing of the bucket. */
const ABOUT_THE_CALL: readonly StoreFailure[] = ["credentials", "throttled", "unreachable"];

function refusal<T>({ unsupported = [], advice }: Setting<T>, error: unknown): Outcome {
  if (!(error instanceof ObjectStoreError) || ABOUT_THE_CALL.includes(error.failure)) throw error;
  const { code, message } = error;
  const detail = advice === undefined ? message : `${advice}. ${message}`;
  const none = ["NotImplemented", "MethodNotAllowed", SHUT_OUT, ...unsupported].includes(code);
  return [none ? "not supported" : "lacking", detail];
}

function isAsStrict(found: Retention, wanted: Retention): boolean {
  return found.days >= wanted.days && (found.mode === "COMPLIANCE" || wanted.mode === "GOVERNANCE");
}

function stricterOf(found: Retention | undefined, wanted: Retention): Retention {
  if (found === undefined) return wanted;
  const mode = found.mode === "COMPLIANCE" ? found.mode : wanted.mode;
  return { mode, days: Math.max(found.days, wanted.days) };
}

const ARCHIVE = {
  ID: "psephos-archive",
  Status: "Enabled",
  Filter: { Prefix: "" },
  Transitions: [
    { Days: 90, StorageClass: "GLACIER" },
    { Days: 365, StorageClass: "DEEP_ARCHIVE" },
  ],
} satisfies LifecycleRule;

function archives({ Status, Filter = {}, Transitions = [] }: LifecycleRule): boolean {
  const everything = Object.values(Filter).every((value) => value === "" || value === undefined);
  const moves = ARCHIVE.Transitions.every((wanted) =>
    Transitions.some(
      ({ Days, StorageClass }) => Days === wanted.Days && StorageClass === wanted.StorageClass,
    ),
  );
  return Status === "Enabled" && everything && moves;
}

/**
 * Of whatever is in a folder: a day each for a version to be hidden and to go, and then the marker that hid it. S3 takes
 * no rule with both an age and markers.
 */
function expiryOf(folder: string): LifecycleRule[] {
  // Evidence in another folder of the bucket has rules of its own.
  const rule = (name: string) =>
    ({
      ID: `psephos-${name} ${folder}`.slice(0, 255),
      Status: "Enabled",
      Filter: { Prefix: folder },
    }) as const;
  return [
    { ...rule("scratch"), Expiration: { Days: 1 }, NoncurrentVersionExpiration: { NoncurrentDays: 1 } },
    { ...rule("markers"), Expiration: { ExpiredObjectDeleteMarker: true } },
  ];
}

function expires(rules: readonly LifecycleRule[], folder: string): boolean {
  const ours = rules.filter(({ Status, Filter }) => Status === "Enabled" && Filter?.Prefix === folder);
  return (
    ours.some(({ Expiration }) => Expiration?.Days === 1) &&
    ours.some(({ NoncurrentVersionExpiration: old }) => old?.NoncurrentDays === 1) &&
    ours.some(({ Expiration }) => Expiration?.ExpiredObjectDeleteMarker === true)
  );
}

const BLOCKS = ["BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"] as const;
const BLOCKED: PublicAccessBlockConfiguration = all(true);
const NOT_BLOCKED: PublicAccessBlockConfiguration = all(false);

function all(value: boolean): PublicAccessBlockConfiguration {
  return Object.fromEntries(BLOCKS.map((block) => [block, value]));
}

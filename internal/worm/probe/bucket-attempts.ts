// Attempts on the bucket's own settings. What they change they put back, and none is ever weaker than it was meanwhile.
// Nothing here deletes a setting or a bucket: there are servers that take a DELETE of a setting they do not know for the
// deletion of the bucket.
import {
  type DefaultRetention,
  GetObjectLockConfigurationCommand,
  PutBucketVersioningCommand,
  PutObjectLockConfigurationCommand,
} from "@aws-sdk/client-s3";
import { ObjectStoreError } from "../object-store.ts";
import type { Attempt } from "./attempt.ts";
import { type Bench, isVersion } from "./bench.ts";
import { type Answer, judgePresence, judgeSetting } from "./judge.ts";

const MAX_DAYS = 36_500;
const DAYS_OF_A_YEAR = 366;

/** How often, and how far apart, versioning is enabled again: what is suspended must not stay so. */
const ENABLE_ATTEMPTS = 5;
const ENABLE_PAUSE_MS = 1_000;

/**
 * Seen by what a PUT makes: who may only write cannot ask for the setting. Not tried without Object Lock, which alone
 * forbids it: it would only be done.
 */
export const suspendVersioning: Attempt = async ({ writer, attacker, strongest, name }) => {
  if (!(await writer.hasLock())) return { verdict: "broken", observed: "no Object Lock" };
  if (!isVersion(await writer.place(`${name}-before`))) {
    return { verdict: "broken", observed: "the bucket keeps no versions" };
  }
  const answer = await setVersioning(attacker, "Suspended");
  const [after] = await Promise.allSettled([writer.place(`${name}-after`)]);
  const suspended = after.status === "fulfilled" && !isVersion(after.value);
  if (suspended || answer.kind !== "refused") {
    // Whatever became of the look at it.
    const back = await enableVersioning(strongest);
    const maybe = after.status === "rejected" && answer.kind === "done";
    if (back.kind !== "done" && (suspended || maybe)) {
      return { verdict: "broken", observed: "it was suspended, and cannot be put back: enable it again" };
    }
  }
  if (after.status === "rejected") throw after.reason;
  return judgeSetting(suspended, answer);
};

export const defaultRetentionShown: Attempt = async ({ writer, name }) => {
  const { lock } = await writer.look(await writer.placeUnlocked(name));
  if (lock === null) return { verdict: "broken", observed: "the version shows no lock" };
  return { verdict: "held", observed: `the version shows ${lock.mode} until ${lock.until.toISOString()}` };
};

export const defaultRetentionEnforced: Attempt = async ({ writer, attacker, name }) => {
  const placed = await writer.placeUnlocked(name);
  const answer = await attacker.delete(placed, { BypassGovernanceRetention: true });
  return judgePresence(await writer.look(placed), answer);
};

/** Back to what it was is a day shorter than what it is by then: so it is weakened and yet never weak. */
export const weakenDefault: Attempt = async ({ writer, attacker }) => {
  const rule = await defaultOf(writer);
  if (rule === undefined) return { verdict: "not-supported", observed: "the bucket has no default" };
  const longer = daysOf(rule) + 1;
  if (longer > MAX_DAYS) return { verdict: "not-supported", observed: "the default is the longest there is" };
  const lengthened = await setDefault(attacker, { Mode: rule.Mode, Days: longer });
  const between = await defaultOf(writer);
  if (between === undefined || daysOf(between) !== longer) return judgeSetting(false, lengthened);
  const answer = await setDefault(attacker, rule);
  const after = await defaultOf(writer);
  return judgeSetting(after === undefined || daysOf(after) < longer, answer);
};

async function enableVersioning(bench: Bench): Promise<Answer> {
  for (let attempt = 1; ; attempt++) {
    const answer = await setVersioning(bench, "Enabled");
    if (answer.kind !== "unknown" || attempt === ENABLE_ATTEMPTS) return answer;
    await bench.clock.sleep(ENABLE_PAUSE_MS);
  }
}

function setVersioning(bench: Bench, Status: "Enabled" | "Suspended") {
  const input = { Bucket: bench.bucket, VersioningConfiguration: { Status } };
  return bench.try((client) => client.send(new PutBucketVersioningCommand(input)));
}

async function defaultOf(bench: Bench): Promise<DefaultRetention | undefined> {
  const command = new GetObjectLockConfigurationCommand({ Bucket: bench.bucket });
  try {
    const { ObjectLockConfiguration: lock } = await bench.ask("show the bucket's default", (client) =>
      client.send(command),
    );
    return lock?.Rule?.DefaultRetention;
  } catch (error) {
    if (error instanceof ObjectStoreError && error.failure === "refused") return undefined;
    throw error;
  }
}

function setDefault(bench: Bench, DefaultRetention: DefaultRetention) {
  const ObjectLockConfiguration = { ObjectLockEnabled: "Enabled", Rule: { DefaultRetention } } as const;
  const input = { Bucket: bench.bucket, ObjectLockConfiguration };
  return bench.try((client) => client.send(new PutObjectLockConfigurationCommand(input)));
}

/** At least: a year here is as long as any. */
function daysOf({ Days = 0, Years = 0 }: DefaultRetention): number {
  return Days + Years * DAYS_OF_A_YEAR;
}

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
import { judgePresence, judgeSetting } from "./judge.ts";

const MAX_DAYS = 36_500;
const DAYS_OF_A_YEAR = 366;

/** Seen by what a PUT makes: who may only write cannot ask for the setting. */
export const suspendVersioning: Attempt = async ({ writer, attacker, strongest, name }) => {
  if (!isVersion(await writer.place(`${name}-before`))) {
    return { verdict: "broken", observed: "the bucket keeps no versions" };
  }
  const answer = await setVersioning(attacker, "Suspended");
  const suspended = !isVersion(await writer.place(`${name}-after`));
  if (!suspended) return judgeSetting(false, answer);
  const back = await setVersioning(strongest, "Enabled");
  if (back.kind === "done") return judgeSetting(true, answer);
  return { verdict: "broken", observed: "it was suspended, and cannot be put back: enable it again" };
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

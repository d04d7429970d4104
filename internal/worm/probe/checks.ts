import type { RetentionMode } from "../object-store.ts";

/**
 * What follows when a check does not hold. critical: evidence can be destroyed. serious: a defence behind the lock is
 * missing, or somebody may do what only an administrator should. note: good to know.
 */
export type Severity = "critical" | "serious" | "note";

/** One thing that the probe tries, as an attacker would. */
export interface Check {
  readonly severity: Severity;
  /** Where evidence is kept in GOVERNANCE mode, on which more depends then. */
  readonly governed?: Severity;
  /** Whether it is tried with an administrator's credentials as well, and what it means when it does not hold with them. */
  readonly asAdmin?: Severity;
  /**
   * It leaves an object for as long as the bucket's default says, or under a hold that some servers lift for nobody, or
   * touches the bucket's settings: not for every hour.
   */
  readonly lasting?: true;
  readonly tried: string;
  readonly expected: string;
}

const STILL_THERE = "the version is there with its bytes and its lock";

/** In the order they are tried. */
export const CHECKS = {
  "lock-stored": {
    severity: "critical",
    tried: "store an object with a lock",
    expected: "the version shows that lock",
  },
  overwrite: {
    severity: "critical",
    tried: "store other bytes under the name of a locked object",
    expected: STILL_THERE,
  },
  "copy-over": {
    severity: "critical",
    tried: "copy another object over a locked one",
    expected: STILL_THERE,
  },
  "multipart-over": {
    severity: "critical",
    tried: "complete an upload in parts under the name of a locked object",
    expected: STILL_THERE,
  },
  "delete-version": {
    severity: "critical",
    asAdmin: "critical",
    tried: "delete a locked version",
    expected: STILL_THERE,
  },
  "delete-version-bypass": {
    severity: "critical",
    asAdmin: "critical",
    tried: "delete a locked version, bypassing governance",
    expected: STILL_THERE,
  },
  "delete-in-bulk": {
    severity: "critical",
    asAdmin: "critical",
    tried: "delete two locked versions in one request, bypassing governance",
    expected: "both versions are there with their bytes and locks",
  },
  "delete-marker": {
    severity: "critical",
    asAdmin: "critical",
    tried: "delete a locked object without naming its version, and read the version",
    expected: STILL_THERE,
  },
  "shorten-retention": {
    severity: "critical",
    asAdmin: "critical",
    tried: "bring the end of a lock forward, bypassing governance and not",
    expected: STILL_THERE,
  },
  "downgrade-to-governance": {
    severity: "critical",
    asAdmin: "critical",
    tried: "turn COMPLIANCE into GOVERNANCE, bypassing governance and not",
    expected: STILL_THERE,
  },
  "remove-retention": {
    severity: "critical",
    asAdmin: "critical",
    tried: "take the lock off a version, bypassing governance and not",
    expected: STILL_THERE,
  },
  "suspend-versioning": {
    severity: "critical",
    asAdmin: "critical",
    tried: "suspend the bucket's versioning",
    expected: "the bucket keeps versions",
  },
  "governance-delete": {
    severity: "serious",
    governed: "critical",
    asAdmin: "serious",
    tried: "delete a version that GOVERNANCE locks, without a bypass",
    expected: STILL_THERE,
  },
  "governance-bypass": {
    severity: "note",
    governed: "serious",
    asAdmin: "note",
    tried: "delete a version that GOVERNANCE locks, bypassing governance",
    expected: "these credentials may not",
  },
  "legal-hold-removal": {
    severity: "serious",
    asAdmin: "note",
    lasting: true,
    tried: "take a legal hold off a version",
    expected: "these credentials may not",
  },
  "legal-hold-after-expiry": {
    severity: "serious",
    asAdmin: "serious",
    lasting: true,
    tried: "delete a version under a legal hold when its retention is over",
    expected: "the version is there",
  },
  "put-without-checksum": {
    severity: "note",
    tried: "store a locked object without a checksum",
    expected: "refused",
  },
  "put-with-wrong-checksum": {
    severity: "serious",
    tried: "store an object with the checksum of other bytes",
    expected: "nothing is stored",
  },
  "conditional-put": {
    severity: "serious",
    tried: "store other bytes under a name that is taken, on the condition that it is free",
    expected: "one version, the first",
  },
  "conditional-put-concurrent": {
    severity: "serious",
    tried: "the same with four writers at once",
    expected: "one version of each name",
  },
  "conditional-put-under-marker": {
    severity: "note",
    tried: "the same where a delete marker hides the first version",
    expected: "one version, the first",
  },
  "default-retention-shown": {
    severity: "note",
    lasting: true,
    tried: "store an object without a lock, and ask for its lock",
    expected: "the bucket's default",
  },
  "default-retention-enforced": {
    severity: "serious",
    asAdmin: "serious",
    lasting: true,
    tried: "store an object without a lock, and delete the version",
    expected: "the version is there",
  },
  "weaken-default": {
    severity: "serious",
    asAdmin: "note",
    lasting: true,
    tried: "make the bucket's default a day longer, and then as short as it was",
    expected: "these credentials may not",
  },
} as const satisfies Record<string, Check>;

export type CheckName = keyof typeof CHECKS;

// The keys of a literal are its keys, which Object.keys does not tell.
export const CHECK_NAMES = Object.keys(CHECKS) as [CheckName, ...CheckName[]];

/** With whose credentials: those that evidence is written with, or an administrator's. */
export type Actor = "writer" | "admin";

export function checkOf(name: CheckName): Check {
  return CHECKS[name];
}

export function severityOf(name: CheckName, actor: Actor, mode: RetentionMode): Severity {
  const { severity, governed, asAdmin } = checkOf(name);
  if (actor === "admin" && asAdmin !== undefined) return asAdmin;
  return mode === "GOVERNANCE" && governed !== undefined ? governed : severity;
}

/** What must hold where a deployment does not say it: everything that is critical to the writer. */
export function criticalChecks(mode: RetentionMode): CheckName[] {
  return CHECK_NAMES.filter((name) => severityOf(name, "writer", mode) === "critical");
}

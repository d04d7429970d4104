import type { Attempt } from "./attempt.ts";
import {
  defaultRetentionEnforced,
  defaultRetentionShown,
  suspendVersioning,
  weakenDefault,
} from "./bucket-attempts.ts";
import type { CheckName } from "./checks.ts";
import { legalHoldAfterExpiry, legalHoldRemoval } from "./hold-attempts.ts";
import {
  conditionalPut,
  conditionalPutConcurrent,
  conditionalPutUnderMarker,
  putWithoutChecksum,
  putWithWrongChecksum,
} from "./put-attempts.ts";
import {
  copyOver,
  deleteInBulk,
  deleteMarker,
  deleteVersion,
  deleteVersionBypass,
  downgradeToGovernance,
  governanceBypass,
  governanceDelete,
  lockStored,
  multipartOver,
  overwrite,
  removeRetention,
  shortenRetention,
} from "./version-attempts.ts";

/** How each check is made. */
export const ATTEMPTS: Readonly<Record<CheckName, Attempt>> = {
  "lock-stored": lockStored,
  overwrite,
  "copy-over": copyOver,
  "multipart-over": multipartOver,
  "delete-version": deleteVersion,
  "delete-version-bypass": deleteVersionBypass,
  "delete-in-bulk": deleteInBulk,
  "delete-marker": deleteMarker,
  "shorten-retention": shortenRetention,
  "downgrade-to-governance": downgradeToGovernance,
  "remove-retention": removeRetention,
  "suspend-versioning": suspendVersioning,
  "governance-delete": governanceDelete,
  "governance-bypass": governanceBypass,
  "legal-hold-removal": legalHoldRemoval,
  "legal-hold-after-expiry": legalHoldAfterExpiry,
  "put-without-checksum": putWithoutChecksum,
  "put-with-wrong-checksum": putWithWrongChecksum,
  "conditional-put": conditionalPut,
  "conditional-put-concurrent": conditionalPutConcurrent,
  "conditional-put-under-marker": conditionalPutUnderMarker,
  "default-retention-shown": defaultRetentionShown,
  "default-retention-enforced": defaultRetentionEnforced,
  "weaken-default": weakenDefault,
};

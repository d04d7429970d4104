import type { LogKeys } from "../tlog/log-keys.ts";
import type { VerificationReport } from "./report.ts";

/** The key that somebody knows must be the one that the manifest names, or one that a change of key leads to: answers whether. */
export function demandKey(
  known: string | undefined,
  keys: LogKeys,
  object: string,
  report: VerificationReport,
): boolean {
  if (known === undefined || keys.all.map(String).includes(known)) return true;
  report.problem({ object }, "names another log key than the one given, and no change of key leads to that");
  return false;
}

/**
 * What a monitor warns of.
 * - `fork`: the log's key signed two histories. `rollback`: an older checkpoint is shown than was seen before.
 * - `checkpoint`: the newest one is not there, not signed by the log, or is no checkpoint.
 * - `tile`: a tile or an entry bundle is missing or does not fit the signed root. `chain`: the entries are not a vote log's.
 * - `key`: a change of the log's key is gone, is another than was seen, or is none.
 * - `manifest`: it is gone, or another than the log began with.
 * - `unwitnessed`: fewer witnesses cosigned than the policy asks for.
 * - `stall`: the log did not grow for as long as one is ready to wait, and is not closed.
 * - `unreachable`: the log, or somebody to compare with, did not answer.
 */
export type AlertKind =
  | "fork"
  | "rollback"
  | "checkpoint"
  | "tile"
  | "chain"
  | "key"
  | "manifest"
  | "unwitnessed"
  | "stall"
  | "unreachable";

export const ALERT_KINDS: readonly AlertKind[] = [
  "fork",
  "rollback",
  "checkpoint",
  "tile",
  "chain",
  "key",
  "manifest",
  "unwitnessed",
  "stall",
  "unreachable",
];

export interface Alert {
  readonly kind: AlertKind;
  readonly message: string;
  /** The path of the log, or the URL, that it is about. */
  readonly object?: string | undefined;
}

/** Thrown where a look at a log cannot go on. */
export class AlertError extends Error {
  override readonly name = "AlertError";
  readonly alert: Alert;

  constructor(alert: Alert, options?: ErrorOptions) {
    super(alert.message, options);
    this.alert = alert;
  }
}

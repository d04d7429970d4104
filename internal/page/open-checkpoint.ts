import { decodeUtf8 } from "../core/bytes.ts";
import { type OpenedCheckpoint, openCheckpoint } from "../tlog/checkpoint.ts";
import { TlogError } from "../tlog/errors.ts";
import { LogKeys } from "../tlog/log-keys.ts";
import { verifyKeyChange } from "../verify/verify-key-change.ts";
import { type Election, readKeys, sourceOf } from "./election.ts";

export interface OpenedWithKeys extends OpenedCheckpoint {
  /** The log's, one of which signed it. */
  readonly keys: LogKeys;
}

/**
 * Opens a checkpoint with the keys that are known, or, where it is not theirs, with those that the log has by now: it may
 * have changed them. They are not asked for before, since most logs never do. Nothing is lost by that: who can show an
 * old key's checkpoint can withhold the change, too.
 */
export async function openWithKeys(
  election: Election,
  note: string,
  known: LogKeys = new LogKeys(election.key),
): Promise<OpenedWithKeys> {
  const witnesses = election.policy?.witnesses.map(({ verifier }) => verifier) ?? [];
  const open = (keys: LogKeys) => ({ ...openCheckpoint({ note, log: keys, witnesses }), keys });
  try {
    return open(known);
  } catch (error) {
    if (!(error instanceof TlogError)) throw error;
    const source = sourceOf(election);
    const keys = await readKeys(election, source);
    if (keys.changes.length === known.changes.length) throw error;
    const opened = open(keys);
    // Else the files of another history's changes could lead to a key that this log never had.
    for (let number = 1; number <= keys.changes.length; number++) {
      await verifyKeyChange(source, { keys, number, checkpoint: opened.checkpoint });
    }
    return opened;
  }
}

/** A checkpoint as the log has it at a path. */
export async function readCheckpoint(
  election: Election,
  path: string,
): Promise<OpenedWithKeys & { readonly note: string }> {
  const bytes = await sourceOf(election)(path);
  if (!bytes) throw new Error(`${path} is not there`);
  const note = decodeUtf8(bytes);
  return { ...(await openWithKeys(election, note)), note };
}

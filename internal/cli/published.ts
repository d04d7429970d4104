import { type Manifest, parseManifest } from "../ballot/manifest.ts";
import { messageOf } from "../core/errors.ts";
import type { ElectionId } from "../core/ids.ts";
import { readKeyChanges } from "../evidence/key-change.ts";
import { type Checkpoint, openCheckpoint } from "../tlog/checkpoint.ts";
import type { LogKeys } from "../tlog/log-keys.ts";
import { NoteVerifier } from "../tlog/note-verifier.ts";
import type { PublicSource } from "../verify/http-source.ts";
import { verifyKeyChange } from "../verify/verify-key-change.ts";
import { CheckFailedError } from "./exit-code.ts";

/** What the public sees of an election: its newest signed checkpoint, and the manifest that names the key. */
export interface Published {
  readonly manifest: Manifest;
  readonly checkpoint: Checkpoint;
  /** By which its checkpoints are verified. */
  readonly log: LogKeys;
  /** The checkpoint as it was signed. */
  readonly note: Uint8Array;
}

/**
 * Undefined while nothing is published. Throws a CheckFailedError when what is there is not the election's, or not signed
 * with the key that the manifest names, or one that it leads to; `logKey` must be one of those if it is given.
 */
export async function readPublished(
  source: PublicSource,
  electionId: ElectionId,
  logKey?: string,
): Promise<Published | undefined> {
  const bytes = await source("manifest.json");
  if (!bytes) return undefined;
  try {
    const manifest = parseManifest(bytes);
    if (manifest.electionId !== electionId) throw new Error(`it is of the election ${manifest.electionId}`);
    const log = await readLogKeys(manifest, source, logKey);
    // After the changes of key, so that it is no older than they are.
    const note = await source("checkpoint");
    if (!note) return undefined;
    const { checkpoint } = openCheckpoint({ note, log });
    for (let number = 1; number <= log.changes.length; number++) {
      await verifyKeyChange(source, { keys: log, number, checkpoint });
    }
    return { manifest, log, checkpoint, note };
  } catch (error) {
    throw new CheckFailedError(`what is published as ${electionId} is not: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

/** The keys that the manifest's leads to, one of which `logKey` must be. Throws what tells why they do not. */
export async function readLogKeys(
  manifest: Manifest,
  source: PublicSource,
  logKey: string | undefined,
): Promise<LogKeys> {
  const log = await readKeyChanges(NoteVerifier.parse(manifest.logKey), source);
  if (logKey === undefined || log.all.map(String).includes(logKey)) return log;
  throw new CheckFailedError(
    "the manifest names another log key than the one given, and leads to no such key",
  );
}

import { type Manifest, parseManifest } from "../ballot/manifest.ts";
import { messageOf } from "../core/errors.ts";
import type { ElectionId } from "../core/ids.ts";
import { type Checkpoint, openCheckpoint } from "../tlog/checkpoint.ts";
import { NoteVerifier } from "../tlog/note-verifier.ts";
import type { PublicSource } from "../verify/http-source.ts";
import { CheckFailedError } from "./exit-code.ts";

/** What the public sees of an election: its newest signed checkpoint, and the manifest that names the key. */
export interface Published {
  readonly manifest: Manifest;
  readonly checkpoint: Checkpoint;
  /** The checkpoint as it was signed. */
  readonly note: Uint8Array;
}

/**
 * Undefined while nothing is published. Throws a CheckFailedError when what is there is not the election's, or not signed
 * with the key that the manifest names, or with `logKey` if that is given.
 */
export async function readPublished(
  source: PublicSource,
  electionId: ElectionId,
  logKey?: string,
): Promise<Published | undefined> {
  const [note, bytes] = await Promise.all([source("checkpoint"), source("manifest.json")]);
  if (!note || !bytes) return undefined;
  try {
    const manifest = parseManifest(bytes);
    if (manifest.electionId !== electionId) throw new Error(`it is of the election ${manifest.electionId}`);
    const log = NoteVerifier.parse(logKey ?? manifest.logKey);
    return { manifest, checkpoint: openCheckpoint({ note, log }).checkpoint, note };
  } catch (error) {
    throw new CheckFailedError(`what is published as ${electionId} is not: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

import type { ClosingEntry } from "../ballot/entry.ts";
import { type Manifest, parseManifest } from "../ballot/manifest.ts";
import { equalBytes } from "../core/bytes.ts";
import { messageOf } from "../core/errors.ts";
import type { ElectionId } from "../core/ids.ts";
import { type Hash, sha256 } from "../core/sha256.ts";
import { keyChangePath, readKeyChanges } from "../evidence/key-change.ts";
import { BLOCK_ENTRIES } from "../evidence/layout.ts";
import { type Checkpoint, openCheckpoint } from "../tlog/checkpoint.ts";
import type { LogKeys } from "../tlog/log-keys.ts";
import { NoteVerifier } from "../tlog/note-verifier.ts";
import { TileReader } from "../tlog/tile-reader.ts";
import { demandKey } from "./demand-key.ts";
import { type PublicSource, SourceError, SourceGoneError } from "./http-source.ts";
import type { VerificationReport } from "./report.ts";
import { verifyExtends, verifyKeyChange } from "./verify-key-change.ts";
import { type VerifiedTree, verifyTree } from "./verify-tree.ts";

export interface VerifyPublicOptions {
  readonly source: PublicSource;
  /** The election that the log must be of. */
  readonly electionId: ElectionId;
  readonly report: VerificationReport;
  /** A verifier key of the log as the caller knows it; without it, the one the manifest names is believed. */
  readonly logKey?: string | undefined;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** A public log whose signature and manifest were verified. */
export interface VerifiedLog {
  readonly manifest: Manifest;
  readonly manifestHash: Hash;
  readonly checkpoint: Checkpoint;
  /** The closing entry, when the log has one. */
  readonly closing: ClosingEntry | undefined;
}

export interface SignedLog {
  readonly manifest: Manifest;
  readonly manifestHash: Hash;
  readonly log: LogKeys;
  readonly checkpoint: Checkpoint;
}

/**
 * Verifies a public log from nothing but what anybody can read: the signature, the manifest, every tile and every
 * entry up to the signed root, that each shard's votes are numbered without a gap, and every numbered checkpoint.
 *
 * Undefined when there is no signed log to verify at all. Throws a SourceError when not even that can be asked for.
 */
export async function verifyPublicLog(options: VerifyPublicOptions): Promise<VerifiedLog | undefined> {
  const signed = await openPublicLog(options);
  if (!signed) return undefined;
  const tree = await verifyTree({ ...options, ...signed });
  await verifyKeyChanges(options, signed);
  await verifyNumbered(options, signed, tree);
  const { manifest, manifestHash, checkpoint } = signed;
  return { manifest, manifestHash, checkpoint, closing: tree.closing };
}

/** The newest signed checkpoint and the manifest that the log began with. */
export async function openPublicLog(options: VerifyPublicOptions): Promise<SignedLog | undefined> {
  const { source, electionId, report, logKey } = options;
  const manifestBytes = await source("manifest.json");
  if (!manifestBytes) report.problem({ object: "manifest.json" }, "is not there");
  const manifest = manifestBytes && openManifest(manifestBytes, report);
  const log = manifest && (await openKeys(manifest, options));
  // After the changes of key, so that it is no older than they are.
  const note = await source("checkpoint");
  if (!note) report.problem({ object: "checkpoint" }, "is not there");
  if (!manifestBytes || !manifest || !log || !note) return undefined;
  if (manifest.electionId !== electionId) {
    report.problem({ object: "manifest.json" }, `is of the election ${manifest.electionId}`);
    return undefined;
  }
  if (logKey === undefined) {
    report.unchecked(
      "the log's key is the one its own manifest names: give --log-key to demand the one you know",
    );
  }
  if (!demandKey(logKey, log, "manifest.json", report)) return undefined;
  try {
    const { checkpoint } = openCheckpoint({ note, log });
    report.checked.notes++;
    if (checkpoint.size === 0)
      report.problem({ object: "checkpoint" }, "is of a log without its manifest's entry");
    return { manifest, manifestHash: sha256(manifestBytes), log, checkpoint };
  } catch (error) {
    report.problem({ object: "checkpoint" }, messageOf(error));
    return undefined;
  }
}

function openManifest(bytes: Uint8Array, report: VerificationReport): Manifest | undefined {
  try {
    return parseManifest(bytes);
  } catch (error) {
    report.problem({ object: "manifest.json" }, messageOf(error));
    return undefined;
  }
}

/** The keys that the manifest's leads to. */
async function openKeys(
  { logKey }: Manifest,
  { source, report }: VerifyPublicOptions,
): Promise<LogKeys | undefined> {
  try {
    return await readKeyChanges(NoteVerifier.parse(logKey), source);
  } catch (error) {
    if (error instanceof SourceError) throw error;
    report.problem({ object: "key-changes" }, messageOf(error));
    return undefined;
  }
}

/** The checkpoint in the file of a change, which shows that the log has it, is a signed state like any other. */
async function verifyKeyChanges(
  { source, report }: VerifyPublicOptions,
  { checkpoint, log: keys }: SignedLog,
): Promise<void> {
  for (let number = 1; number <= keys.changes.length; number++) {
    try {
      await verifyKeyChange(source, { keys, number, checkpoint });
      report.checked.notes++;
    } catch (error) {
      report.problem({ object: keyChangePath(number) }, messageOf(error));
    }
  }
}

/** Each numbered checkpoint is a signed state that the newest one must extend. */
async function verifyNumbered(
  { source, report }: VerifyPublicOptions,
  { checkpoint, log }: SignedLog,
  { closing, blockRoots }: VerifiedTree,
): Promise<void> {
  const { size, root } = checkpoint;
  const reader = new TileReader({ fetch: source, size, root });
  // Of an unfinished block there is none, and the closing entry finishes the last one.
  const blocks = closing ? Math.ceil(size / BLOCK_ENTRIES) : Math.floor(size / BLOCK_ENTRIES);
  for (let number = 1; number <= blocks; number++) {
    const object = `checkpoints/${String(number).padStart(10, "0")}`;
    if (report.full) return report.unchecked(`numbered checkpoints from ${number} on`);
    try {
      const note = await source(object);
      if (!note) {
        report.problem({ object }, "is not there");
        continue;
      }
      const { checkpoint: numbered } = openCheckpoint({ note, log });
      report.checked.notes++;
      const expected = Math.min(number * BLOCK_ENTRIES, size);
      if (numbered.size !== expected) {
        report.problem({ object }, `is of size ${numbered.size}, not ${expected}`);
        continue;
      }
      const known = blockRoots.get(numbered.size);
      if (!known) await verifyExtends(reader, numbered);
      else if (!equalBytes(known, numbered.root)) report.problem({ object }, "is signed for another tree");
    } catch (error) {
      report.problem({ object }, messageOf(error));
      if (error instanceof SourceGoneError) {
        return report.unchecked(`numbered checkpoints from ${number} on`);
      }
    }
  }
}

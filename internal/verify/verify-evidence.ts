import type { ClosingEntry } from "../ballot/entry.ts";
import { type Manifest, parseManifest } from "../ballot/manifest.ts";
import type { ShardHead } from "../ballot/shard-head.ts";
import type { Tally } from "../ballot/tally.ts";
import type { ElectionId } from "../core/ids.ts";
import { type Hash, sha256 } from "../core/sha256.ts";
import { manifestKey } from "../evidence/layout.ts";
import type { Segment } from "../evidence/segment.ts";
import type { VoteCheckpoint } from "../evidence/vote-checkpoint.ts";
import { LogKeys } from "../tlog/log-keys.ts";
import { NoteVerifier } from "../tlog/note-verifier.ts";
import { ObjectArchivedError, type ObjectStore } from "../worm/object-store.ts";
import { checkSegment, type SegmentChecker, type SegmentContent } from "./check-segment.ts";
import { demandKey } from "./demand-key.ts";
import type { KnownTree } from "./evidence-log.ts";
import { EvidenceReader } from "./evidence-reader.ts";
import { faultOf } from "./fault.ts";
import { survey } from "./list-blocks.ts";
import type { VerificationReport } from "./report.ts";
import { TallyRule, type VoterRule } from "./voter-rule.ts";
import { walkEvidence } from "./walk-evidence.ts";

export interface VerifyEvidenceOptions {
  readonly store: Pick<ObjectStore, "get" | "list">;
  readonly electionId: ElectionId;
  readonly report: VerificationReport;
  /** A verifier key of the log as the caller knows it; without it, the one the manifest names is believed. */
  readonly logKey?: string | undefined;
  /** The verifier key of AuditService's events as the caller knows it; without it, nobody vouches for them. */
  readonly eventKey?: string | undefined;
  /** A signed tree that is known from elsewhere: the evidence must lead to it. */
  readonly known?: KnownTree | undefined;
  /** Count the votes as they stood at this moment, in microseconds since 1970; the newest unless given. */
  readonly asOf?: number | undefined;
  readonly sink?: EvidenceSink | undefined;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/**
 * Takes the log as it is read, in order. It is good for nothing before the report says that all is well. With a sink no
 * tally is kept, which holds a record of every voter: whoever takes the records applies the one-vote rule.
 */
export interface EvidenceSink {
  segment(key: string, segment: Segment): Promise<void>;
  /** Only while all that was read verifies. */
  checkpoint(checkpoint: VoteCheckpoint): Promise<void>;
}

export interface VerifiedEvidence {
  readonly manifest: Manifest;
  readonly treeSize: number;
  readonly closing: ClosingEntry | undefined;
  /** Where the evidence leaves each shard; undefined when its last segments could not be read. */
  readonly shardHeads: readonly ShardHead[] | undefined;
  /** Holds every verified record, ready to be counted; none where a sink took them. */
  readonly tally: Tally;
}

/**
 * Verifies an election from its evidence store alone, as `walkEvidence` says, and applies the one-vote rule.
 *
 * Undefined when there is no manifest to verify anything against. Rejects when the store cannot be asked.
 */
export async function verifyEvidence(options: VerifyEvidenceOptions): Promise<VerifiedEvidence | undefined> {
  const { store, known, report, asOf, sink } = options;
  const reader = new EvidenceReader({ store });
  const opened = await openManifest({ ...options, reader });
  if (!opened) return undefined;
  const { manifest } = opened;
  const eventKey = options.eventKey === undefined ? undefined : NoteVerifier.parse(options.eventKey);
  const checker: SegmentChecker<SegmentContent> = {
    ahead: READ_AHEAD,
    check: (task) => checkSegment(task, { reader, eventKey }),
  };
  const counting = new TallyRule({ manifest, asOf, report });
  const handing: VoterRule<SegmentContent> | undefined = sink && {
    add: async (key, { segment }) => segment && sink.segment(key, segment),
  };
  const evidence = await walkEvidence({
    ...options,
    ...opened,
    known,
    reader,
    checker,
    voters: handing ?? counting,
    onBlock:
      sink &&
      (async (checkpoint) => {
        if (report.ok) await sink.checkpoint(checkpoint);
      }),
    survey: await survey(options),
  });
  demandKey(options.logKey, evidence.keys, manifestKey(manifest.electionId), report);
  return {
    manifest,
    treeSize: evidence.size,
    closing: evidence.closing,
    shardHeads: evidence.heads,
    tally: counting.tally,
  };
}

/** Segments that are on their way from the store while one is checked. */
const READ_AHEAD = 4;

export interface OpenedManifest {
  readonly manifest: Manifest;
  readonly manifestHash: Hash;
  /** The key that the log begins with. */
  readonly log: LogKeys;
}

export interface OpenManifestOptions {
  readonly reader: EvidenceReader;
  readonly electionId: ElectionId;
  readonly report: VerificationReport;
}

/** The manifest that an election's evidence begins with; undefined when there is none that can be used. */
export async function openManifest(options: OpenManifestOptions): Promise<OpenedManifest | undefined> {
  const { reader, electionId, report } = options;
  const object = manifestKey(electionId);
  try {
    const bytes = await reader.read(object, report);
    if (!bytes) throw new Error("is not there");
    const manifest = parseManifest(bytes);
    if (manifest.electionId !== electionId) throw new Error(`is of the election ${manifest.electionId}`);
    return { manifest, manifestHash: sha256(bytes), log: new LogKeys(NoteVerifier.parse(manifest.logKey)) };
  } catch (error) {
    if (!(error instanceof ObjectArchivedError)) report.problem({ object }, faultOf(error));
    return undefined;
  }
}

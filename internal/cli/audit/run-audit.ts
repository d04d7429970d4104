import { join } from "node:path";
import { toHex } from "../../core/bytes.ts";
import type { ElectionId } from "../../core/ids.ts";
import {
  blockSegmentsPrefix,
  checkpointNumberOf,
  manifestKey,
  parseSegmentKey,
} from "../../evidence/layout.ts";
import type { VoteCheckpoint } from "../../evidence/vote-checkpoint.ts";
import { LogKeys } from "../../tlog/log-keys.ts";
import { NoteVerifier } from "../../tlog/note-verifier.ts";
import type { SegmentChecker } from "../../verify/check-segment.ts";
import { demandKey } from "../../verify/demand-key.ts";
import type { EvidenceLog, EvidencePosition } from "../../verify/evidence-log.ts";
import { EvidenceReader, type ExpectedLock } from "../../verify/evidence-reader.ts";
import type { PublicSource } from "../../verify/http-source.ts";
import { type Survey, type SurveyOptions, survey } from "../../verify/list-blocks.ts";
import { VerificationReport } from "../../verify/report.ts";
import { type OpenedManifest, openManifest } from "../../verify/verify-evidence.ts";
import { openPublicLog, type SignedLog } from "../../verify/verify-public.ts";
import { walkEvidence } from "../../verify/walk-evidence.ts";
import type { ObjectStore } from "../../worm/object-store.ts";
import { UsageError } from "../exit-code.ts";
import { positionBefore } from "./audit-start.ts";
import { type AuditState, type AuditSubject, loadState, removeState, saveState } from "./audit-state.ts";
import { partsFor, VoterLedger } from "./voter-ledger.ts";

/** Which blocks an audit is of. */
export interface AuditRange {
  readonly first: number;
  /** Undefined for all that follow. */
  readonly last: number | undefined;
}

export const WHOLE_LOG: AuditRange = { first: 1, last: undefined };

export interface AuditOptions {
  readonly electionId: ElectionId;
  /** The evidence as the auditor names it. */
  readonly place: string;
  readonly store: Pick<ObjectStore, "get" | "list">;
  readonly listVersions?: SurveyOptions["listVersions"];
  /** Undefined where the store cannot lock. */
  readonly lock: ExpectedLock | undefined;
  readonly checker: SegmentChecker<Uint8Array>;
  readonly range: AuditRange;
  /** What is public; undefined to compare with nothing. */
  readonly source: PublicSource | undefined;
  readonly logKey: string | undefined;
  readonly eventKey: string | undefined;
  /** Where it keeps what it needs to go on later, and the voters. */
  readonly stateFolder: string;
  readonly resume: boolean;
  readonly onProgress: (done: number, total: number) => void;
  /** Milliseconds between two times that the state is saved, at least. */
  readonly saveEveryMs?: number;
}

export interface Audit {
  readonly report: VerificationReport;
  /** ISO 8601. */
  readonly startedAt: string;
  /** How often it was taken up again, and after which vote checkpoint the last time. */
  readonly resumed: { readonly times: number; readonly checkpoint: number } | undefined;
  readonly opened: OpenedManifest | undefined;
  readonly signed: SignedLog | undefined;
  readonly survey: Survey | undefined;
  readonly evidence: EvidenceLog | undefined;
}

const SAVE_EVERY_MS = 5_000;

/**
 * Audits an election's evidence: all that `walkEvidence` checks, each object's lock, and the one-vote rule, in memory
 * that hardly grows with the election (audit-memory.test.ts). The state that it leaves on the way is removed when it gets to its end.
 */
export async function runAudit(options: AuditOptions): Promise<Audit> {
  const { electionId, store, lock, range, source, stateFolder } = options;
  const startedAt = new Date().toISOString();
  // What is looked at again each time it goes on, and what is not.
  const [around, report] = [new VerificationReport(), new VerificationReport()];
  const reader = new EvidenceReader({ store, lock });
  const { opened, signed } = await openBoth(options, reader, around);
  if (!opened) {
    return {
      report: around,
      startedAt,
      signed,
      opened,
      resumed: undefined,
      survey: undefined,
      evidence: undefined,
    };
  }
  const found = await survey({ ...options, report: around });
  requireBlocks(range, found);

  const subject = subjectOf(options, opened);
  const state = options.resume ? await loadState(stateFolder, subject) : undefined;
  if (state) report.add(state.findings);
  const resumed = state && { times: state.resumed + 1, checkpoint: state.checkpoint };
  const known = signed && { size: signed.checkpoint.size, root: signed.checkpoint.root, fetch: source };
  const log = signed?.log ?? new LogKeys(NoteVerifier.parse(options.logKey ?? opened.manifest.logKey));
  const anchor = { ...opened, log, electionId, reader, report: around, known };
  const from = state ? state.position : await positionBefore(range.first, anchor);
  const voters = ledgerOf(options, opened, found, state);

  const save = saver({ options, subject, report, voters, startedAt: state?.startedAt ?? startedAt, resumed });
  const evidence = await walkEvidence({
    ...options,
    ...opened,
    reader,
    report,
    known,
    voters,
    from,
    survey: found,
    blocks: { first: state ? state.checkpoint + 1 : range.first, last: range.last ?? found.lastListed },
    onBlock: save,
  });
  await voters?.finish(async (place, problem) => {
    report.problem({ object: await segmentWith(options, place.index), ...place }, problem);
  });
  // Those of a part of the log were taken from elsewhere.
  if (range.first === 1) demandKey(options.logKey, evidence.keys, manifestKey(electionId), report);
  await removeState(stateFolder);
  around.add(report);
  return {
    report: around,
    startedAt: state?.startedAt ?? startedAt,
    resumed,
    opened,
    signed,
    survey: found,
    evidence,
  };
}

/** The manifest, and what was signed. */
async function openBoth(options: AuditOptions, reader: EvidenceReader, report: VerificationReport) {
  const { electionId, source, logKey, lock } = options;
  if (!lock) report.unchecked("retention: the evidence store is a directory, which cannot lock");
  if (!source) report.unchecked("that the public log is of this evidence");
  const signed = source && (await openPublicLog({ source, electionId, report, logKey }));
  if (!source && logKey === undefined) {
    report.unchecked(
      "the log's key is the one its own manifest names: give --log-key to demand the one you know",
    );
  }
  const opened = await openManifest({ reader, electionId, report });
  if (!opened)
    report.unchecked("all of the evidence but its manifest, without which nothing can be verified");
  return { opened, signed };
}

function requireBlocks({ first, last = first }: AuditRange, { lastListed }: Survey): void {
  if (first === 1 || Math.max(first, last) <= lastListed) return;
  throw new UsageError(
    `there is no checkpoint ${first} to audit: the evidence ends with number ${lastListed}`,
  );
}

function subjectOf(options: AuditOptions, { manifest, manifestHash }: OpenedManifest): AuditSubject {
  const { range, place, logKey, eventKey, lock } = options;
  return {
    election: manifest.electionId,
    manifestHash: toHex(manifestHash),
    evidence: place,
    logKey: logKey ?? manifest.logKey,
    eventKey: eventKey ?? null,
    retentionMode: lock?.mode ?? null,
    blocks: { first: range.first, last: range.last ?? null },
  };
}

/** A voter may have voted before what a part of the log has: the rule takes the whole. */
function ledgerOf(
  { range, stateFolder }: AuditOptions,
  { manifest }: OpenedManifest,
  found: Survey,
  state: AuditState | undefined,
): VoterLedger | undefined {
  if (range.first !== 1 || range.last !== undefined) return undefined;
  const parts = state?.voters.length ?? partsFor(found.entries);
  return new VoterLedger({ folder: join(stateFolder, "voters"), manifest, parts, lengths: state?.voters });
}

interface SaverOptions extends Pick<Audit, "startedAt" | "resumed"> {
  readonly options: AuditOptions;
  readonly subject: AuditSubject;
  readonly report: VerificationReport;
  readonly voters: VoterLedger | undefined;
}

function saver({ options, subject, report, voters, startedAt, resumed }: SaverOptions) {
  const { stateFolder, saveEveryMs = SAVE_EVERY_MS } = options;
  let next = performance.now() + saveEveryMs;
  return async ({ number: checkpoint }: VoteCheckpoint, position: EvidencePosition): Promise<void> => {
    if (performance.now() < next) return;
    const lengths = (await voters?.flush()) ?? [];
    await saveState(stateFolder, {
      subject,
      startedAt,
      resumed: resumed?.times ?? 0,
      checkpoint,
      position,
      findings: report,
      voters: lengths,
    });
    next = performance.now() + saveEveryMs;
  };
}

/** The segment that has a log index. */
async function segmentWith({ store, electionId }: AuditOptions, index: number): Promise<string | undefined> {
  const prefix = blockSegmentsPrefix(electionId, checkpointNumberOf(index));
  for await (const key of store.list(prefix)) {
    const range = parseSegmentKey(key);
    if (range && range.first <= index && index <= range.last) return key;
  }
  return undefined;
}

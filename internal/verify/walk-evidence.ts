import type { Manifest } from "../ballot/manifest.ts";
import type { ElectionId } from "../core/ids.ts";
import { readAhead } from "../core/read-ahead.ts";
import type { Hash } from "../core/sha256.ts";
import { checkpointKey, parseSegmentKey } from "../evidence/layout.ts";
import { parseVoteCheckpoint, type VoteCheckpoint } from "../evidence/vote-checkpoint.ts";
import type { LogKeys } from "../tlog/log-keys.ts";
import { ObjectArchivedError, type ObjectStore } from "../worm/object-store.ts";
import type { SegmentChecker, SegmentFindings } from "./check-segment.ts";
import { compareCheckpoint, verifyNote, withoutCheckpoint } from "./compare-checkpoint.ts";
import { EvidenceLog, type EvidencePosition, type KnownTree } from "./evidence-log.ts";
import type { EvidenceReader } from "./evidence-reader.ts";
import { faultOf } from "./fault.ts";
import { type ListedBlock, listBlock, type Survey } from "./list-blocks.ts";
import { logSegments } from "./log-segments.ts";
import { VerificationReport } from "./report.ts";
import { VoteObjects } from "./vote-objects.ts";
import type { VoterRule } from "./voter-rule.ts";

export interface WalkEvidenceOptions<Content> {
  readonly store: Pick<ObjectStore, "get" | "list">;
  readonly reader: EvidenceReader;
  readonly electionId: ElectionId;
  readonly manifest: Manifest;
  readonly manifestHash: Hash;
  /** The keys up to where it begins. */
  readonly log: LogKeys;
  readonly report: VerificationReport;
  /** What there is. */
  readonly survey: Survey;
  /** A signed tree that is known from elsewhere: the evidence must lead to it. */
  readonly known: KnownTree | undefined;
  readonly checker: SegmentChecker<Content>;
  /** Without it, the one-vote rule is not applied. */
  readonly voters: VoterRule<Content> | undefined;
  /** The blocks to verify; all unless given. */
  readonly blocks?: { readonly first: number; readonly last: number } | undefined;
  /** Where the blocks before leave the log. */
  readonly from?: EvidencePosition | undefined;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  /** Called when a finished block was verified and everything that is wrong with it was reported. */
  readonly onBlock?: ((checkpoint: VoteCheckpoint, position: EvidencePosition) => Promise<void>) | undefined;
}

/**
 * Walks through an election's evidence in the log's order: every object is read and decoded, every record hash and chain
 * computed again, every entry hashed into the tree, every vote checkpoint and its signature compared. Segments are
 * checked by themselves ahead of that, by as many threads as the checker has, and joined here. After a problem it goes
 * on with what can still be checked, and says what cannot.
 *
 * Rejects with an ObjectStoreError when the store cannot be asked.
 */
export async function walkEvidence<Content>(options: WalkEvidenceOptions<Content>): Promise<EvidenceLog> {
  const { known, report, survey, blocks, voters } = options;
  const evidence = new EvidenceLog(options);
  const last = Math.min(blocks?.last ?? survey.lastListed, survey.lastListed);
  const steps = stepsThrough(options, blocks?.first ?? 1, last);
  for await (const { block, segment } of readAhead(steps, options.checker.ahead)) {
    if (segment) await joinSegment(block, evidence, segment);
    else await finishBlock(block, evidence);
  }
  const isWhole = last === survey.lastListed;
  if (known && isWhole && evidence.size < known.size) {
    const place = { index: evidence.size };
    report.problem(place, `the public log has ${known.size} entries, the evidence ${evidence.size}`);
  }
  if (known && evidence.size > known.size) {
    report.unchecked(`entries from ${known.size} on against the public log, which ends before them`);
  }
  if (!voters) report.unchecked("that each voter counts once, which takes the whole log");
  return evidence;
}

/** A block that is being verified. */
interface Block<Content> {
  readonly options: WalkEvidenceOptions<Content>;
  readonly listed: ListedBlock;
  readonly number: number;
  /** No block with segments follows. */
  readonly isLast: boolean;
  /** The key of its vote checkpoint. */
  readonly object: string;
  readonly checkpoint: VoteCheckpoint | undefined;
  /** What was found before its turn came. */
  readonly report: VerificationReport;
  readonly votes: VoteObjects;
}

interface Step<Content> {
  readonly block: Block<Content>;
  /** One of its segments; undefined at its end. */
  readonly segment?: {
    readonly key: string;
    /** Undefined for one that is no part of the log. */
    readonly findings: Promise<SegmentFindings<Content>> | undefined;
  };
}

/** Every segment with the work on it begun, in the log's order, and the end of every block. */
async function* stepsThrough<Content>(
  options: WalkEvidenceOptions<Content>,
  first: number,
  last: number,
): AsyncGenerator<Step<Content>, void, undefined> {
  const { store, electionId, checker, known } = options;
  for (let number = first; number <= last; number++) {
    const listed = await listBlock(store, electionId, number);
    if (listed.segments.length === 0 && listed.votes.length === 0 && !listed.hasCheckpoint) continue;
    const block = await openBlock(options, listed);
    const { object, checkpoint } = block;
    // It says by which version to read the segments, whatever their keys show by now.
    const named = new Map(checkpoint?.segments.map((segment) => [segment.key, segment]));
    const { keys: ofLog, undecided } = await logSegments({
      store,
      number,
      keys: listed.segments,
      checkpoint,
      known,
    });
    for (const key of listed.segments) {
      if (undecided !== undefined && (parseSegmentKey(key)?.first ?? 0) >= undecided) {
        block.votes.lose();
        continue;
      }
      if (checkpoint && ofLog.includes(key) && !named.has(key)) {
        block.report.problem({ object: key }, `is not named by ${object}`);
      }
      const task = { electionId, key, number, named: named.get(key) };
      const findings = ofLog.includes(key) ? checker.check(task) : undefined;
      findings?.catch(() => {}); // It rejects where it is joined.
      yield { block, segment: { key, findings } };
    }
    yield { block };
    if (undecided === undefined) continue;
    const why = "two segments have them, and the next signature tells which is the log's";
    options.report.unchecked(`entries from ${undecided} on: ${why}`);
    return;
  }
}

async function openBlock<Content>(
  options: WalkEvidenceOptions<Content>,
  listed: ListedBlock,
): Promise<Block<Content>> {
  const { electionId, survey, report } = options;
  const { number } = listed;
  const object = checkpointKey(electionId, number);
  const own = new VerificationReport();
  const checkpoint = listed.hasCheckpoint ? await readCheckpoint(options, object, own) : undefined;
  const votes = new VoteObjects({ electionId, report, number, votes: listed.votes });
  const isLast = number >= survey.lastBlock;
  return { options, listed, number, isLast, object, checkpoint, report: own, votes };
}

/** The last segment that it names was stored before it, and so is locked for no longer. */
export async function readCheckpoint(
  { reader }: { readonly reader: EvidenceReader },
  object: string,
  report: VerificationReport,
): Promise<VoteCheckpoint | undefined> {
  try {
    const body = await reader.read(object, report);
    if (!body) throw new Error("is listed and cannot be read");
    return parseVoteCheckpoint(body);
  } catch (error) {
    if (error instanceof ObjectArchivedError) report.unchecked(`what ${object} says, which is archived`);
    else report.problem({ object }, faultOf(error));
    return undefined;
  }
}

async function joinSegment<Content>(
  { options, report: own, votes }: Block<Content>,
  evidence: EvidenceLog,
  { key, findings: pending }: NonNullable<Step<Content>["segment"]>,
): Promise<void> {
  const { report, onProgress, survey, voters } = options;
  report.add(own.take());
  if (!pending) return report.unreferencedSegment(key);
  const { findings, checked, references, content } = await pending;
  report.add(findings);
  if (references) votes.name(references);
  else votes.lose();
  if (checked) {
    await evidence.accept(key, checked);
    await voters?.add(key, content);
  } else {
    const range = parseSegmentKey(key);
    if (range) evidence.lose(range);
  }
  onProgress?.(evidence.size, survey.entries);
}

async function finishBlock<Content>(block: Block<Content>, evidence: EvidenceLog): Promise<void> {
  const { options, listed, number, isLast, object, checkpoint, votes, report: own } = block;
  const { report, known, onBlock } = options;
  report.add(own.take());
  for (const { key } of checkpoint?.segments ?? []) {
    if (listed.segments.includes(key)) continue;
    report.problem({ object: key }, `is named by ${object} and is not there`);
    votes.lose();
  }
  votes.listUnreferenced({ finished: listed.hasCheckpoint || !isLast });
  if (checkpoint) {
    verifyNote(checkpoint, object, evidence.keys, report);
    compareCheckpoint(checkpoint, object, evidence, report);
    await onBlock?.(checkpoint, evidence.position);
  } else if (!listed.hasCheckpoint) {
    withoutCheckpoint({ known, evidence, number, isLast, report }, object);
  }
}

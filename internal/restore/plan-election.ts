// What is to be done for an election: its evidence is verified, and what the databases have is compared with it.
import { HaltError } from "../audit/halt.ts";
import { ChainError } from "../ballot/chain.ts";
import { FormatError } from "../ballot/format-error.ts";
import { messageOf } from "../core/errors.ts";
import { manifestKey } from "../evidence/layout.ts";
import { VerificationReport } from "../verify/report.ts";
import { verifyEvidence } from "../verify/verify-evidence.ts";
import { ObjectCorruptError, type ObjectStore } from "../worm/object-store.ts";
import { demandSigned, type ElectionEvidence, parseSigned, type SignedTree } from "./election-evidence.ts";
import { ElectionTarget, electionIn, highestIn } from "./election-target.ts";
import { RestoreRefusedError } from "./errors.ts";
import { controlOf } from "./instances.ts";
import { PublisherFiles, type PublisherRepair } from "./publisher-files.ts";
import type { ElectionToRestore, RestoreOptions } from "./restore.ts";
import { type KnownTree, type VerifiedLog, verifyLog } from "./verify-log.ts";

/** What is known of an election when its evidence is verified. */
export interface ElectionPlan {
  readonly evidence: ElectionEvidence;
  readonly log: VerifiedLog;
  readonly target: ElectionTarget;
  /** The highest number that any instance has for an election, this one's included. */
  readonly highestNumber: number;
  /** The newest public checkpoint that the evidence was compared with. */
  readonly checkpoint: SignedTree | undefined;
  readonly publisher: PublisherRepair | undefined;
}

export async function planElection(
  options: RestoreOptions,
  evidence: ElectionEvidence,
  { checkpoints: notes, logKey }: Pick<ElectionToRestore, "checkpoints" | "logKey">,
  taken: readonly number[],
  onProgress: (entries: number) => void,
): Promise<ElectionPlan> {
  const { evidence: store, instances, place, clock, signal } = options;
  const checkpoints = notes.map(({ name, note }) => ({ name, tree: parseSigned(name, note) }));
  const checkpoint = checkpoints
    .map(({ tree }) => tree)
    .toSorted((a, b) => a.size - b.size)
    .at(-1);
  const files = options.publisher && (await PublisherFiles.open(options.publisher, evidence));
  // Only asked for where no database knows: the placement map may have changed since an election was created.
  const fresh = () => ({ placement: place(evidence.manifest.shards), createdAt: clock.nowMicros() });
  const databases = new Map(
    await Promise.all(
      [...instances].map(async ([name, instance]) => [name, await instance.findElections()] as const),
    ),
  );
  const election = electionIn(databases, evidence, fresh, taken);
  const highestNumber = highestIn(databases, [election.election]);
  const target = await ElectionTarget.open({ evidence, election, instances });
  const committed = await controlOf(instances).findLogHead(election);
  const known: KnownTree[] = [];
  const know = (name: string, tree: SignedTree | undefined, nothingSignedBeyond = false) => {
    if (tree) known.push({ name, treeSize: tree.size, root: tree.root, nothingSignedBeyond });
  };
  for (const { name, tree } of checkpoints) know(name, tree);
  know("the Publisher's state", files?.saved, true);
  know("the Publisher's public checkpoint", files?.shown);
  if (committed && committed.treeSize > 0) {
    known.push({ ...committed, name: "the stored log head", nothingSignedBeyond: true });
  }
  try {
    const onRecords = (records: Parameters<ElectionTarget["compare"]>[0]) => target.compare(records);
    const log = await verifyLog({ store, evidence, known, onRecords, onProgress, signal });
    for (const { name, tree } of checkpoints) demandSigned(name, tree, log.keys);
    if (files?.saved) demandSigned("the Publisher's state", files.saved, log.keys);
    if (files?.shown) demandSigned("the Publisher's public checkpoint", files.shown, log.keys);
    if (logKey !== undefined && !log.keys.all.map(String).includes(logKey)) {
      const key = manifestKey(evidence.electionId);
      throw new RestoreRefusedError(`${key} names another log key than the one given`);
    }
    await target.compareHeads(log);
    const signed = [checkpoint, log.blocks.at(-1)].filter((tree) => tree !== undefined);
    return { evidence, log, target, highestNumber, checkpoint, publisher: files?.missing(signed) };
  } catch (error) {
    throw isFault(error) ? await diagnosed(error, store, evidence, checkpoint) : error;
  }
}

/** What the evidence itself is to blame for, or what it was compared with. */
function isFault(error: unknown): error is Error {
  return [HaltError, ChainError, FormatError, ObjectCorruptError, RestoreRefusedError].some(
    (type) => error instanceof type,
  );
}

/** Names everything that is wrong with the evidence, to the object, index, shard and sequence. */
async function diagnosed(
  cause: Error,
  store: ObjectStore,
  { electionId, manifest }: ElectionEvidence,
  checkpoint: SignedTree | undefined,
): Promise<RestoreRefusedError> {
  const report = new VerificationReport();
  const known = checkpoint && { size: checkpoint.size, root: checkpoint.root };
  await verifyEvidence({ store, electionId, report, logKey: manifest.logKey, known });
  if (cause instanceof RestoreRefusedError && report.ok) return cause;
  return new RestoreRefusedError(`the evidence of ${electionId} does not verify: ${messageOf(cause)}`, {
    cause,
    problems: report.problems,
  });
}

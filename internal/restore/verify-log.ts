// The first reading of an election's evidence: all of it is verified before anything is written anywhere.
import { EvidenceReplay } from "../audit/evidence-replay.ts";
import type { LogEnd } from "../audit/head.ts";
import { type ChainHead, genesisHeads } from "../ballot/chain.ts";
import { encodeEntry } from "../ballot/entry.ts";
import type { VoteRecord } from "../ballot/record.ts";
import { equalBytes, toHex } from "../core/bytes.ts";
import type { TreeSize } from "../core/ids.ts";
import { type Hash, sha256 } from "../core/sha256.ts";
import { parseEvent } from "../evidence/event.ts";
import { acceptKeyChange } from "../evidence/key-change.ts";
import { BLOCK_ENTRIES, checkpointNumberOf } from "../evidence/layout.ts";
import type { FoundSegment } from "../evidence/read-segment.ts";
import { logEntryOf } from "../evidence/segment.ts";
import { GrowingTree } from "../tlog/growing-tree.ts";
import type { LogKeys } from "../tlog/log-keys.ts";
import type { ObjectStore } from "../worm/object-store.ts";
import { demandSigned, type ElectionEvidence, readBlockTree, type SignedTree } from "./election-evidence.ts";
import { RestoreRefusedError } from "./errors.ts";
import { type KnownEnd, segmentsOfLog } from "./log-path.ts";

/** A tree that the evidence must have been, whoever says so. */
export interface KnownTree extends LogEnd {
  /** Such as "the public checkpoint". */
  readonly name: string;
  /** Of the head row and of the Publisher's own memory: log-path.ts. */
  readonly nothingSignedBeyond?: boolean;
}

export interface VerifyLogOptions {
  readonly store: ObjectStore;
  readonly evidence: ElectionEvidence;
  /** Trees the log must have been on its way. */
  readonly known: readonly KnownTree[];
  /** Takes the records as they come, in order of the log. */
  readonly onRecords: (records: readonly VoteRecord[]) => Promise<void>;
  readonly onProgress: (entries: number) => void;
  readonly signal: AbortSignal;
}

/** A log that was verified, and how to read it again. */
export interface VerifiedLog {
  /** In order. The hash makes sure that the second reading is of the same bytes. */
  readonly segments: readonly { readonly key: string; readonly sha256: Hash }[];
  readonly size: TreeSize;
  readonly root: Hash;
  readonly closed: boolean;
  readonly heads: readonly ChainHead[];
  /** The signed ends of blocks, in order. */
  readonly blocks: readonly SignedTree[];
  /** The log's keys, and the documents by which they changed. */
  readonly keys: LogKeys;
  readonly keyChanges: readonly string[];
}

/**
 * Replays the log from its first entry. Every record's hash and chain, every entry in the tree, every root that a segment
 * names, every signed block and every known tree must be right. Throws what it meets first: a HaltError, ChainError,
 * FormatError or RestoreRefusedError.
 */
export async function verifyLog(options: VerifyLogOptions): Promise<VerifiedLog> {
  const { store, evidence, known, onRecords, onProgress, signal } = options;
  const { electionId, manifest, manifestHash } = evidence;
  const genesis = genesisHeads(manifestHash, manifest.shards);
  const replay = new EvidenceReplay({ election: evidence, tree: GrowingTree.empty(), shardHeads: genesis });
  const castAt = genesis.map(() => 0);
  const segments: { key: string; sha256: Hash }[] = [];
  const blocks: SignedTree[] = [];
  const keyChanges: string[] = [];
  let keys = evidence.log;

  const newest = newestOf([...known, ...blockTree(evidence)]);
  for await (const found of segmentsOfLog(store, electionId, newest)) {
    signal.throwIfAborted();
    for (const tree of known) comparePartOf(found, replay.tree, tree);
    replay.accept(found);
    for (const tree of known) compare(replay.tree, tree);
    for (const [index, note] of keyChangesOf(found)) {
      const changed = acceptKeyChange(keys, note, index);
      if (changed !== keys) keyChanges.push(note);
      keys = changed;
    }
    const records = recordsOf(found);
    for (const record of records) castAt[record.shard] = record.castAt;
    await onRecords(records);
    segments.push({ key: found.key, sha256: sha256(found.body) });
    if (replay.tree.size % BLOCK_ENTRIES === 0 || replay.closed) {
      const number = checkpointNumberOf(replay.tree.size - 1);
      const signed = await readBlockTree(store, electionId, number);
      if (signed) {
        const name = `vote checkpoint ${number}`;
        demandSigned(name, signed, keys);
        compare(replay.tree, { ...signed, treeSize: signed.size, name });
        blocks.push(signed);
      }
    }
    replay.tree.takeTiles(); // They are wanted at the second reading; until then they would pile up.
    onProgress(replay.tree.size);
  }

  const { size } = replay.tree;
  for (const { name, treeSize } of known) {
    if (treeSize > size) {
      throw new RestoreRefusedError(
        `the evidence is not complete: ${name} has ${treeSize} entries, the evidence ${size}`,
      );
    }
  }
  const heads = replay.shardHeads.map(
    (head, shard): ChainHead => ({ ...genesis[shard], ...head, castAt: castAt[shard] ?? 0 }) as ChainHead, // one a shard
  );
  return { segments, size, root: replay.tree.root(), closed: replay.closed, heads, blocks, keys, keyChanges };
}

function keyChangesOf({ segment }: FoundSegment): [index: number, note: string][] {
  return segment.entries.flatMap((entry, offset) =>
    entry.type === "event" && parseEvent(entry.note).kind === "key-change"
      ? [[segment.firstIndex + offset, entry.note]]
      : [],
  );
}

export function recordsOf({ segment }: FoundSegment): VoteRecord[] {
  return segment.entries.flatMap((entry) => (entry.type === "vote" ? [entry.record] : []));
}

function blockTree({ newestBlock }: ElectionEvidence): KnownTree[] {
  return newestBlock
    ? [{ ...newestBlock, treeSize: newestBlock.size, name: "the newest vote checkpoint" }]
    : [];
}

function newestOf(trees: readonly KnownTree[]): KnownEnd | undefined {
  const newest = trees.toSorted((a, b) => a.treeSize - b.treeSize).at(-1);
  // Where any of them has nothing signed beyond it, the newest has not either.
  return (
    newest && { ...newest, nothingSignedBeyond: trees.some((tree) => tree.nothingSignedBeyond === true) }
  );
}

function compare(tree: GrowingTree, known: KnownTree): void {
  if (tree.size !== known.treeSize || equalBytes(tree.root(), known.root)) return;
  throw new RestoreRefusedError(
    `the evidence leads to another tree than ${known.name}: at ${known.treeSize} entries its root is ` +
      `${toHex(tree.root())} instead of ${toHex(known.root)}`,
  );
}

/** A known tree may end within a segment, where another process cut the same entries into other segments. */
function comparePartOf({ segment }: FoundSegment, tree: GrowingTree, known: KnownTree): void {
  const { firstIndex, entries } = segment;
  if (known.treeSize <= firstIndex || known.treeSize >= firstIndex + entries.length) return;
  const part = tree.clone();
  for (const entry of entries.slice(0, known.treeSize - firstIndex))
    part.append(encodeEntry(logEntryOf(entry)));
  compare(part, known);
}

// A closed election's evidence of any size, as AuditService writes it, for what is measured on it.
import { randomBytes } from "node:crypto";
import { appendVotes, type ChainHead, genesisHeads } from "../../internal/ballot/chain.ts";
import { closingEntry, encodeEntry } from "../../internal/ballot/entry.ts";
import { encodeManifest, type Manifest } from "../../internal/ballot/manifest.ts";
import { generateTallyKeyPair } from "../../internal/ballot/tally-key.ts";
import { shardOf } from "../../internal/ballot/voter-key.ts";
import { utf8 } from "../../internal/core/bytes.ts";
import { type ElectionId, treeSize, voteIdOf } from "../../internal/core/ids.ts";
import { sha256 } from "../../internal/core/sha256.ts";
import {
  BLOCK_ENTRIES,
  checkpointKey,
  manifestKey,
  SEGMENT_ENTRIES,
} from "../../internal/evidence/layout.ts";
import { encodeSegment, keyOfSegment, logEntryOf, type Segment } from "../../internal/evidence/segment.ts";
import type { SegmentEntry } from "../../internal/evidence/segment-line.ts";
import { encodeVoteCheckpoint, type VoteCheckpoint } from "../../internal/evidence/vote-checkpoint.ts";
import { formatCheckpoint } from "../../internal/tlog/checkpoint.ts";
import { GrowingTree } from "../../internal/tlog/growing-tree.ts";
import { NoteSigner, signNote } from "../../internal/tlog/note.ts";
import type { DirectoryStore } from "../../internal/worm/directory-store.ts";
import type { StoredObject } from "../../internal/worm/object-store.ts";

export const SHARDS = 16;

export interface WrittenEvidence {
  /** The public checkpoint, a signed note. */
  readonly checkpoint: Uint8Array;
  /** Of all segments. */
  readonly bytes: number;
}

/** Writes full segments and blocks, and a closing entry. */
export async function writeEvidence(
  store: DirectoryStore,
  electionId: ElectionId,
  votes: number,
): Promise<WrittenEvidence> {
  const signer = NoteSigner.fromSeed(`bench.psephos.local/${electionId}`, new Uint8Array(randomBytes(32)));
  const manifest: Manifest = {
    electionId,
    title: `${votes} votes`,
    choices: [{ id: "ada", name: "Ada" }],
    shards: SHARDS,
    revoting: "forbidden",
    opensAt: Date.now() * 1000,
    closesAt: null,
    tallyKey: generateTallyKeyPair().publicKey,
    trustees: { shares: 3, threshold: 2 },
    logKey: signer.verifierKey,
  };
  const manifestBytes = encodeManifest(manifest);
  await store.put(manifestKey(electionId), manifestBytes);
  const writer = new EvidenceWriter(store, signer, electionId, sha256(manifestBytes));
  await writer.add({ type: "manifest", manifestHash: sha256(manifestBytes) });
  for (let vote = 0; vote < votes; vote++) await writer.addVote();
  await writer.add(closingEntry(writer.heads));
  return { checkpoint: utf8(await writer.close()), bytes: writer.bytes };
}

class EvidenceWriter {
  readonly heads: ChainHead[];
  bytes = 0;
  readonly #store: DirectoryStore;
  readonly #signer: NoteSigner;
  readonly #electionId: ElectionId;
  readonly #manifestHash: Segment["manifestHash"];
  readonly #tree = GrowingTree.empty();
  #segment: Omit<Segment, "entries" | "rootAfter"> & { readonly entries: SegmentEntry[] };
  #stored: StoredObject[] = [];
  #lastVote: VoteCheckpoint["lastVote"] = null;

  constructor(
    store: DirectoryStore,
    signer: NoteSigner,
    electionId: ElectionId,
    manifestHash: Segment["manifestHash"],
  ) {
    this.#store = store;
    this.#signer = signer;
    this.#electionId = electionId;
    this.#manifestHash = manifestHash;
    this.heads = genesisHeads(manifestHash, SHARDS);
    this.#segment = this.#open();
  }

  async addVote(): Promise<void> {
    const random = new Uint8Array(randomBytes(95));
    const voterPseudonym = random.subarray(0, 32);
    const shard = shardOf(voterPseudonym, SHARDS);
    const head = this.heads[shard];
    if (!head) throw new RangeError("a shard too many");
    const vote = { voterPseudonym, revision: 1, sealedChoice: random.subarray(32) };
    const { records, head: next } = appendVotes(head, [vote], {
      shards: SHARDS,
      nowMicros: Date.now() * 1000,
    });
    this.heads[shard] = next;
    this.#lastVote = { id: voteIdOf(shard, next.sequence, SHARDS), hash: next.hash };
    for (const record of records) await this.add({ type: "vote", record });
  }

  async add(entry: SegmentEntry): Promise<void> {
    this.#segment.entries.push(entry);
    this.#tree.append(encodeEntry(logEntryOf(entry)));
    if (this.#segment.entries.length < SEGMENT_ENTRIES) return;
    await this.#flush();
    if (this.#tree.size % BLOCK_ENTRIES === 0) await this.#endBlock();
  }

  /** Answers the note of the last block. */
  async close(): Promise<string> {
    await this.#flush();
    return this.#endBlock();
  }

  async #flush(): Promise<void> {
    if (this.#segment.entries.length === 0) return;
    const segment: Segment = { ...this.#segment, rootAfter: this.#tree.root() };
    const body = encodeSegment(segment);
    this.#stored.push(await this.#store.put(keyOfSegment(segment), body));
    this.bytes += body.length;
    this.#tree.takeTiles();
    this.#segment = this.#open();
  }

  #open(): Omit<Segment, "entries" | "rootAfter"> & { readonly entries: SegmentEntry[] } {
    const shardHeads = this.heads.map(({ sequence, hash }) => ({ sequence, hash }));
    const common = { electionId: this.#electionId, manifestHash: this.#manifestHash, shardHeads };
    return { ...common, firstIndex: this.#tree.size, rootBefore: this.#tree.root(), entries: [] };
  }

  async #endBlock(): Promise<string> {
    const { size } = this.#tree;
    const root = this.#tree.root();
    const number = Math.ceil(size / BLOCK_ENTRIES);
    const note = signNote(formatCheckpoint({ origin: this.#signer.name, size, root }), [this.#signer]);
    const checkpoint: VoteCheckpoint = {
      electionId: this.#electionId,
      number,
      treeSize: treeSize(size),
      treeRoot: root,
      segments: this.#stored.splice(0),
      lastVote: this.#lastVote,
      shardHeads: this.heads.map(({ sequence, hash }) => ({ sequence, hash })),
      note,
    };
    if (checkpoint.segments.length > 0)
      await this.#store.put(checkpointKey(this.#electionId, number), encodeVoteCheckpoint(checkpoint));
    return note;
  }
}

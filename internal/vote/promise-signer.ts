// One signature promises a whole batch: it covers the root of the tree over the votes' entries, and each vote gets its
// path to it. docs/spec.md, "Promise".
import { type KeyObject, sign } from "node:crypto";
import type { AppendResult } from "../../gen/ts/psephos/shard/v1/shard_pb.js";
import { encodeEntry } from "../ballot/entry.ts";
import type { Manifest } from "../ballot/manifest.ts";
import { utf8 } from "../core/bytes.ts";
import { positionOf, voteId } from "../core/ids.ts";
import { asHash, type Hash } from "../core/sha256.ts";
import { formatStatement, type PromiseFields, type PromiseStatement } from "../receipt/promise.ts";
import { BatchTree } from "../tlog/batch-tree.ts";
import { formatSignatureLine } from "../tlog/note.ts";
import { ALGORITHM_ED25519, keyId } from "../tlog/note-verifier.ts";
import { leafHash } from "../tlog/tree.ts";

/** A vote that is committed in its shard. */
export type RecordedVote = Pick<AppendResult, "voteId" | "hash">;

export interface PromiseSignerOptions {
  readonly manifest: Pick<Manifest, "electionId" | "shards">;
  readonly manifestHash: Hash;
  readonly delaySeconds: number;
  /** Of the key, as the signature line has it. */
  readonly name: string;
  readonly publicKey: Uint8Array;
  readonly privateKey: KeyObject;
}

/** Promises the votes of one election. */
export class PromiseSigner {
  readonly #options: PromiseSignerOptions;
  readonly #keyId: number;

  constructor(options: PromiseSignerOptions) {
    this.#options = options;
    this.#keyId = keyId(options.name, ALGORITHM_ED25519, options.publicKey);
  }

  /**
   * The votes' promises, in their order, each that its entry is in the log at the latest the election's delay after
   * `nowMicros`. Only for votes that their shard has committed: a promise cannot be taken back.
   */
  promise(votes: readonly RecordedVote[], nowMicros: number): PromiseFields[] {
    if (votes.length === 0) return [];
    const { manifest, manifestHash, delaySeconds } = this.#options;
    const entries = votes.map((vote) => entryOf(vote, manifest.shards));
    const tree = new BatchTree(entries.map(leafHash));
    const statement = this.#sign({
      electionId: manifest.electionId,
      manifestHash,
      batchSize: tree.size,
      batchRoot: tree.root(),
      issuedAt: nowMicros,
      delaySeconds,
    });
    return entries.map((entry, index) => ({
      entry,
      index: BigInt(index),
      proof: tree.inclusionProof(index),
      statement,
    }));
  }

  #sign(statement: PromiseStatement): Uint8Array {
    const { name, privateKey } = this.#options;
    const text = formatStatement(statement);
    const signature = sign(null, utf8(text), privateKey);
    return utf8(`${text}\n${formatSignatureLine({ name, keyId: this.#keyId, signature })}`);
  }
}

/** The entry that AuditService will put into the log for the vote. */
function entryOf({ voteId: id, hash }: RecordedVote, shards: number): Uint8Array {
  return encodeEntry({ type: "vote", ...positionOf(voteId(id), shards), recordHash: asHash(hash) });
}

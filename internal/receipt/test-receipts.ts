// For tests: a small log with its keys and a witness, and the promises and receipts of its votes.
import { encodeEntry, type LogEntry, type VoteEntry } from "../ballot/entry.ts";
import { concat, fromHex, u64, utf8 } from "../core/bytes.ts";
import { electionId, sequence, shardId } from "../core/ids.ts";
import { asHash, sha256 } from "../core/sha256.ts";
import { formatCheckpoint, type OpenedCheckpoint, openCheckpoint } from "../tlog/checkpoint.ts";
import { ed25519PublicKey, ed25519Sign } from "../tlog/ed25519.ts";
import { GrowingTree } from "../tlog/growing-tree.ts";
import { formatSignatureLine, NoteSigner, signNote } from "../tlog/note.ts";
import { ALGORITHM_COSIGNATURE_V1, keyId, NoteVerifier, verifierKey } from "../tlog/note-verifier.ts";
import type { TileFetch } from "../tlog/tile-fetch.ts";
import { TileReader } from "../tlog/tile-reader.ts";
import { formatTlogProof } from "../tlog/tlog-proof.ts";
import type { VerifiedPromise } from "./promise.ts";
import vectors from "./vectors.json" with { type: "json" };

const WITNESS = "witness.test/one";
const WITNESS_SEED = new Uint8Array(32).fill(3);

export const MANIFEST_HASH = asHash(fromHex(vectors.manifest.hash));
export const LOG_KEY = NoteVerifier.parse(vectors.log_key);
export const WITNESS_KEY = NoteVerifier.parse(
  verifierKey(WITNESS, ALGORITHM_COSIGNATURE_V1, ed25519PublicKey(WITNESS_SEED)),
);
const logSigner = NoteSigner.fromSeed(LOG_KEY.name, fromHex(vectors.log_seed));

/** A vote of a shard; what stands for its record is made of both numbers. */
export function voteEntry(shard: number, number: number, record = `${shard} ${number}`): VoteEntry {
  const recordHash = sha256(utf8(record));
  return { type: "vote", shard: shardId(shard), sequence: sequence(number), recordHash };
}

/** What a verified promise of an entry says; it is due at 2,000 s and was issued at 1,000 s. */
export function promised(entry: VoteEntry): VerifiedPromise {
  const [issuedAt, dueAt] = [1_000_000_000, 2_000_000_000];
  return {
    ...{ electionId: electionId("council-2031"), manifestHash: MANIFEST_HASH, entry },
    ...{ batchSize: 1, batchRoot: MANIFEST_HASH, issuedAt, delaySeconds: 1_000, dueAt },
  };
}

/** A log that begins with its manifest's entry. */
export class TestReceipts {
  readonly objects = new Map<string, Uint8Array>();
  readonly fetch: TileFetch = async (path) => this.objects.get(path);
  readonly #entries: Uint8Array[] = [];
  readonly #tree = GrowingTree.empty();

  constructor(entries: readonly LogEntry[] = [], manifestHash = MANIFEST_HASH) {
    for (const entry of [{ type: "manifest", manifestHash } as const, ...entries]) {
      const bytes = encodeEntry(entry);
      this.#entries.push(bytes);
      this.#tree.append(bytes);
    }
    for (const { path, bytes } of this.#tree.takeTiles()) this.objects.set(path, bytes);
  }

  /** The signed checkpoint, cosigned at that POSIX second if it is given. */
  note(cosignedAt?: number): string {
    const text = formatCheckpoint({ origin: LOG_KEY.name, size: this.#tree.size, root: this.#tree.root() });
    const note = signNote(text, [logSigner]);
    if (cosignedAt === undefined) return note;
    const message = utf8(`cosignature/v1\ntime ${cosignedAt}\n${text}`);
    const signature = concat(u64(cosignedAt), ed25519Sign(message, WITNESS_SEED));
    const id = keyId(WITNESS, ALGORITHM_COSIGNATURE_V1, ed25519PublicKey(WITNESS_SEED));
    return note + formatSignatureLine({ name: WITNESS, keyId: id, signature });
  }

  opened(cosignedAt?: number): OpenedCheckpoint {
    return openCheckpoint({ note: this.note(cosignedAt), log: LOG_KEY, witnesses: [WITNESS_KEY] });
  }

  reader(): TileReader {
    const { size, root } = this.opened().checkpoint;
    return new TileReader({ fetch: this.fetch, size, root });
  }

  /** The receipt of the entry at an index. */
  async receipt(index: number, cosignedAt?: number): Promise<string> {
    const proof = await this.reader().inclusionProof(index);
    const extra = this.#entries[index];
    return formatTlogProof({ extra, index, proof, checkpoint: this.note(cosignedAt) });
  }
}

// What the Publisher keeps of an election: its memory of what it signed, and what it shows. Both are made again only where
// they are gone; the notes are those it signed, for nothing here has its key.
import { utf8 } from "../core/bytes.ts";
import { keyChangeFile, keyChangePath } from "../evidence/key-change.ts";
import type { DurableFiles } from "../publisher/durable-files.ts";
import { CHECKPOINT, PublicLog } from "../publisher/public-log.ts";
import { BLOCK_SIZE, type SignedHead } from "../publisher/signed-head.ts";
import { SignerState } from "../publisher/signer-state.ts";
import type { LogKeys } from "../tlog/log-keys.ts";
import { withSignaturesUnder } from "../tlog/note.ts";
import type { Tile } from "../tlog/tile.ts";
import { TileReader } from "../tlog/tile-reader.ts";
import { type ElectionEvidence, parseSigned, type SignedTree } from "./election-evidence.ts";
import type { TileTaker } from "./load-log.ts";
import type { VerifiedLog } from "./verify-log.ts";

/** The Publisher's two directories, which it has not open itself. */
export interface PublisherDirectories {
  readonly state: DurableFiles;
  readonly publicFiles: DurableFiles;
}

export class PublisherFiles {
  readonly #evidence: ElectionEvidence;
  readonly #state: SignerState;
  readonly #publicLog: PublicLog;
  /** Signed last, by its own memory; and shown last. */
  readonly saved: SignedTree | undefined;
  readonly shown: SignedTree | undefined;

  private constructor(parts: {
    evidence: ElectionEvidence;
    state: SignerState;
    publicLog: PublicLog;
    saved: SignedTree | undefined;
    shown: SignedTree | undefined;
  }) {
    this.#evidence = parts.evidence;
    this.#state = parts.state;
    this.#publicLog = parts.publicLog;
    this.saved = parts.saved;
    this.shown = parts.shown;
  }

  /** Throws a RestoreRefusedError when a note there is none. Whether the log's key signed it, is verified with the log. */
  static async open(directories: PublisherDirectories, evidence: ElectionEvidence): Promise<PublisherFiles> {
    const { electionId } = evidence;
    const state = new SignerState({ files: directories.state });
    const publicLog = new PublicLog({ files: directories.publicFiles, election: electionId });
    const [saved, shown] = await Promise.all([state.load(electionId), publicLog.read(CHECKPOINT)]);
    return new PublisherFiles({
      evidence,
      state,
      publicLog,
      saved: saved && parseSigned("the Publisher's state", saved),
      shown: shown && parseSigned("the Publisher's public checkpoint", shown),
    });
  }

  /**
   * What is to be made again, up to the newest note that is known; undefined when nothing is missing. A Publisher that goes
   * on from an older note than its last cannot sign a second history: whatever it signed was in the evidence before, and
   * evidence that goes on from the newest known tree in two ways is refused (log-path.ts), so that the log goes on from it.
   */
  missing(known: readonly SignedTree[]): PublisherRepair | undefined {
    const notes = [...known, this.saved, this.shown].filter((note) => note !== undefined);
    const head = notes.toSorted((a, b) => a.size - b.size).at(-1);
    if (!head || (this.saved && this.shown && this.shown.size >= head.size)) return undefined;
    return new PublisherRepair(head, this.#evidence, this.#state, this.#publicLog);
  }
}

export class PublisherRepair implements TileTaker {
  readonly head: SignedTree;
  readonly #evidence: ElectionEvidence;
  readonly #state: SignerState;
  readonly #publicLog: PublicLog;

  constructor(head: SignedTree, evidence: ElectionEvidence, state: SignerState, publicLog: PublicLog) {
    this.head = head;
    this.#evidence = evidence;
    this.#state = state;
    this.#publicLog = publicLog;
  }

  get size(): number {
    return this.head.size;
  }

  /** What is not signed is not shown. */
  async take(tiles: readonly Tile[], size: number): Promise<void> {
    if (size <= this.head.size) await this.#publicLog.add(tiles, this.#evidence.manifestBytes);
  }

  /** The notes, and last the signer's memory: without that it signs nothing, so a crash before leaves it refusing. */
  async finish({ blocks, closed, size, keys, keyChanges }: VerifiedLog): Promise<void> {
    const { head } = this;
    for (const [i, { index }] of keys.changes.entries()) {
      const signed = [...blocks, head].find((tree) => tree.size > index && tree.size <= head.size);
      if (!signed) continue;
      await this.#showKeyChange(i + 1, index, keyChanges[i] ?? "", asSignedHead(signed, keys));
    }
    for (const block of blocks) {
      if (block.size <= head.size) await this.#publicLog.addNumbered(asSignedHead(block, keys));
    }
    const endsBlock = head.size % BLOCK_SIZE === 0 || (closed && head.size === size);
    const signed = asSignedHead(head, keys);
    if (endsBlock) await this.#publicLog.addNumbered(signed);
    await this.#publicLog.show(signed);
    await this.#state.save(this.#evidence.electionId, signed.note);
  }

  /** With the first signed tree that has it, which its own key signed unless another followed within the block. */
  async #showKeyChange(number: number, index: number, note: string, signed: SignedHead): Promise<void> {
    const { size, root } = signed;
    const reader = new TileReader({ fetch: this.#publicLog.read, size, root });
    const proof = await reader.inclusionProof(index);
    const file = keyChangeFile({ note, index, proof, checkpoint: signed.note });
    await this.#publicLog.put(keyChangePath(number), utf8(file));
  }
}

/** Without its witnesses' lines, which the Publisher gets again. */
function asSignedHead({ size, root, note }: SignedTree, keys: LogKeys) {
  return { size, root, note: withSignaturesUnder(note, keys.first.name) };
}

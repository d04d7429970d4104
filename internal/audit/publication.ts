import type { Client } from "@connectrpc/connect";
import type { DigestService } from "../../gen/ts/psephos/digest/v1/digest_pb.js";
import { equalBytes } from "../core/bytes.ts";
import type { Clock } from "../core/clock.ts";
import { ServiceError } from "../core/errors.ts";
import { Feed } from "../core/feed.ts";
import { BLOCK_ENTRIES, checkpointKey } from "../evidence/layout.ts";
import { encodeVoteCheckpoint, parseVoteCheckpoint } from "../evidence/vote-checkpoint.ts";
import type { Logger } from "../telemetry/logger.ts";
import { ObjectConflictError, type ObjectStore } from "../worm/object-store.ts";
import { type Block, readBlock } from "./block.ts";
import type { AuditedElection } from "./election-log.ts";
import { HaltError } from "./halt.ts";
import type { LogEnd, LogHead } from "./head.ts";
import { retry } from "./retry.ts";
import { blockEnds, lastBlockOf } from "./stored-segments.ts";

/** What AuditService needs of the Publisher. */
export type Publisher = Pick<Client<typeof DigestService>, "submitHead">;

export interface PublicationOptions {
  readonly election: AuditedElection;
  readonly evidence: ObjectStore;
  readonly publisher: Publisher;
  readonly head: LogHead;
  /** Takes the document of a change of the log's key, which the log is to have. It may come many times. */
  readonly onKeyChange: (note: string) => void;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

interface OfferedHead extends LogEnd {
  readonly endsBlock: boolean;
}

/**
 * Takes committed heads to the Publisher and signed block ends to the evidence store, beside the sealing, which never
 * waits for it: a Publisher that is away delays signatures, not votes. Every block's end is signed, in order; of the
 * heads between them only the newest.
 */
export class Publication {
  readonly #options: PublicationOptions;
  readonly #heads: Feed<LogHead>;
  /** Where the finished blocks end that have no checkpoint.json yet, by number. */
  readonly #ends = new Map<number, LogEnd>();
  #submitted = 0;

  constructor(options: PublicationOptions) {
    this.#options = options;
    this.#heads = new Feed(options.head);
  }

  /** Announces a head that is committed and whose tiles are written: each of them, because one may end a block. */
  announce(head: LogHead): void {
    if (endsBlock(head)) this.#ends.set(lastBlockOf(head.treeSize), head);
    this.#heads.publish(head);
  }

  /** The size of the last head the Publisher signed for this process. */
  get submittedSize(): number {
    return this.#submitted;
  }

  /** Runs until the signal aborts, or the closed log is published. Rejects with what must halt the election. */
  async run(): Promise<void> {
    let number = await this.#resume();
    for await (const head of this.#heads.watch(this.#options.signal)) {
      for (let end = this.#ends.get(number); end; end = this.#ends.get(number)) {
        await this.#publishBlock(number, end);
        this.#ends.delete(number);
        number++;
      }
      if (head.closed) return;
      if (head.treeSize > this.#submitted) await this.#submit({ ...head, endsBlock: false });
    }
  }

  /**
   * The number of the first block that has no checkpoint.json yet. A crash at any step below leads back here, and where
   * the finished ones among them end is found out again.
   */
  async #resume(): Promise<number> {
    const { evidence, election, head } = this.#options;
    const first = await this.#retry("find the first unsigned block", () => this.#firstWithoutCheckpoint());
    const ends = await this.#retry("find where the unsigned blocks end", () =>
      blockEnds(evidence, election.electionId, first, head),
    );
    for (const end of ends)
      if (end !== head || endsBlock(head)) this.#ends.set(lastBlockOf(end.treeSize), end);
    return first;
  }

  async #firstWithoutCheckpoint(): Promise<number> {
    const { evidence, election, head } = this.#options;
    let number = lastBlockOf(head.treeSize) + 1;
    // Whether it is there, not what it says: those of old blocks lie in a cold tier.
    while (number > 1 && !(await evidence.stat(checkpointKey(election.electionId, number - 1)))) number--;
    return number;
  }

  async #publishBlock(number: number, end: LogEnd): Promise<void> {
    const { evidence, election } = this.#options;
    const { electionId } = election;
    const block = await this.#retry("read a block back", () => readBlock(evidence, electionId, end));
    const note = await this.#submit({ ...end, endsBlock: true });
    await this.#retry("write a vote checkpoint", () => this.#putCheckpoint(number, block, note));
  }

  /**
   * The same head gets the same note, so that this is the same object however often it is written; unless a process that
   * lost its lease wrote it from other segments with the same entries, which is as good.
   */
  async #putCheckpoint(number: number, block: Block, note: string): Promise<void> {
    const { evidence, election } = this.#options;
    const key = checkpointKey(election.electionId, number);
    try {
      await evidence.put(key, encodeVoteCheckpoint({ ...block, electionId: election.electionId, note }));
    } catch (error) {
      if (!(error instanceof ObjectConflictError)) throw error;
      const there = parseVoteCheckpoint((await evidence.get(key)) ?? new Uint8Array());
      if (there.treeSize !== block.treeSize || !equalBytes(there.treeRoot, block.treeRoot)) throw error;
    }
  }

  /** The signed note of a head. A head the Publisher finds not to extend what it signed halts the election. */
  #submit(head: OfferedHead): Promise<string> {
    const { publisher, election, signal } = this.#options;
    const request = {
      electionId: election.electionId,
      treeSize: BigInt(head.treeSize),
      root: head.root,
      manifest: election.manifestBytes,
      endsBlock: head.endsBlock,
    };
    return this.#retry("hand a head to the Publisher", async () => {
      try {
        const { note, keyChange } = await publisher.submitHead(request, { signal });
        this.#submitted = head.treeSize;
        if (keyChange !== "") this.#options.onKeyChange(keyChange);
        return note;
      } catch (error) {
        if (!isRefusal(error)) throw error;
        throw new HaltError(`the Publisher refused the head of size ${head.treeSize}: ${error.message}`, {
          cause: error,
        });
      }
    });
  }

  #retry<T>(step: string, attempt: () => Promise<T>): Promise<T> {
    return retry(step, attempt, this.#options);
  }
}

/** A full block, or the closed log's last one. */
function endsBlock({ treeSize, closed }: LogHead): boolean {
  return closed || (treeSize > 0 && treeSize % BLOCK_ENTRIES === 0);
}

/** The Publisher looked at the head and said no; asking again would not change it. */
function isRefusal(error: unknown): error is ServiceError {
  const refusals: readonly string[] = ["data-loss", "failed-precondition", "invalid-argument"];
  return error instanceof ServiceError && refusals.includes(error.kind);
}

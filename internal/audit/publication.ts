import type { Client } from "@connectrpc/connect";
import type { DigestService } from "../../gen/ts/psephos/digest/v1/digest_pb.js";
import type { Clock } from "../core/clock.ts";
import { ServiceError } from "../core/errors.ts";
import type { TreeSize } from "../core/ids.ts";
import type { Hash } from "../core/sha256.ts";
import { BLOCK_ENTRIES, checkpointKey } from "../evidence/layout.ts";
import { encodeVoteCheckpoint } from "../evidence/vote-checkpoint.ts";
import type { Logger } from "../telemetry/logger.ts";
import type { ObjectStore } from "../worm/object-store.ts";
import { lastBlockOf, readBlock } from "./block.ts";
import type { AuditedElection } from "./election-log.ts";
import { Feed } from "./feed.ts";
import { HaltError } from "./halt.ts";
import type { LogHead } from "./head.ts";
import { retry } from "./retry.ts";

/** What AuditService needs of the Publisher. */
export type Publisher = Pick<Client<typeof DigestService>, "submitHead">;

export interface PublicationOptions {
  readonly election: AuditedElection;
  readonly evidence: ObjectStore;
  readonly publisher: Publisher;
  readonly head: LogHead;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

interface OfferedHead {
  readonly treeSize: TreeSize;
  readonly root: Hash;
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
  #submitted = 0;

  constructor(options: PublicationOptions) {
    this.#options = options;
    this.#heads = new Feed(options.head);
  }

  /** Announces a head that is committed and whose tiles are written. */
  announce(head: LogHead): void {
    this.#heads.publish(head);
  }

  /** The size of the last head the Publisher signed for this process. */
  get submittedSize(): number {
    return this.#submitted;
  }

  /** Runs until the signal aborts, or the closed log is published. Rejects with what must halt the election. */
  async run(): Promise<void> {
    let block = await this.#retry("find the first unsigned block", () => this.#firstWithoutCheckpoint());
    for await (const head of this.#heads.watch(this.#options.signal)) {
      while (endOfBlock(block, head) <= head.treeSize) {
        await this.#publishBlock(block);
        block++;
      }
      if (head.closed) return;
      if (head.treeSize > this.#submitted) await this.#submit({ ...head, endsBlock: false });
    }
  }

  /** The number of the first block that has no checkpoint.json yet. A crash at any step below leads back here. */
  async #firstWithoutCheckpoint(): Promise<number> {
    const { evidence, election } = this.#options;
    let number = lastBlockOf(this.#heads.current.treeSize) + 1;
    while (number > 1 && !(await evidence.get(checkpointKey(election.electionId, number - 1)))) number--;
    return number;
  }

  async #publishBlock(number: number): Promise<void> {
    const { evidence, election } = this.#options;
    const { electionId } = election;
    const block = await this.#retry("read a block back", () => readBlock(evidence, electionId, number));
    const note = await this.#submit({ treeSize: block.treeSize, root: block.treeRoot, endsBlock: true });
    // The same head gets the same note, so that this is the same object however often it is written.
    const body = encodeVoteCheckpoint({ ...block, electionId, note });
    await this.#retry("write a vote checkpoint", () => evidence.put(checkpointKey(electionId, number), body));
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
        const { note } = await publisher.submitHead(request, { signal });
        this.#submitted = head.treeSize;
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

/** The log's size at the end of a block: a multiple of 10,000, or where the closing entry ends it. */
function endOfBlock(number: number, head: LogHead): number {
  return head.closed && number === lastBlockOf(head.treeSize) ? head.treeSize : number * BLOCK_ENTRIES;
}

/** The Publisher looked at the head and said no; asking again would not change it. */
function isRefusal(error: unknown): error is ServiceError {
  const refusals: readonly string[] = ["data-loss", "failed-precondition", "invalid-argument"];
  return error instanceof ServiceError && refusals.includes(error.kind);
}

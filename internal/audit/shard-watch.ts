import type { Client } from "@connectrpc/connect";
import { ElectionState, type Head, type ShardRouterService } from "../../gen/ts/psephos/shard/v1/shard_pb.js";
import type { ShardHead } from "../ballot/shard-head.ts";
import { equalBytes } from "../core/bytes.ts";
import type { Clock } from "../core/clock.ts";
import { messageOf } from "../core/errors.ts";
import { type ElectionId, sequence, shardId } from "../core/ids.ts";
import { asHash } from "../core/sha256.ts";
import type { Logger } from "../telemetry/logger.ts";
import { HaltError, isFatal } from "./halt.ts";
import type { RecordBuffer } from "./record-buffer.ts";
import { decodeRun } from "./record-message.ts";

/** What AuditService needs of ShardRouter. */
export type ShardRouter = Pick<
  Client<typeof ShardRouterService>,
  "listElections" | "getElection" | "heads" | "readChain" | "confirmSealed"
>;

export interface ShardWatchOptions {
  readonly electionId: ElectionId;
  readonly shards: number;
  readonly router: ShardRouter;
  readonly buffer: RecordBuffer;
  /** The sealed head of each shard, as of now. */
  readonly sealedHeads: () => readonly ShardHead[];
  /** Called when records were read from the shards, or the final sequences are known. */
  readonly onProgress: () => void;
  readonly onFetched: (records: number) => void;
  readonly pollIntervalMs: number;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/** A shard's state at a poll. */
interface Observation {
  /** How far the shard was. */
  readonly known: number;
  /** How far the buffer was. */
  readonly tail: number;
}

/**
 * Looks at the shards themselves, which are the truth, while the stream is only the quick way. One rule covers lost
 * messages, gaps, a wiped or absent stream and a restart: what a shard had when it was last seen, and what the buffer
 * has not moved towards since, is read from the shard.
 */
export class ShardWatch {
  readonly #options: ShardWatchOptions;
  /** By shard; undefined for one that has not been seen yet. */
  readonly #observations: (Observation | undefined)[] = [];
  #finalHeads: readonly ShardHead[] | undefined;

  constructor(options: ShardWatchOptions) {
    this.#options = options;
  }

  /** Each shard's last head, once the election is closed and every one of them is final. */
  get finalHeads(): readonly ShardHead[] | undefined {
    return this.#finalHeads;
  }

  /** Polls until the signal aborts. Rejects with what must halt the election. */
  async run(): Promise<void> {
    const { clock, logger, signal, pollIntervalMs } = this.#options;
    while (!signal.aborted) {
      let behind = false;
      try {
        behind = await this.#poll();
      } catch (error) {
        if (signal.aborted) return;
        if (isFatal(error)) throw error;
        logger.warn({ reason: messageOf(error) }, "the shards cannot be read; trying again");
      }
      if (!behind) await clock.sleep(pollIntervalMs, signal);
    }
  }

  /** Answers whether there is more to read at once. What a shard has when it is first seen counts as late. */
  async #poll(): Promise<boolean> {
    const { router, electionId, buffer, signal, shards, logger } = this.#options;
    // Taken before the answer: sealing goes on meanwhile, and an answer that is older than it proves nothing.
    const sealed = this.#options.sealedHeads();
    const { heads, state } = await router.heads({ electionId }, { signal });
    let behind = false;
    for (const head of heads) {
      const shard = shardId(head.shard);
      this.#compare(head, sealed[shard]);
      confirmHead(buffer, head, logger);
      const before = this.#observations[shard];
      const late = before ? stalledAt(before, buffer.tail(shard)) : Number(head.sequence);
      if (late > buffer.tail(shard)) behind = (await this.#read(head, late)) || behind;
      this.#observations[shard] = { known: Number(head.sequence), tail: buffer.tail(shard) };
    }
    if (state === ElectionState.CLOSED && heads.length === shards && heads.every((head) => head.closed)) {
      this.#finalHeads = heads.map((head) => ({
        sequence: sequence(head.sequence),
        hash: asHash(head.hash),
      }));
      this.#options.onProgress();
    }
    return behind;
  }

  /** Records that are sealed are still in the shard, unless somebody changed or replaced its database. */
  #compare(head: Head, sealed: ShardHead | undefined): void {
    if (!sealed) throw new HaltError(`the election has no shard ${head.shard}`);
    if (Number(head.sequence) < sealed.sequence) {
      throw new HaltError(
        `shard ${head.shard} ends at sequence ${head.sequence}, and sequence ${sealed.sequence} is sealed: ` +
          "its database was restored from a backup or truncated",
      );
    }
    if (Number(head.sequence) === sealed.sequence && !equalBytes(head.hash, sealed.hash)) {
      throw new HaltError(
        `shard ${head.shard} has another record at sequence ${sealed.sequence} than the one sealed`,
      );
    }
  }

  /** Reads up to `last` or until the buffer is full. A chain that does not verify here is broken at its source. */
  async #read({ shard }: Head, last: number): Promise<boolean> {
    const { router, electionId, buffer, signal, logger } = this.#options;
    const first = buffer.tail(shardId(shard)) + 1;
    const limit = Math.min(last - first + 1, buffer.roomFromShards);
    if (limit <= 0) return false;
    logger.info({ shard, first_sequence: first, last_sequence: last }, "reading records from their shard");
    let records = 0;
    const request = { electionId, shard, firstSequence: BigInt(first), limit: BigInt(limit) };
    for await (const { run } of router.readChain(request, { signal })) {
      if (!run) continue;
      const decoded = decodeRun(run);
      const offer = buffer.offerFromShard(decoded);
      if (offer === "contradicted") reportForgery(shard, logger);
      if (offer !== "accepted" && offer !== "known") break;
      records += decoded.length;
      this.#options.onProgress();
    }
    this.#options.onFetched(records);
    return records > 0 && buffer.tail(shardId(shard)) < last;
  }
}

/**
 * Confirms what the stream has brought of a shard, up to a head that its router has just answered. A record is published
 * after its commit: what was here before the router was asked (`tailBefore`) and is beyond the head is not the shard's.
 */
export function confirmHead(
  buffer: RecordBuffer,
  { shard, sequence: last, hash }: Head,
  logger: Logger,
  tailBefore = 0,
): void {
  const head = { sequence: sequence(last), hash: asHash(hash) };
  const known = buffer.confirm(shardId(shard), head);
  if (known && tailBefore <= head.sequence) return;
  buffer.forgetUnconfirmed(shardId(shard));
  reportForgery(shard, logger);
}

/** Not fatal: nothing of it was sealed. But somebody writes to the stream who must not. */
export function reportForgery(shard: number | undefined, logger: Logger): void {
  logger.error({ shard }, "the stream brought records that the shard does not have; forgot them");
}

/** How far the shard was at the last poll, if the buffer has stood still since; else 0. */
function stalledAt(before: Observation, tail: number): number {
  return before.tail === tail && before.known > tail ? before.known : 0;
}

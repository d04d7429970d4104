// Turnout at a moment. Evidence has no index of times; but within a shard `cast_at` never goes backwards, so that the
// last vote up to a moment is found by halving: first among the blocks of the log, by each one's first vote of the shard,
// then among the shard's votes in one block. Which entries are a shard's says the log's own tree; the evidence is only
// asked for times.
import { setImmediate } from "node:timers/promises";
import { decodeEntry } from "../ballot/entry.ts";
import { ServiceError } from "../core/errors.ts";
import type { ShardId } from "../core/ids.ts";
import { BLOCK_ENTRIES, firstIndexOf } from "../evidence/layout.ts";
import { TILE_WIDTH } from "../tlog/tile.ts";
import { lastWhere, recordAt, type SealedLog } from "./locate.ts";
import { lastBlockOf } from "./stored-segments.ts";

/** Objects that one question may cost: the blocks and votes of 16 shards of 300 million take some 2,000. */
const MOST_WORK = 20_000;
/** Entry bundles of a block. */
const BLOCK_WORK = BLOCK_ENTRIES / TILE_WIDTH;

/** The log indices of each shard's votes in a block, in order. */
type BlockPlaces = ReadonlyMap<ShardId, readonly number[]>;

/** Reads where votes are and when they were cast, remembers it for one question, and gives up when it costs too much. */
export class TurnoutSearch {
  readonly #log: SealedLog;
  readonly #signal: AbortSignal;
  readonly #blocks = new Map<number, Promise<BlockPlaces>>();
  #work = 0;

  constructor(log: SealedLog, signal: AbortSignal) {
    this.#log = log;
    this.#signal = signal;
  }

  /** How many votes of a shard had been cast by a moment. */
  async votesOf(shard: ShardId, asOf: number): Promise<number> {
    const { tree } = this.#log;
    const wasCast = async (index: number) => (await this.#record(index)).castAt <= asOf;
    const numbers = Array.from({ length: lastBlockOf(tree.size) }, (_, index) => index + 1);
    const block = await lastWhere(numbers, async (number) => {
      const [first] = (await this.#places(number)).get(shard) ?? [];
      return first === undefined ? undefined : wasCast(first);
    });
    if (block === undefined) return 0;
    const last = await lastWhere((await this.#places(block)).get(shard) ?? [], wasCast);
    return last === undefined ? 0 : (await this.#record(last)).sequence;
  }

  async #record(index: number) {
    this.#spend(1);
    const found = await recordAt(this.#log, index);
    if (!found) throw new ServiceError("data-loss", `log index ${index} is a vote and its evidence is none`);
    return found.record;
  }

  #places(block: number): Promise<BlockPlaces> {
    const known = this.#blocks.get(block);
    if (known) return known;
    this.#spend(BLOCK_WORK);
    const places = this.#readPlaces(block);
    this.#blocks.set(block, places);
    return places;
  }

  async #readPlaces(block: number): Promise<BlockPlaces> {
    const { tree } = this.#log;
    const places = new Map<ShardId, number[]>();
    const end = Math.min(tree.size, firstIndexOf(block + 1));
    for (let index = firstIndexOf(block); index < end; index++) {
      if (index % TILE_WIDTH === 0) await setImmediate();
      const entry = decodeEntry(await tree.entry(index));
      if (entry.type !== "vote") continue;
      const own = places.get(entry.shard);
      if (own) own.push(index);
      else places.set(entry.shard, [index]);
    }
    return places;
  }

  #spend(work: number): void {
    this.#signal.throwIfAborted();
    this.#work += work;
    if (this.#work > MOST_WORK)
      throw tooMuch("this log has too many blocks without votes of a shard to search here");
  }
}

/** A question for `psephos query`, which reads everything, on a machine that has nothing else to do. */
export function tooMuch(why: string): ServiceError {
  return new ServiceError("resource-exhausted", `${why}: ask with psephos query`, {
    reason: "TOO_MUCH_WORK",
  });
}

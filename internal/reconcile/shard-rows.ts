import type { VoteRecord } from "../ballot/record.ts";
import { ServiceError } from "../core/errors.ts";
import { type Sequence, type ShardId, sequence } from "../core/ids.ts";

/** Reads a shard's rows as ShardRouter gives them: from a sequence on, so many at most, 0 for all there are. */
export type ReadChain = (
  shard: ShardId,
  first: Sequence,
  limit: number,
) => AsyncIterable<readonly VoteRecord[]>;

export interface ShardRows {
  /** By sequence, nearly always one each. Those that are not there are missing. */
  readonly rows: ReadonlyMap<number, readonly VoteRecord[]>;
  /** Ranges with rows missing of which nobody looked at each: too many are gone. */
  readonly holed: readonly { readonly first: number; readonly last: number }[];
}

/** Calls that the search for holes in one range may take: hundreds of holes, or one that is half the table. */
const MAX_CALLS = 1_000;

/**
 * The rows of a range, whatever became of the table. ShardRouter refuses a range with a hole, or with one row too many,
 * as a whole: then halves are asked for, down to single sequences, so that all that is there is found.
 */
export async function readRows(
  readChain: ReadChain,
  shard: ShardId,
  first: Sequence,
  last: Sequence,
): Promise<ShardRows> {
  const rows = new Map<number, VoteRecord[]>();
  const holed: { first: number; last: number }[] = [];
  let calls = 0;
  const read = async (from: number, to: number): Promise<void> => {
    if (calls++ >= MAX_CALLS) {
      holed.push({ first: from, last: to });
      return;
    }
    const found = await readRange(readChain, shard, sequence(from), to - from + 1);
    // One row each and in order, or all that are under the only sequence that was asked for.
    if (found && (found.length <= to - from + 1 || from === to)) {
      found.forEach((record, i) => {
        const at = from === to ? from : from + i;
        rows.set(at, [...(rows.get(at) ?? []), record]);
      });
    } else if (from < to) {
      const middle = Math.floor((from + to) / 2);
      await read(from, middle);
      await read(middle + 1, to);
    }
  };
  await read(first, last);
  return { rows, holed };
}

/** Undefined when ShardRouter says that the range is not whole. */
async function readRange(
  readChain: ReadChain,
  shard: ShardId,
  first: Sequence,
  limit: number,
): Promise<VoteRecord[] | undefined> {
  const found: VoteRecord[] = [];
  try {
    for await (const records of readChain(shard, first, limit)) found.push(...records);
    return found;
  } catch (error) {
    if (isLoss(error)) return undefined;
    throw error;
  }
}

/** Whether the rows are at fault, and not the way to them. */
export function isLoss(error: unknown): boolean {
  return (error instanceof ServiceError && error.kind === "data-loss") || error instanceof RangeError;
}

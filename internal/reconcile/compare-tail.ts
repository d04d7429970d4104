import { ChainError, type ChainHead, verifyNext } from "../ballot/chain.ts";
import type { VoteRecord } from "../ballot/record.ts";
import { messageOf } from "../core/errors.ts";
import { sequence } from "../core/ids.ts";
import type { Differences } from "./difference.ts";
import { isLoss, type ReadChain } from "./shard-rows.ts";

export interface CompareTailOptions {
  readonly readChain: ReadChain;
  /** Where the evidence leaves the shard. */
  readonly head: ChainHead;
  readonly shards: number;
  /** Whether nothing may follow. */
  readonly closed: boolean;
  /** Why the one-vote rule forbids a record that follows the sealed ones and those given before; undefined if not. */
  readonly voterProblem: (record: VoteRecord) => string | undefined;
  readonly differences: Differences;
}

/** Verifies the rows that are not sealed yet: that they continue the sealed chain, and break no voter's one vote. */
export async function compareTail(options: CompareTailOptions): Promise<void> {
  const { readChain, shards, closed, voterProblem, differences } = options;
  let { head } = options;
  const { shard } = head;
  try {
    for await (const records of readChain(shard, sequence(head.sequence + 1), 0)) {
      for (const record of records) {
        differences.compared.rows++;
        const place = { shard, sequence: record.sequence };
        if (closed) {
          const problem = `in the database, and the closed log ends at sequence ${options.head.sequence}`;
          differences.add({ ...place, kind: "unsealed", problem });
          return;
        }
        head = verifyNext(head, record, shards);
        const problem = voterProblem(record);
        if (problem) differences.add({ ...place, kind: "voter", problem: `${problem}, in the database` });
      }
    }
  } catch (error) {
    if (!(error instanceof ChainError || isLoss(error))) throw error;
    const at = error instanceof ChainError ? error.sequence : sequence(head.sequence + 1);
    const problem = messageOf(error).replace(/^shard \d+(, sequence \d+)?: /, "");
    differences.add({ shard, sequence: at, kind: "unsealed", problem: `${problem}, in the database` });
  }
}

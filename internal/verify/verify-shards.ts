import { ChainError, genesisHead, verifyNext } from "../ballot/chain.ts";
import type { VoteRecord } from "../ballot/record.ts";
import type { ShardHead } from "../ballot/shard-head.ts";
import { equalBytes } from "../core/bytes.ts";
import { messageOf, ServiceError } from "../core/errors.ts";
import { type ShardId, shardId } from "../core/ids.ts";
import type { Hash } from "../core/sha256.ts";
import type { VerificationReport } from "./report.ts";

export interface VerifyShardsOptions {
  /** A shard's records from the first on, in order, as its database has them now. */
  readonly readChain: (shard: ShardId) => AsyncIterable<readonly VoteRecord[]>;
  readonly shards: number;
  readonly manifestHash: Hash;
  /** Where the evidence, or the public log, leaves each shard. */
  readonly sealedHeads?: readonly ShardHead[] | undefined;
  /** Whether they are the last ones: nothing may follow. */
  readonly closed: boolean;
  readonly report: VerificationReport;
}

/**
 * Verifies what the databases hold: every chain from its genesis on, and that it passes through the sealed record of
 * its shard, which what comes before it determines. A changed, missing or inserted row is named by its place.
 */
export async function verifyShards(options: VerifyShardsOptions): Promise<void> {
  if (!options.sealedHeads) options.report.unchecked("that the databases have the records that are sealed");
  for (let shard = 0; shard < options.shards; shard++) await verifyShard(options, shardId(shard));
}

async function verifyShard(options: VerifyShardsOptions, shard: ShardId): Promise<void> {
  const { readChain, shards, manifestHash, closed, report } = options;
  const sealed = options.sealedHeads?.[shard];
  let head = genesisHead(manifestHash, shard);
  try {
    for await (const records of readChain(shard)) {
      for (const record of records) {
        head = verifyNext(head, record, shards);
        report.checked.rows++;
        if (sealed && record.sequence === sealed.sequence && !equalBytes(record.hash, sealed.hash)) {
          const place = { shard, sequence: record.sequence };
          report.problem(place, "the database has another record than the one sealed");
        }
      }
    }
  } catch (error) {
    if (!isFault(error)) throw error;
    const sequence = error instanceof ChainError ? error.sequence : undefined;
    report.problem({ shard, sequence }, `${messageOf(error)}, in the database`);
    report.unchecked(`the database's records of shard ${shard} after sequence ${head.sequence}`);
    return;
  }
  if (sealed && head.sequence < sealed.sequence) {
    const place = { shard, sequence: sealed.sequence };
    report.problem(place, `sealed, and the database ends at sequence ${head.sequence}`);
  }
  if (sealed && closed && head.sequence > sealed.sequence) {
    const place = { shard, sequence: head.sequence };
    report.problem(place, `in the database, and the closed log ends at sequence ${sealed.sequence}`);
  }
}

/** Whether the records are at fault, and not the way to them: ShardRouter itself reports a row that is missing. */
function isFault(error: unknown): boolean {
  if (error instanceof ServiceError) return error.kind === "data-loss";
  return error instanceof ChainError || error instanceof RangeError;
}

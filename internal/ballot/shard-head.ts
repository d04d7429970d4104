import type { Sequence } from "../core/ids.ts";
import type { Hash } from "../core/sha256.ts";

/** How far a shard's chain has come. A list of them is in order of shard, one for each. */
export interface ShardHead {
  /** The last record's; 0 before the first. */
  readonly sequence: Sequence;
  /** The last record's; the genesis hash before the first. */
  readonly hash: Hash;
}

// In the layout object-per-vote each record is an object: its line, as a segment would have it. There is no log index in
// it, so that a record always has the same bytes. docs/spec.md, "Vote object".
import { FormatError } from "../ballot/format-error.ts";
import type { VoteRecord } from "../ballot/record.ts";
import { utf8 } from "../core/bytes.ts";
import { type VoteId, voteIdOf } from "../core/ids.ts";
import { LINE_END, readLine, writeLine } from "./segment-line.ts";

/** The longest sealed choice that a record can have, in base64, and what stands around it. */
const MAX_VOTE_OBJECT_BYTES = 96 * 1024;

export function encodeVoteObject(record: VoteRecord): Uint8Array {
  return utf8(`${writeLine({ type: "vote", record })}\n`);
}

/** The vote that an object must be. */
export interface NamedVote {
  readonly key: string;
  readonly id: VoteId;
  /** Of its election. */
  readonly shards: number;
}

/** Reads the object of a vote. Throws a FormatError, which begins with its key, when it is not that vote. */
export function decodeVoteObject(object: Uint8Array, { key, id, shards }: NamedVote): VoteRecord {
  try {
    if (object.length > MAX_VOTE_OBJECT_BYTES)
      throw new FormatError(`has ${object.length} bytes, too many for a vote`);
    if (object.at(-1) !== LINE_END) throw new FormatError("its line has no end");
    const line = readLine(object, 0, object.length - 1);
    if (line.type !== "vote") throw new FormatError(`has a line of type ${line.type}`);
    const { shard, sequence } = line.record;
    if (shard >= shards || voteIdOf(shard, sequence, shards) !== id) {
      throw new FormatError(`holds sequence ${sequence} of shard ${shard}, which has another vote id`);
    }
    return line.record;
  } catch (error) {
    if (!(error instanceof FormatError || error instanceof RangeError)) throw error;
    throw new FormatError(`${key}: ${error.message}`, { cause: error });
  }
}

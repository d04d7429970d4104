// Who voted, in 32 bytes a record: what the one-vote rule needs to know of it, and where it stands.
//
//   pseudonym[16] ‖ u32 revision ‖ u48 vote id ‖ u48 log index
//
// Half of a pseudonym is enough: two of 300 million voters have the same 128 bits with a probability below 10^-21.
import { type VoteId, voteId, voteIdOf } from "../../core/ids.ts";
import type { SoundRecord } from "../../verify/check-segment.ts";

export const ROW_SIZE = 32;
const VOTER_SIZE = 16;

export interface VoterRow {
  /** A byte a character, so that it can be a key. */
  readonly voter: string;
  readonly revision: number;
  readonly id: VoteId;
  readonly index: number;
}

export function packVoters(records: readonly SoundRecord[], shards: number): Uint8Array {
  const rows = Buffer.from(new ArrayBuffer(records.length * ROW_SIZE));
  records.forEach(({ index, record }, i) => {
    const at = i * ROW_SIZE;
    rows.set(record.voterPseudonym.subarray(0, VOTER_SIZE), at);
    rows.writeUInt32BE(record.revision, at + 16);
    rows.writeUIntBE(voteIdOf(record.shard, record.sequence, shards), at + 20, 6);
    rows.writeUIntBE(index, at + 26, 6);
  });
  return rows;
}

/** A number that is the same for all records of a voter, from 0 to 65,535. */
export function voterBucket(rows: Uint8Array, at: number): number {
  return ((rows[at] ?? 0) << 8) | (rows[at + 1] ?? 0);
}

export function* unpackVoters(bytes: Uint8Array): Generator<VoterRow, void, undefined> {
  const rows = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; at + ROW_SIZE <= rows.length; at += ROW_SIZE) {
    yield {
      voter: rows.toString("latin1", at, at + VOTER_SIZE),
      revision: rows.readUInt32BE(at + 16),
      id: voteId(rows.readUIntBE(at + 20, 6)),
      index: rows.readUIntBE(at + 26, 6),
    };
  }
}

// Who voted, in 32 bytes a record: what the one-vote rule needs to know of it, and where it stands.
//
//   pseudonym[16] ‖ u32 revision ‖ u48 vote id ‖ u48 log index
//
// Half of a pseudonym is enough: two of 300 million voters have the same 128 bits with a probability below 10^-21.
import { type VoteId, voteId, voteIdOf } from "../../core/ids.ts";
import type { SoundRecord } from "../../verify/check-segment.ts";

export const ROW_SIZE = 32;
export const VOTER_SIZE = 16;

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

/** Reads packed rows by their number, from 0. */
export class VoterRows {
  readonly count: number;
  readonly #view: DataView;

  constructor(rows: Uint8Array) {
    this.#view = new DataView(rows.buffer, rows.byteOffset, rows.length);
    this.count = Math.floor(rows.length / ROW_SIZE);
  }

  revision(row: number): number {
    return this.#view.getUint32(row * ROW_SIZE + 16);
  }

  id(row: number): VoteId {
    return voteId(this.#u48(row * ROW_SIZE + 20));
  }

  index(row: number): number {
    return this.#u48(row * ROW_SIZE + 26);
  }

  #u48(at: number): number {
    return this.#view.getUint16(at) * 2 ** 32 + this.#view.getUint32(at + 2);
  }
}

import { electionId } from "../core/ids.ts";
import type { ElectionState, StoredElection } from "../shard/ports.ts";

/** An election as its table has it. */
export interface ElectionColumns {
  readonly election: number;
  readonly election_id: string;
  readonly manifest: Uint8Array;
  readonly placement: string[];
  readonly state: ElectionState;
  readonly created_at: number;
}

export function electionOf(row: ElectionColumns): StoredElection {
  return {
    election: row.election,
    electionId: electionId(row.election_id),
    manifestBytes: row.manifest,
    placement: row.placement,
    state: row.state,
    createdAt: row.created_at,
  };
}

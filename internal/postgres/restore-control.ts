// The last transaction of a restore: heads, copies and control data.
import type { Client } from "pg";
import type { ControlData, RestoredHead } from "../restore/ports.ts";
import type { StoredElection } from "../shard/ports.ts";
import { byteaArray, int2Array, int8Array } from "./binary-array.ts";
import { encodeShardHeads } from "./log-head-store.ts";

/** Triggers see to it that nothing moves back. */
export async function writeHeads(
  client: Client,
  election: number,
  heads: readonly RestoredHead[],
): Promise<void> {
  await client.query({
    text: `INSERT INTO shard_heads (election, shard, sequence, hash, cast_at, closed, sealed_sequence, genesis)
           SELECT $1, k.shard, k.sequence, k.hash, k.cast_at, k.closed, k.sealed, k.genesis
           FROM unnest($2::smallint[], $3::bigint[], $4::bytea[], $5::bigint[], $6::boolean[], $7::bigint[], $8::bytea[])
             AS k (shard, sequence, hash, cast_at, closed, sealed, genesis)
           ON CONFLICT (election, shard) DO UPDATE
           SET sequence = excluded.sequence, hash = excluded.hash, cast_at = excluded.cast_at, closed = excluded.closed,
               sealed_sequence = greatest(shard_heads.sealed_sequence, excluded.sealed_sequence)`,
    values: [
      election,
      int2Array(heads.map((head) => head.shard)),
      int8Array(heads.map((head) => head.sequence)),
      byteaArray(heads.map((head) => head.hash)),
      int8Array(heads.map((head) => head.castAt)),
      heads.map((head) => head.closed),
      int8Array(heads.map((head) => head.sealedSequence)),
      byteaArray(heads.map((head) => head.genesis)),
    ],
  });
}

export async function writeCopy(client: Client, election: StoredElection): Promise<void> {
  await client.query({
    text: `INSERT INTO election_copies (election, election_id, manifest, placement, created_at)
           VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`,
    values: [
      election.election,
      election.electionId,
      election.manifestBytes,
      election.placement,
      election.createdAt,
    ],
  });
}

export async function writeControlData(
  client: Client,
  { election }: StoredElection,
  { logHead, state }: ControlData,
): Promise<void> {
  await client.query({
    text: `INSERT INTO log_heads (election_id, tree_size, root, shard_heads, closed, committed_at)
           VALUES ($1, $2, $3, $4, $5, $6)
           ON CONFLICT (election_id) DO UPDATE
           SET tree_size = excluded.tree_size, root = excluded.root, shard_heads = excluded.shard_heads,
               closed = excluded.closed, committed_at = excluded.committed_at
           WHERE log_heads.tree_size < excluded.tree_size`,
    values: [
      logHead.electionId,
      logHead.treeSize,
      logHead.root,
      encodeShardHeads(logHead.shardHeads),
      logHead.closed,
      logHead.committedAt,
    ],
  });
  await client.query({
    text: "UPDATE elections SET state = $2 WHERE election = $1 AND state <> $2",
    values: [election, state],
  });
}

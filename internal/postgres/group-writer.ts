// Appends groups of votes: one transaction, two round trips.
import type { Client } from "pg";
import { sequence } from "../core/ids.ts";
import { asHash } from "../core/sha256.ts";
import type { Found, Group, KnownVote, ShardKey, StoredHead, VoterKey, Writes } from "../shard/ports.ts";
import { byteaArray, int2Array, int4Array, int8Array } from "./binary-array.ts";
import { type ConnectionOptions, connect, discard } from "./connection.ts";
import { failureOf } from "./failure.ts";
import { type HeadColumns, headOf } from "./shard-rows.ts";

/**
 * The heads come back as they are once the lock is ours, whatever this statement's snapshot saw: READ COMMITTED reads
 * a row again after waiting for it. Locks are taken in the order of the sort, which is the same for everybody, so two
 * routers cannot wait for each other. NO KEY, because the key is not what changes.
 */
export const LOCK_HEADS = `
  SELECT h.election, h.shard, h.sequence, h.hash, h.cast_at, h.closed, h.sealed_sequence, h.genesis
  FROM unnest($1::integer[], $2::smallint[]) AS k (election, shard)
  JOIN shard_heads h USING (election, shard)
  ORDER BY h.election, h.shard
  FOR NO KEY UPDATE OF h`;

/** At most one row a voter, however often they voted: the one with the same request's token, or else the latest. */
export const FIND_VOTES = `
  SELECT k.ordinal, r.request_token = k.token AS same_request, r.sequence, r.revision, r.cast_at, r.record_hash
  FROM unnest($1::integer[], $2::smallint[], $3::bytea[], $4::bytea[])
    WITH ORDINALITY AS k (election, shard, voter, token, ordinal)
  CROSS JOIN LATERAL (
    SELECT * FROM records
    WHERE election = k.election AND shard = k.shard AND voter_pseudonym = k.voter
    ORDER BY request_token = k.token DESC, revision DESC
    LIMIT 1
  ) AS r`;

export const INSERT = `
  WITH heads AS (
    UPDATE shard_heads h SET sequence = k.sequence, hash = k.hash, cast_at = k.cast_at
    FROM unnest($10::integer[], $11::smallint[], $12::bigint[], $13::bytea[], $14::bigint[])
      AS k (election, shard, sequence, hash, cast_at)
    WHERE h.election = k.election AND h.shard = k.shard
  )
  INSERT INTO records (election, shard, sequence, voter_pseudonym, revision, request_token, sealed_choice, cast_at,
                       record_hash)
  SELECT * FROM unnest($1::integer[], $2::smallint[], $3::bigint[], $4::bytea[], $5::integer[], $6::bytea[],
                       $7::bytea[], $8::bigint[], $9::bytea[])`;

interface KnownVoteColumns {
  readonly ordinal: number;
  readonly same_request: boolean;
  readonly sequence: number;
  readonly revision: number;
  readonly cast_at: number;
  readonly record_hash: Uint8Array;
}

/** One connection that appends, one group after the other. It is opened when needed and dropped at any failure. */
export class GroupWriter implements AsyncDisposable {
  readonly #options: ConnectionOptions;
  #client: Client | undefined;

  constructor(options: ConnectionOptions) {
    this.#options = options;
  }

  /**
   * Locks the group's heads, looks its voters up, and commits what `decide` makes of it.
   *
   * `decide` is synchronous: while heads are locked, nothing is waited for but Postgres. When this rejects, the writes
   * may have been committed or not, unless `decide` was never called. Whoever tries again will know: this
   * transaction's locks are freed only by its end, so the next one on these heads sees all of it or nothing.
   */
  async append(group: Group, decide: (found: Found) => Writes): Promise<void> {
    try {
      this.#client ??= await connect(this.#options, true);
      await append(this.#client, group, decide);
    } catch (error) {
      // Its transaction is in some unknown state; the end of the connection ends that.
      if (this.#client !== undefined) discard(this.#client);
      this.#client = undefined;
      throw failureOf(this.#options.name, error);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client?.end();
  }
}

async function append(client: Client, group: Group, decide: (found: Found) => Writes): Promise<void> {
  // Sent together, run one after the other: the search begins when the heads are locked, with a snapshot of then.
  // Under a stricter isolation level it would keep the snapshot from before the wait and miss the votes of whoever
  // held the lock.
  const [, heads, votes] = await Promise.all([
    client.query("BEGIN ISOLATION LEVEL READ COMMITTED"),
    lockHeads(client, group.shards),
    findVotes(client, group.voters),
  ]);
  const writes = decide({ heads, votes });
  const [inserted, { command }] = await Promise.all([insert(client, writes), client.query("COMMIT")]);
  // COMMIT of a transaction that has failed rolls it back and says so in its command tag only.
  if (command !== "COMMIT" || inserted !== writes.records.length) {
    throw new TypeError(`${command} after ${inserted} of ${writes.records.length} records`);
  }
}

async function lockHeads(client: Client, shards: readonly ShardKey[]): Promise<StoredHead[]> {
  const { rows } = await client.query<HeadColumns>({
    name: "lock-heads",
    text: LOCK_HEADS,
    values: [int4Array(shards.map((key) => key.election)), int2Array(shards.map((key) => key.shard))],
  });
  return rows.map(headOf);
}

async function findVotes(client: Client, voters: readonly VoterKey[]): Promise<KnownVote[]> {
  const { rows } = await client.query<KnownVoteColumns>({
    name: "find-votes",
    text: FIND_VOTES,
    values: [
      int4Array(voters.map((voter) => voter.election)),
      int2Array(voters.map((voter) => voter.shard)),
      byteaArray(voters.map((voter) => voter.voterPseudonym)),
      byteaArray(voters.map((voter) => voter.requestToken)),
    ],
  });
  return rows.map((row) => ({
    index: row.ordinal - 1,
    sameRequest: row.same_request,
    sequence: sequence(row.sequence),
    revision: row.revision,
    castAt: row.cast_at,
    hash: asHash(row.record_hash),
  }));
}

async function insert(client: Client, { records, heads }: Writes): Promise<number> {
  if (records.length === 0) return 0;
  const { rowCount } = await client.query({
    name: "insert",
    text: INSERT,
    values: [
      int4Array(records.map((record) => record.election)),
      int2Array(records.map((record) => record.shard)),
      int8Array(records.map((record) => record.sequence)),
      byteaArray(records.map((record) => record.voterPseudonym)),
      int4Array(records.map((record) => record.revision)),
      byteaArray(records.map((record) => record.requestToken)),
      byteaArray(records.map((record) => record.sealedChoice)),
      int8Array(records.map((record) => record.castAt)),
      byteaArray(records.map((record) => record.hash)),
      int4Array(heads.map((head) => head.election)),
      int2Array(heads.map((head) => head.shard)),
      int8Array(heads.map((head) => head.sequence)),
      byteaArray(heads.map((head) => head.hash)),
      int8Array(heads.map((head) => head.castAt)),
    ],
  });
  return rowCount ?? 0;
}

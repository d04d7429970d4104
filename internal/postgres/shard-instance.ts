// What ShardRouter needs of one Postgres instance.
import type { VoteRecord } from "../ballot/record.ts";
import { ServiceError } from "../core/errors.ts";
import { type Sequence, type ShardId, sequence } from "../core/ids.ts";
import type { Hash } from "../core/sha256.ts";
import type {
  Astray,
  ElectionCopies,
  Found,
  Group,
  ShardInstance,
  ShardKey,
  StoredHead,
  Writes,
} from "../shard/ports.ts";
import type { Logger } from "../telemetry/logger.ts";
import { byteaArray, int2Array, int8Array } from "./binary-array.ts";
import { type ConnectionOptions, connect, discard } from "./connection.ts";
import { PostgresElectionCopies } from "./election-copies.ts";
import { failureOf } from "./failure.ts";
import { GroupWriter } from "./group-writer.ts";
import { Pool } from "./pool.ts";
import { type HeadColumns, headOf, type RecordColumns, recordOf } from "./shard-rows.ts";

const HEAD_COLUMNS = "election, shard, sequence, hash, cast_at, closed, sealed_sequence, genesis";

export interface PostgresShardInstanceOptions {
  readonly connection: ConnectionOptions;
  /** For everything but appending, which has a connection of its own. */
  readonly connections: number;
  readonly logger: Logger;
}

/** Every method is one transaction, and safe to repeat. Failures are ServiceErrors: failure.ts. */
export class PostgresShardInstance implements ShardInstance, AsyncDisposable {
  readonly name: string;
  readonly copies: ElectionCopies;
  readonly #connection: ConnectionOptions;
  readonly #writer: GroupWriter;
  readonly #pool: Pool;

  constructor({ connection, connections, logger }: PostgresShardInstanceOptions) {
    this.name = connection.name;
    this.#connection = connection;
    this.#writer = new GroupWriter(connection);
    this.#pool = new Pool({ connection, connections, logger });
    this.copies = new PostgresElectionCopies({ pool: this.#pool });
  }

  /** See GroupWriter. One at a time. */
  append(group: Group, decide: (found: Found) => Writes): Promise<void> {
    return this.#writer.append(group, decide);
  }

  /** Waits for the appends that hold a shard's head, also for one whose connection is gone. */
  async settle({ election, shard }: ShardKey): Promise<void> {
    await this.#pool.execute({
      text: "SELECT 1 FROM shard_heads WHERE election = $1 AND shard = $2 FOR SHARE",
      values: [election, shard],
    });
  }

  /** Whether votes can be written here. Rejects if not. On a new connection, because those in use may be dead. */
  async ping(): Promise<void> {
    try {
      const client = await connect(this.#connection);
      const { rows } = await client
        .query<{ standby: boolean }>("SELECT pg_is_in_recovery() AS standby")
        .finally(() => discard(client));
      if (rows[0]?.standby) throw new ServiceError("unavailable", `instance ${this.name} is a standby`);
    } catch (error) {
      throw failureOf(this.name, error);
    }
  }

  /** Makes the heads of an election's shards here. Heads that are there must be of the same election. */
  async createHeads(election: number, heads: readonly { shard: ShardId; genesis: Hash }[]): Promise<void> {
    const values = [
      election,
      int2Array(heads.map((head) => head.shard)),
      byteaArray(heads.map((head) => head.genesis)),
    ];
    await this.#pool.execute({
      text: `INSERT INTO shard_heads (election, shard, hash, genesis)
             SELECT $1, k.shard, k.genesis, k.genesis FROM unnest($2::smallint[], $3::bytea[]) AS k (shard, genesis)
             ON CONFLICT DO NOTHING`,
      values,
    });
    const [other] = await this.#pool.query<{ shard: number }>({
      text: `SELECT k.shard FROM unnest($2::smallint[], $3::bytea[]) AS k (shard, genesis)
             JOIN shard_heads h ON h.election = $1 AND h.shard = k.shard AND h.genesis <> k.genesis LIMIT 1`,
      values,
    });
    if (other !== undefined) {
      throw new ServiceError(
        "data-loss",
        `instance ${this.name} has another election's shard ${other.shard}`,
        {
          reason: "FOREIGN_INSTANCE",
        },
      );
    }
  }

  /** The heads of an election's shards here, in order of shard. */
  async readHeads(election: number): Promise<StoredHead[]> {
    const rows = await this.#pool.query<HeadColumns>({
      name: "read-heads",
      text: `SELECT ${HEAD_COLUMNS} FROM shard_heads WHERE election = $1 ORDER BY shard`,
      values: [election],
    });
    return rows.map(headOf);
  }

  /** The heads of all elections that have votes after what is confirmed as sealed. */
  async readUnsealedHeads(): Promise<StoredHead[]> {
    const rows = await this.#pool.query<HeadColumns>({
      text: `SELECT ${HEAD_COLUMNS} FROM shard_heads WHERE sealed_sequence < sequence ORDER BY election, shard`,
    });
    return rows.map(headOf);
  }

  /**
   * Closes all heads of an election here: an append that holds a head's lock comes before, and every later one finds
   * the head closed.
   */
  async closeHeads(election: number): Promise<void> {
    await this.#pool.execute({
      text: `WITH locked AS (
               SELECT election, shard FROM shard_heads WHERE election = $1 AND NOT closed
               ORDER BY election, shard FOR NO KEY UPDATE
             )
             UPDATE shard_heads h SET closed = true
             FROM locked l WHERE h.election = l.election AND h.shard = l.shard`,
      values: [election],
    });
  }

  /** Records by sequence, both ends included, in order. Those that are not there are missing. */
  async readRecords(key: ShardKey, first: Sequence, last: Sequence): Promise<VoteRecord[]> {
    const rows = await this.#pool.query<RecordColumns>({
      name: "read-records",
      text: `SELECT sequence, voter_pseudonym, revision, sealed_choice, cast_at, record_hash FROM records
             WHERE election = $1 AND shard = $2 AND sequence BETWEEN $3 AND $4 ORDER BY sequence`,
      values: [key.election, key.shard, first, last],
    });
    return rows.map((row) => recordOf(key.shard, row));
  }

  /** One statement sees one moment: an append, which writes rows and head together, is all in it or not at all. */
  async findAstray({ election, shard }: ShardKey): Promise<Astray> {
    const [found] = await this.#pool.query<{
      before: number | null;
      beyond: number | null;
      head: boolean | null;
    }>({
      text: `SELECT
               (SELECT min(sequence) FROM records r
                WHERE r.election = h.election AND r.shard = h.shard AND r.sequence < 1) AS before,
               (SELECT min(sequence) FROM records r
                WHERE r.election = h.election AND r.shard = h.shard AND r.sequence > h.sequence) AS beyond,
               CASE h.sequence WHEN 0 THEN h.hash <> h.genesis ELSE
                 (SELECT bool_and(r.record_hash <> h.hash) FROM records r
                  WHERE r.election = h.election AND r.shard = h.shard AND r.sequence = h.sequence) END AS head
             FROM shard_heads h WHERE h.election = $1 AND h.shard = $2`,
      values: [election, shard],
    });
    return { row: found?.before ?? found?.beyond ?? undefined, head: found?.head ?? false };
  }

  /** Where a voter's records are. The index `records_voter` begins with all that is asked for, and has their order. */
  async findRecords(
    key: ShardKey,
    voterPseudonym: Uint8Array,
    afterRevision: number,
    limit: number,
  ): Promise<{ readonly sequence: Sequence; readonly revision: number }[]> {
    const rows = await this.#pool.query<{ sequence: number; revision: number }>({
      name: "find-records",
      text: `SELECT sequence, revision FROM records
             WHERE election = $1 AND shard = $2 AND voter_pseudonym = $3 AND revision > $4
             ORDER BY revision LIMIT $5`,
      values: [key.election, key.shard, Buffer.from(voterPseudonym), afterRevision, limit],
    });
    return rows.map((row) => ({ sequence: sequence(row.sequence), revision: row.revision }));
  }

  /** Moves the sealed sequence of shards forward; never back. Refused beyond a chain's end: votes were lost here. */
  async confirmSealed(
    election: number,
    shards: readonly { shard: ShardId; sequence: Sequence }[],
  ): Promise<void> {
    await this.#pool.execute({
      // Locked in the order in which everybody locks heads.
      text: `WITH moved AS (
               SELECT h.election, h.shard, k.sequence
               FROM unnest($2::smallint[], $3::bigint[]) AS k (shard, sequence)
               JOIN shard_heads h ON h.election = $1 AND h.shard = k.shard AND h.sealed_sequence < k.sequence
               ORDER BY h.election, h.shard FOR NO KEY UPDATE OF h
             )
             UPDATE shard_heads h SET sealed_sequence = m.sequence
             FROM moved m WHERE h.election = m.election AND h.shard = m.shard`,
      values: [
        election,
        int2Array(shards.map(({ shard }) => shard)),
        int8Array(shards.map(({ sequence }) => sequence)),
      ],
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#writer[Symbol.asyncDispose](), this.#pool[Symbol.asyncDispose]()]);
  }
}

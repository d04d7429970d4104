// What `psephos restore` needs of one Postgres instance, as psephos_owner: the services' roles may do none of this.
import { setTimeout as sleep } from "node:timers/promises";
import { type Client, DatabaseError } from "pg";
import type { LogHead } from "../audit/head.ts";
import type { VoteRecord } from "../ballot/record.ts";
import { ServiceError } from "../core/errors.ts";
import { type Sequence, type ShardId, sequence, shardId } from "../core/ids.ts";
import type {
  ControlData,
  FoundElections,
  FoundShard,
  RestoredHead,
  RestoreInstance,
} from "../restore/ports.ts";
import type { ShardKey, StoredElection } from "../shard/ports.ts";
import type { Logger } from "../telemetry/logger.ts";
import { byteaArray, int2Array, int4Array, int8Array } from "./binary-array.ts";
import { type ConnectionOptions, connect, discard } from "./connection.ts";
import { type ElectionColumns, electionOf } from "./election-rows.ts";
import { failureOf } from "./failure.ts";
import { PostgresLogHeadStore } from "./log-head-store.ts";
import { migrate } from "./migrate.ts";
import { Pool } from "./pool.ts";
import { writeControlData, writeCopy, writeHeads } from "./restore-control.ts";
import { type HeadColumns, headOf, type RecordColumns, recordOf } from "./shard-rows.ts";

export interface PostgresRestoreInstanceOptions {
  /** Without a role: it is psephos_owner's. */
  readonly connection: Omit<ConnectionOptions, "role" | "statementTimeoutMs">;
  readonly logger: Logger;
}

/** Two statements at work keep a server busy while the next two batches are read. */
const LANES = 2;
/** Counting the votes of a large election, and waiting for a disk that many write to. */
const STATEMENT_TIMEOUT_MS = 3_600_000;
/** How long the sessions of a process that was killed may take to end. */
const LEAVING_MS = 10_000;
const LOOK_AGAIN_MS = 200;
/** Any number that nothing else in this database locks: one restore or repair at a time. */
export const RESTORE_LOCK = 0x7073_7265;

/**
 * The token of a record whose request nobody knows any more: evidence has none. No request has it, so a voter's second
 * attempt is never taken for a repetition of the first. docs/operations.md, "Recovery".
 */
export const UNKNOWN_REQUEST = new Uint8Array(16);

const SERVICES = ["psephos_router", "psephos_audit"] as const;

/** The constraints of records that are indexes, as migration 0001 has them. */
const INDEXES: Readonly<Record<string, string>> = {
  records_chain: "PRIMARY KEY (election, shard, sequence)",
  records_voter: "UNIQUE (election, shard, voter_pseudonym, revision)",
};

export class PostgresRestoreInstance implements RestoreInstance, AsyncDisposable {
  readonly name: string;
  readonly lanes = LANES;
  readonly #connection: ConnectionOptions;
  readonly #logger: Logger;
  readonly #pool: Pool;
  /** Holds the lock from `shutOut` to the end. The pool cannot: it lets sessions go that are idle for a while. */
  #guard: Client | undefined;

  constructor({ connection, logger }: PostgresRestoreInstanceOptions) {
    this.name = connection.name;
    this.#connection = { ...connection, role: "psephos_owner", statementTimeoutMs: STATEMENT_TIMEOUT_MS };
    this.#logger = logger;
    this.#pool = new Pool({ connection: this.#connection, connections: LANES, logger });
  }

  migrate(): Promise<void> {
    return migrate(this.#connection, this.#logger);
  }

  /**
   * Takes the right to connect from the services' roles, and then looks who is connected: in this order, nobody slips in
   * between. The right is a row of a catalogue, so that it stays taken when this process dies.
   */
  async shutOut(): Promise<boolean> {
    const deadline = performance.now() + LEAVING_MS;
    await this.#lock(deadline);
    const taken = (await this.#mayConnect()).length === SERVICES.length;
    await this.#alterRight("REVOKE");
    try {
      const still = await this.#mayConnect();
      if (still.length > 0) throw this.#cannotShutOut(still);
      await this.#expectNobody(deadline);
    } catch (error) {
      if (taken) await this.admit();
      throw error;
    }
    return taken;
  }

  async admit(): Promise<void> {
    await this.#alterRight("GRANT");
  }

  async findElections(): Promise<FoundElections> {
    const columns = "election, election_id, manifest, placement, created_at";
    const [elections, copies, [numbers]] = [
      await this.#pool.query<ElectionColumns>({ text: `SELECT ${columns}, state FROM elections` }),
      await this.#pool.query<ElectionColumns>({
        text: `SELECT ${columns}, 'open' AS state FROM election_copies`,
      }),
      await this.#pool.query<{ highest: number }>({
        text: `SELECT greatest((SELECT max(election) FROM elections), (SELECT max(election) FROM election_copies),
                               (SELECT max(election) FROM shard_heads), (SELECT max(election) FROM records), 0) AS highest`,
      }),
    ];
    return {
      elections: elections.map(electionOf),
      copies: copies.map(electionOf),
      highestNumber: numbers?.highest ?? 0,
    };
  }

  findLogHead({ electionId }: StoredElection): Promise<LogHead | undefined> {
    return new PostgresLogHeadStore({ pool: this.#pool, connection: this.#connection }).load(electionId);
  }

  async findShards(election: number): Promise<FoundShard[]> {
    const heads = await this.#pool.query<HeadColumns>({
      text: `SELECT election, shard, sequence, hash, cast_at, closed, sealed_sequence, genesis FROM shard_heads
             WHERE election = $1`,
      values: [election],
    });
    const records = await this.#pool.query<{ shard: number; records: number; last: number }>({
      text: `SELECT shard, count(*) AS records, max(sequence) AS last FROM records WHERE election = $1 GROUP BY shard`,
      values: [election],
    });
    const headOfShard = new Map(heads.map((row) => [row.shard, headOf(row)]));
    const counted = new Map(records.map((row) => [row.shard, row]));
    const shards = [...new Set([...headOfShard.keys(), ...counted.keys()])].sort((a, b) => a - b);
    return shards.map((shard) => ({
      shard: shardId(shard),
      records: counted.get(shard)?.records ?? 0,
      last: sequence(counted.get(shard)?.last ?? 0),
      head: headOfShard.get(shard),
    }));
  }

  async findDifference(
    election: number,
    records: readonly VoteRecord[],
  ): Promise<{ shard: ShardId; sequence: Sequence } | undefined> {
    const [row] = await this.#pool.query<{ shard: number; sequence: number }>({
      name: "find-difference",
      text: `SELECT k.shard, k.sequence
             FROM unnest($2::smallint[], $3::bigint[], $4::bytea[], $5::integer[], $6::bytea[], $7::bigint[], $8::bytea[])
               AS k (shard, sequence, voter, revision, choice, cast_at, hash)
             LEFT JOIN records r ON r.election = $1 AND r.shard = k.shard AND r.sequence = k.sequence
             WHERE r.sequence IS NULL
                OR (r.voter_pseudonym, r.revision, r.sealed_choice, r.cast_at, r.record_hash)
                   IS DISTINCT FROM (k.voter, k.revision, k.choice, k.cast_at, k.hash)
             ORDER BY k.shard, k.sequence LIMIT 1`,
      values: [election, ...arraysOf(records)],
    });
    return row && { shard: shardId(row.shard), sequence: sequence(row.sequence) };
  }

  async readRecords({ election, shard }: ShardKey, first: Sequence, last: Sequence): Promise<VoteRecord[]> {
    const rows = await this.#pool.query<RecordColumns>({
      text: `SELECT sequence, voter_pseudonym, revision, sealed_choice, cast_at, record_hash FROM records
             WHERE election = $1 AND shard = $2 AND sequence BETWEEN $3 AND $4 ORDER BY sequence`,
      values: [election, shard, first, last],
    });
    return rows.map((row) => recordOf(shard, row));
  }

  async putIndexesOff(): Promise<void> {
    const [row] = await this.#pool.query<{ some: boolean }>({
      text: "SELECT EXISTS (SELECT FROM records) AS some",
    });
    if (row?.some) return;
    const drops = Object.keys(INDEXES).map((name) => `DROP CONSTRAINT IF EXISTS ${name}`);
    await this.#guarded(`ALTER TABLE records ${drops.join(", ")}`);
  }

  async index(): Promise<void> {
    const there = await this.#pool.query<{ name: string }>({
      text: "SELECT conname AS name FROM pg_constraint WHERE conrelid = 'psephos.records'::regclass",
    });
    const names = new Set(there.map(({ name }) => name));
    for (const [name, definition] of Object.entries(INDEXES)) {
      if (names.has(name)) continue;
      try {
        await this.#guarded(`ALTER TABLE records ADD CONSTRAINT ${name} ${definition}`);
      } catch (error) {
        if (failedWith(error, "23505")) throw await this.#notUnique(name, error); // unique_violation
        throw error;
      }
    }
  }

  async addElection(
    { election, electionId, manifestBytes, placement, createdAt }: StoredElection,
    highest: number,
  ): Promise<void> {
    await this.#pool.execute({
      text: `INSERT INTO elections (election, election_id, manifest, placement, created_at)
             OVERRIDING SYSTEM VALUE VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`,
      values: [election, electionId, manifestBytes, placement, createdAt],
    });
    // The next one that is created gets the next number.
    await this.#pool.query({
      text: `SELECT setval(pg_get_serial_sequence('psephos.elections', 'election'),
                           greatest($1::integer, (SELECT max(election) FROM elections)))`,
      values: [highest],
    });
  }

  async insert(election: number, records: readonly VoteRecord[]): Promise<void> {
    const inserted = await this.#pool.execute({
      name: "restore-records",
      text: `INSERT INTO records (election, shard, sequence, voter_pseudonym, revision, sealed_choice, cast_at,
                                  record_hash, request_token)
             SELECT $1, k.*, $9 FROM unnest($2::smallint[], $3::bigint[], $4::bytea[], $5::integer[], $6::bytea[],
                                            $7::bigint[], $8::bytea[]) AS k`,
      values: [election, ...arraysOf(records), UNKNOWN_REQUEST],
    });
    if (inserted !== records.length) throw new TypeError(`inserted ${inserted} of ${records.length} records`);
  }

  async finish(
    election: StoredElection,
    heads: readonly RestoredHead[],
    control: ControlData | undefined,
  ): Promise<void> {
    try {
      const client = await connect(this.#connection);
      try {
        await client.query("BEGIN");
        await writeHeads(client, election.election, heads);
        // Only where there are shards of it, as ShardRouter makes them.
        if (heads.length > 0) await writeCopy(client, election);
        if (control) await writeControlData(client, election, control);
        await client.query("COMMIT");
      } finally {
        discard(client);
      }
    } catch (error) {
      throw failureOf(this.name, error);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#guard) discard(this.#guard);
    await this.#pool[Symbol.asyncDispose]();
  }

  /** A session's lock goes with the session, however that ends. */
  async #lock(deadline: number): Promise<void> {
    try {
      this.#guard ??= await connect(this.#connection);
    } catch (error) {
      throw failureOf(this.name, error);
    }
    while (true) {
      const [row] = await this.#guarded<{ locked: boolean }>(
        `SELECT pg_try_advisory_lock(${RESTORE_LOCK}) AS locked`,
      );
      if (row?.locked) return;
      if (performance.now() > deadline) {
        throw new ServiceError(
          "failed-precondition",
          `another restore, or a repair, is at work on instance ${this.name}: wait for its end, or stop it first`,
          { reason: "RESTORE_RUNNING" },
        );
      }
      await sleep(LOOK_AGAIN_MS);
    }
  }

  async #expectNobody(deadline: number): Promise<void> {
    for (let others = await this.#others(); others.length > 0; others = await this.#others()) {
      // A service stays; a killed restore's statement ends, and then its session.
      if (others.some((role) => role !== "psephos_owner") || performance.now() > deadline) {
        throw new ServiceError(
          "failed-precondition",
          `${[...new Set(others)].join(" and ")} ${others.length > 1 ? "are" : "is"} connected to instance ${this.name}: ` +
            "stop the services, and whatever else is at work there, first",
          { reason: "SERVICES_RUNNING" },
        );
      }
      await sleep(LOOK_AGAIN_MS);
    }
  }

  /** The roles of the sessions that are not this one. */
  async #others(): Promise<string[]> {
    const rows = await this.#guarded<{ role: string }>(
      `SELECT usename AS role FROM pg_stat_activity
       WHERE datname = current_database() AND pid <> pg_backend_pid()
         AND usename IN ('${SERVICES.join("', '")}', 'psephos_owner')`,
    );
    return rows.map(({ role }) => role);
  }

  async #mayConnect(): Promise<string[]> {
    const rows = await this.#guarded<{ role: string }>(
      `SELECT role FROM unnest(ARRAY['${SERVICES.join("', '")}']) AS role
       WHERE has_database_privilege(role, current_database(), 'CONNECT')`,
    );
    return rows.map(({ role }) => role);
  }

  #cannotShutOut(roles: readonly string[]): ServiceError {
    return new ServiceError(
      "failed-precondition",
      `${roles.join(" and ")} cannot be kept from connecting to instance ${this.name}: PUBLIC may connect, or a role that ` +
        `they are members of. As the superuser: REVOKE CONNECT ON DATABASE ${this.#database} FROM PUBLIC ` +
        "(deploy/postgres/provision.sql)",
      { reason: "SERVICES_NOT_SHUT_OUT" },
    );
  }

  async #alterRight(verb: "GRANT" | "REVOKE"): Promise<void> {
    const direction = verb === "GRANT" ? "TO" : "FROM";
    await this.#guarded(`${verb} CONNECT ON DATABASE ${this.#database} ${direction} ${SERVICES.join(", ")}`);
  }

  get #database(): string {
    return `"${this.#connection.database.replaceAll('"', '""')}"`;
  }

  /** On the session with the lock: that it was lost is noticed before the first write, and before the services come in. */
  async #guarded<Row extends object>(text: string): Promise<Row[]> {
    if (!this.#guard) throw new TypeError("the services were not shut out");
    try {
      return (await this.#guard.query<Row>(text)).rows;
    } catch (error) {
      throw failureOf(this.name, error);
    }
  }

  /** Only evidence that breaks the rules leads here: a chain does not show that a voter has a revision twice. */
  async #notUnique(constraint: string, cause: unknown): Promise<ServiceError> {
    const rule = INDEXES[constraint] ?? "";
    const [pair] = await this.#guarded<{ election: number; shard: number; sequences: string[] }>(
      `SELECT election, shard, (array_agg(sequence ORDER BY sequence)::text[])[1:2] AS sequences
       FROM records GROUP BY ${rule.slice(rule.indexOf("(") + 1, -1)} HAVING count(*) > 1 LIMIT 1`,
    );
    const where = pair
      ? `sequences ${pair.sequences.join(" and ")} of shard ${pair.shard} (election number ${pair.election}) are the same by it`
      : "two of them are the same by it";
    return new ServiceError(
      "failed-precondition",
      `the records on instance ${this.name} break the rule ${constraint} ${rule}: ${where}. They are written, without ` +
        "that constraint, and their election is not made visible",
      { reason: "CONSTRAINT_VIOLATED", cause },
    );
  }
}

function failedWith(error: unknown, code: string): boolean {
  return error instanceof ServiceError && error.cause instanceof DatabaseError && error.cause.code === code;
}

export function arraysOf(records: readonly VoteRecord[]): Buffer[] {
  return [
    int2Array(records.map((record) => record.shard)),
    int8Array(records.map((record) => record.sequence)),
    byteaArray(records.map((record) => record.voterPseudonym)),
    int4Array(records.map((record) => record.revision)),
    byteaArray(records.map((record) => record.sealedChoice)),
    int8Array(records.map((record) => record.castAt)),
    byteaArray(records.map((record) => record.hash)),
  ];
}

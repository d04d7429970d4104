// What `psephos reconcile --repair` needs of one Postgres instance, as psephos_owner: the services' roles may only add rows.
import type { Client } from "pg";
import { ChainError, type ChainHead, verifyRun } from "../ballot/chain.ts";
import { recordHash, type VoteRecord } from "../ballot/record.ts";
import { equalBytes } from "../core/bytes.ts";
import { ServiceError } from "../core/errors.ts";
import { type ElectionId, type Sequence, type ShardId, sequence } from "../core/ids.ts";
import { asHash, type Hash } from "../core/sha256.ts";
import type {
  DamagedRows,
  DatabaseElection,
  DatabaseHead,
  InstanceFacts,
  InstanceRepaired,
  RepairInstance,
  RepairOrder,
  RepairRequest,
  SealedEnd,
  ShardFacts,
} from "../reconcile/repair-ports.ts";
import { int2Array, int4Array, int8Array } from "./binary-array.ts";
import { type ConnectionOptions, connect, discard } from "./connection.ts";
import { failureOf } from "./failure.ts";
import { LOCK_HEADS } from "./group-writer.ts";
import { requireMigrated } from "./migrate.ts";
import { writeHeads } from "./restore-control.ts";
import { arraysOf, RESTORE_LOCK, UNKNOWN_REQUEST } from "./restore-instance.ts";
import { brokenGuards, mendGuards } from "./schema-guards.ts";
import { type HeadColumns, headOf, type RecordColumns, recordOf } from "./shard-rows.ts";

export interface PostgresRepairInstanceOptions {
  /** Without a role: it is psephos_owner's. */
  readonly connection: Omit<ConnectionOptions, "role" | "statementTimeoutMs">;
}

/** Writing a million rows, with their indexes. */
const STATEMENT_TIMEOUT_MS = 600_000;
/** An append holds a head for milliseconds. */
const LOCK_TIMEOUT_MS = 10_000;
/** An election whose state is held can be closed again after so long, whatever became of this process. */
const HOLD_MS = 900_000;
/** Rows that are read, or records that are staged, at once. */
const PAGE = 2_000;

/** Records and rows of the same content. */
const SAME = `(r.voter_pseudonym, r.revision, r.sealed_choice, r.cast_at, r.record_hash)
  IS NOT DISTINCT FROM (k.voter, k.revision, k.choice, k.cast_at, k.hash)`;
/** A row, and the staged record of its sequence. */
const KEY = "r.election = $1 AND r.shard = k.shard AND r.sequence = k.sequence";
const RECORD_COLUMNS = "sequence, voter_pseudonym, revision, sealed_choice, cast_at, record_hash";

export class PostgresRepairInstance implements RepairInstance, AsyncDisposable {
  readonly name: string;
  readonly #options: ConnectionOptions;
  /** One session from the beginning to the end: it has the lock, and the table of what is staged. */
  readonly #client: Client;

  private constructor(options: ConnectionOptions, client: Client) {
    this.name = options.name;
    this.#options = options;
    this.#client = client;
  }

  /** Rejects with `failed-precondition` while a restore or another repair is at work there. */
  static async open({ connection }: PostgresRepairInstanceOptions): Promise<PostgresRepairInstance> {
    const options: ConnectionOptions = {
      ...connection,
      role: "psephos_owner",
      statementTimeoutMs: STATEMENT_TIMEOUT_MS,
    };
    try {
      await requireMigrated(options);
      const client = await connect(options);
      try {
        await prepare(client, options.name);
        return new PostgresRepairInstance(options, client);
      } catch (error) {
        discard(client);
        throw error;
      }
    } catch (error) {
      throw failureOf(options.name, error);
    }
  }

  async hold(electionId: ElectionId) {
    const client = await this.#guarded(() => connect(this.#options));
    const release = { [Symbol.asyncDispose]: async () => discard(client) };
    try {
      await client.query(`BEGIN; SET LOCAL idle_in_transaction_session_timeout = ${HOLD_MS}`);
      // Whoever changes the state waits for the end of this transaction.
      const { rows } = await client.query<ElectionRow>(
        "SELECT election, manifest, placement, state FROM elections WHERE election_id = $1 FOR SHARE",
        [electionId],
      );
      const [row] = rows;
      if (!row) return { ...release, election: undefined };
      const { election: number, manifest: manifestBytes, placement, state } = row;
      return { ...release, election: { number, manifestBytes, placement, state } };
    } catch (error) {
      discard(client);
      throw failureOf(this.name, error);
    }
  }

  async stage(records: readonly VoteRecord[]): Promise<void> {
    for (let at = 0; at < records.length; at += PAGE) {
      const page = arraysOf(records.slice(at, at + PAGE));
      await this.#guarded(() =>
        this.#client.query(
          `INSERT INTO pg_temp.staged SELECT * FROM unnest($1::smallint[], $2::bigint[], $3::bytea[], $4::integer[],
                                                           $5::bytea[], $6::bigint[], $7::bytea[])`,
          page,
        ),
      );
    }
  }

  examine(request: RepairRequest): Promise<InstanceFacts> {
    return this.#guarded(async () => {
      await this.#client.query("ANALYZE pg_temp.staged");
      await this.#client.query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
      const facts = await factsOf(this.#client, request);
      await this.#client.query("COMMIT");
      return facts;
    });
  }

  async repair(
    request: RepairRequest,
    decide: (facts: InstanceFacts) => RepairOrder,
  ): Promise<InstanceRepaired> {
    const client = this.#client;
    let committing = false;
    try {
      await client.query("BEGIN ISOLATION LEVEL READ COMMITTED");
      await client.query(`SET LOCAL lock_timeout = ${LOCK_TIMEOUT_MS}`);
      const locked = await lock(client, request);
      const facts = await factsOf(client, request);
      const order = decide(facts);
      await writeRows(client, request, order.shards);
      // Writing heads takes their key; and a head as it was found may stand in the way of a rule.
      const before = await mendGuards(client, await brokenGuards(client));
      await replaceHeads(client, request, order.heads);
      const after = await mendGuards(client, await brokenGuards(client));
      committing = true;
      const { command } = await client.query("COMMIT");
      committing = false;
      // COMMIT of a transaction that has failed rolls it back and says so in its command tag only.
      if (command !== "COMMIT") throw new TypeError(`${command} after a repair`);
      const restored = [...before.restored, ...after.restored];
      return { restored, left: after.left, lockedMs: performance.now() - locked };
    } catch (error) {
      discard(client); // With it ends whatever state its transaction is in.
      const failure = failureOf(this.name, error);
      throw committing && failure.kind === "unavailable" ? commitUnknown(this.name, error) : failure;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    discard(this.#client);
  }

  async #guarded<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw failureOf(this.name, error);
    }
  }
}

interface ElectionRow {
  readonly election: number;
  readonly manifest: Uint8Array;
  readonly placement: string[];
  readonly state: DatabaseElection["state"];
}

async function prepare(client: Client, name: string): Promise<void> {
  const { rows } = await client.query<{ locked: boolean }>(
    `SELECT pg_try_advisory_lock(${RESTORE_LOCK}) AS locked`,
  );
  if (!rows[0]?.locked) {
    throw new ServiceError(
      "failed-precondition",
      `a restore, or another repair, is at work on instance ${name}: wait for its end, or stop it first`,
      { reason: "RESTORE_RUNNING" },
    );
  }
  // Sets of rows are joined here, and constraints that plans rely on may be gone.
  await client.query(
    `SET enable_seqscan = on; SET enable_bitmapscan = on; SET enable_hashjoin = on; SET enable_mergejoin = on;
     CREATE TEMPORARY TABLE staged (
       shard smallint, sequence bigint, voter bytea, revision integer, choice bytea, cast_at bigint, hash bytea,
       PRIMARY KEY (shard, sequence));
     CREATE INDEX ON pg_temp.staged (shard, hash)`,
  );
}

/** When it resolves, nobody appends to these shards. Answers when that began. */
async function lock(client: Client, { election, ends }: RepairRequest): Promise<number> {
  const since = performance.now();
  // Changing tables needs them alone. Heads come first, as in every append, so that none is caught between the two.
  if ((await brokenGuards(client)).length > 0) {
    await client.query("LOCK TABLE shard_heads IN ACCESS EXCLUSIVE MODE");
    await client.query("LOCK TABLE records IN ACCESS EXCLUSIVE MODE");
  }
  const { rowCount } = await client.query({
    text: LOCK_HEADS,
    values: [int4Array(ends.map(() => election)), int2Array(ends.map(({ shard }) => shard))],
  });
  // A head that is gone cannot be locked, and creating the election again makes it, at the chain's beginning: votes taken
  // there would be rows that are not as they were sealed. Rows first: whoever waits for one has not begun to write.
  if (rowCount !== ends.length) await client.query("LOCK TABLE shard_heads IN SHARE ROW EXCLUSIVE MODE");
  return since;
}

async function factsOf(client: Client, request: RepairRequest): Promise<InstanceFacts> {
  const { election, ends } = request;
  const rows = await damagedRows(client, election);
  const heads = await readHeads(client, election);
  const secondVotes = await findSecondVotes(client, request);
  const shards: ShardFacts[] = [];
  for (const end of ends) {
    const { shard } = end;
    const [head, damaged] = [heads.get(shard), rows.get(shard) ?? UNDAMAGED];
    const next = await rowsAfter(client, election, end, 2);
    const lost = !head || head.sequence < end.sequence || !equalBytes(head.hash, end.hash);
    shards.push({
      shard,
      rows: damaged,
      head,
      afterHead: head && (await stagedRecord(client, shard, sequence(head.sequence + 1))),
      next,
      // A head ahead of the evidence has another hash, too, and is not asked about: this would read all that follows.
      tail: lost && !(head && head.sequence > end.sequence) ? await tailOf(client, request, end) : undefined,
      appended: damaged.changed + damaged.moved > 0 ? await findAppended(client, request, end) : undefined,
      secondVote: secondVotes.get(shard),
    });
  }
  return { shards, guards: (await brokenGuards(client)).map(({ name }) => name) };
}

const UNDAMAGED: DamagedRows = { missing: 0, changed: 0, moved: 0, duplicate: 0 };

async function damagedRows(client: Client, election: number): Promise<Map<number, DamagedRows>> {
  const { rows } = await client.query<DamagedRows & { shard: number }>(
    `WITH found AS (
       SELECT k.shard, k.sequence, count(r.sequence) AS rows, count(r.sequence) FILTER (WHERE ${SAME}) AS same,
              bool_or(EXISTS (SELECT FROM pg_temp.staged o WHERE o.shard = r.shard AND o.hash = r.record_hash
                                AND o.sequence <> r.sequence)) AS moved
       FROM pg_temp.staged k LEFT JOIN records r ON ${KEY}
       GROUP BY k.shard, k.sequence)
     SELECT shard, count(*) FILTER (WHERE rows = 0) AS missing,
            count(*) FILTER (WHERE rows > 0 AND same = 0 AND NOT moved) AS changed,
            count(*) FILTER (WHERE rows > 0 AND same = 0 AND moved) AS moved,
            coalesce(sum(greatest(rows - 1, 0)), 0)::bigint AS duplicate
     FROM found GROUP BY shard`,
    [election],
  );
  return new Map(rows.map(({ shard, ...damaged }) => [shard, damaged]));
}

async function readHeads(client: Client, election: number): Promise<Map<number, DatabaseHead>> {
  const { rows } = await client.query<HeadColumns>(
    `SELECT election, shard, sequence, hash, cast_at, closed, sealed_sequence, genesis FROM shard_heads
     WHERE election = $1`,
    [election],
  );
  return new Map(rows.map((row) => [row.shard, { ...headOf(row), genesis: asHash(row.genesis) }]));
}

async function stagedRecord(client: Client, shard: ShardId, at: Sequence): Promise<VoteRecord | undefined> {
  const { rows } = await client.query<RecordColumns>(
    `SELECT sequence, voter AS voter_pseudonym, revision, choice AS sealed_choice, cast_at, hash AS record_hash
     FROM pg_temp.staged WHERE shard = $1 AND sequence = $2`,
    [shard, at],
  );
  return rows[0] && recordOf(shard, rows[0]);
}

async function rowsAfter(
  client: Client,
  election: number,
  { shard, sequence: after }: ChainHead,
  limit: number,
): Promise<(VoteRecord | undefined)[]> {
  const { rows } = await client.query<RecordColumns>(
    `SELECT ${RECORD_COLUMNS} FROM records WHERE election = $1 AND shard = $2 AND sequence > $3
     ORDER BY sequence LIMIT $4`,
    [election, shard, after, limit],
  );
  return rows.map((row) => asRecord(shard, row));
}

/** Undefined for a row that is none, where constraints were dropped. */
function asRecord(shard: ShardId, row: RecordColumns): VoteRecord | undefined {
  try {
    return recordOf(shard, row);
  } catch (error) {
    if (error instanceof RangeError || error instanceof TypeError) return undefined;
    throw error;
  }
}

/** The end of the rows after the sealed ones; undefined when they do not continue them. */
async function tailOf(
  client: Client,
  { election, shards }: RepairRequest,
  end: SealedEnd,
): Promise<ChainHead | undefined> {
  let head: ChainHead = end;
  try {
    for (;;) {
      const page = await rowsAfter(client, election, head, PAGE);
      if (page.length === 0) return head;
      const records = page.filter((record) => record !== undefined);
      if (records.length < page.length) return undefined;
      head = verifyRun(head, records, shards);
    }
  } catch (error) {
    if (error instanceof ChainError) return undefined;
    throw error;
  }
}

/** The first changed row that covers the one before it, whatever that is, as the services make them. */
async function findAppended(
  client: Client,
  { election, shards }: RepairRequest,
  { shard, genesis }: SealedEnd,
): Promise<Sequence | undefined> {
  for (let after = 0; ; ) {
    const { rows } = await client.query<RecordColumns & { previous: Uint8Array | null }>(
      `SELECT r.sequence, r.voter_pseudonym, r.revision, r.sealed_choice, r.cast_at, r.record_hash,
              (SELECT p.record_hash FROM records p
               WHERE p.election = r.election AND p.shard = r.shard AND p.sequence = r.sequence - 1 LIMIT 1) AS previous
       FROM pg_temp.staged k JOIN records r ON ${KEY}
       WHERE k.shard = $2 AND k.sequence > $3 AND NOT ${SAME} ORDER BY r.sequence LIMIT ${PAGE}`,
      [election, shard, after],
    );
    for (const row of rows) {
      const previous = row.sequence === 1 ? genesis : row.previous;
      const record = asRecord(shard, row);
      if (record && previous?.length === genesis.length && covers(asHash(previous), record, shards))
        return record.sequence;
    }
    const last = rows.at(-1)?.sequence;
    if (last === undefined || rows.length < PAGE) return undefined;
    after = last;
  }
}

function covers(previous: Hash, record: VoteRecord, shards: number): boolean {
  try {
    return equalBytes(recordHash(previous, shards, record), record.hash);
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}

async function findSecondVotes(
  client: Client,
  { election, ends }: RepairRequest,
): Promise<Map<number, Sequence>> {
  const { rows } = await client.query<{ shard: number; sequence: number }>(
    `SELECT r.shard, min(r.sequence) AS sequence
     FROM pg_temp.staged k
     JOIN unnest($2::smallint[], $3::bigint[]) AS e (shard, sequence) ON e.shard = k.shard
     JOIN records r ON r.election = $1 AND r.shard = k.shard AND r.voter_pseudonym = k.voter AND r.revision = k.revision
     WHERE r.sequence > e.sequence GROUP BY r.shard`,
    [election, int2Array(ends.map(({ shard }) => shard)), int8Array(ends.map((end) => end.sequence))],
  );
  return new Map(rows.map((row) => [row.shard, sequence(row.sequence)]));
}

/** Keeps one of the rows that are as they were sealed, and makes the others again. */
async function writeRows(
  client: Client,
  { election }: RepairRequest,
  shards: readonly ShardId[],
): Promise<void> {
  const values = [election, int2Array(shards)];
  await client.query({
    text: `DELETE FROM records r USING pg_temp.staged k
           WHERE ${KEY} AND k.shard = ANY ($2::smallint[])
             AND (NOT ${SAME} OR EXISTS (
               SELECT FROM records o WHERE o.election = r.election AND o.shard = r.shard AND o.sequence = r.sequence
                 AND o.record_hash = r.record_hash AND o.ctid < r.ctid))`,
    values,
  });
  await client.query({
    text: `INSERT INTO records (election, shard, sequence, voter_pseudonym, revision, sealed_choice, cast_at, record_hash,
                                request_token)
           SELECT $1, k.shard, k.sequence, k.voter, k.revision, k.choice, k.cast_at, k.hash, $3
           FROM pg_temp.staged k
           WHERE k.shard = ANY ($2::smallint[]) AND NOT EXISTS (SELECT FROM records r WHERE ${KEY})
           ORDER BY k.shard, k.sequence`,
    values: [...values, UNKNOWN_REQUEST],
  });
}

/** A closed head is made anew: the trigger lets nobody move it, and no append waits for it. */
async function replaceHeads(
  client: Client,
  { election }: RepairRequest,
  heads: readonly DatabaseHead[],
): Promise<void> {
  if (heads.length === 0) return;
  await client.query(
    "DELETE FROM shard_heads WHERE election = $1 AND shard = ANY ($2::smallint[]) AND closed",
    [election, int2Array(heads.map(({ shard }) => shard))],
  );
  await writeHeads(client, election, heads);
}

function commitUnknown(name: string, cause: unknown): ServiceError {
  return new ServiceError(
    "unavailable",
    `instance ${name} did not answer to COMMIT: it is repaired, or as it was. Run this again, which tells`,
    { reason: "COMMIT_UNKNOWN", cause },
  );
}

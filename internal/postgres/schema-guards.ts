// The rules that the database keeps by itself, as the migrations made them, and putting back what somebody took away:
// neither an owner nor a superuser is kept from that by anything.
import type { Client } from "pg";
import { messageOf } from "../core/errors.ts";
import { type ConnectionOptions, connect, discard } from "./connection.ts";
import { failureOf } from "./failure.ts";

/** By table and name, in PostgreSQL's own words: pg_get_constraintdef and pg_get_triggerdef. */
type Definitions = Readonly<Record<string, Readonly<Record<string, string>>>>;

const CONSTRAINTS: Definitions = {
  records: {
    records_chain: "PRIMARY KEY (election, shard, sequence)",
    records_voter: "UNIQUE (election, shard, voter_pseudonym, revision)",
    records_sequence_check: "CHECK ((sequence >= 1))",
    records_cast_at_check: "CHECK ((cast_at >= 0))",
    records_revision_check: "CHECK ((revision >= 1))",
    records_voter_pseudonym_check: "CHECK ((octet_length(voter_pseudonym) = 32))",
    records_request_token_check: "CHECK ((octet_length(request_token) = 16))",
    records_sealed_choice_check: "CHECK ((octet_length(sealed_choice) = 63))",
    records_record_hash_check: "CHECK ((octet_length(record_hash) = 32))",
  },
  shard_heads: {
    shard_heads_key: "PRIMARY KEY (election, shard)",
    shard_heads_shard_check: "CHECK (((shard >= 0) AND (shard <= 255)))",
    shard_heads_hash_check: "CHECK ((octet_length(hash) = 32))",
    shard_heads_check: "CHECK (((sealed_sequence >= 0) AND (sealed_sequence <= sequence)))",
    shard_heads_genesis_check: "CHECK ((octet_length(genesis) = 32))",
  },
  elections: {
    elections_pkey: "PRIMARY KEY (election)",
    elections_election_id_key: "UNIQUE (election_id)",
    elections_election_id_check: "CHECK ((election_id ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'::text))",
    elections_state_check:
      "CHECK ((state = ANY (ARRAY['creating'::text, 'open'::text, 'closing'::text, 'closed'::text])))",
  },
  election_copies: {
    election_copies_pkey: "PRIMARY KEY (election)",
    election_copies_election_id_key: "UNIQUE (election_id)",
  },
  log_heads: {
    log_heads_pkey: "PRIMARY KEY (election_id)",
    log_heads_tree_size_check: "CHECK ((tree_size >= 0))",
    log_heads_root_check: "CHECK ((octet_length(root) = 32))",
    log_heads_shard_heads_check: "CHECK (((octet_length(shard_heads) % 40) = 0))",
  },
};

const STATES = "ARRAY['creating'::text, 'open'::text, 'closing'::text, 'closed'::text]";

const TRIGGERS: Definitions = {
  shard_heads: {
    shard_heads_move_forward: moveForward(
      "shard_heads",
      "(new.sequence < old.sequence) OR (new.cast_at < old.cast_at) OR (new.sealed_sequence < old.sealed_sequence) OR " +
        "(old.closed AND ((NOT new.closed) OR (new.sequence <> old.sequence) OR (new.hash <> old.hash)))",
    ),
  },
  elections: {
    elections_move_forward: moveForward(
      "elections",
      `array_position(${STATES}, new.state) < array_position(${STATES}, old.state)`,
    ),
  },
  log_heads: {
    log_heads_move_forward: moveForward("log_heads", "(new.tree_size <= old.tree_size) OR old.closed"),
  },
};

/** The function that all triggers call. */
const REFUSE_CHANGE = `
BEGIN
  RAISE EXCEPTION '% only moves forward', TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation';
END
`;

/** A rule that is not as it was made. */
export interface BrokenGuard {
  /** Such as `records_voter of records`. */
  readonly name: string;
  /** What puts it back; undefined for what was added, which whoever did it has to take away. */
  readonly statements: readonly string[] | undefined;
}

interface Found {
  readonly kind: "constraint" | "trigger" | "column" | "rule" | "function";
  readonly table: string;
  readonly name: string;
  readonly definition: string;
  readonly works: boolean;
}

/** The rules that are not as they were made. */
export async function brokenGuards(client: Client): Promise<BrokenGuard[]> {
  const tables = Object.keys(CONSTRAINTS);
  const { rows: found } = await client.query<Found>(
    `WITH t AS (SELECT oid, relname::text AS name FROM pg_class
                WHERE relnamespace = 'psephos'::regnamespace AND relname = ANY ($1))
     SELECT 'constraint' AS kind, t.name AS table, c.conname::text AS name, pg_get_constraintdef(c.oid) AS definition,
            c.convalidated AND coalesce(i.indisvalid, true) AS works
     FROM pg_constraint c JOIN t ON t.oid = c.conrelid LEFT JOIN pg_index i ON i.indexrelid = c.conindid
     WHERE c.contype <> 'n' -- NOT NULL, which is asked of columns: PostgreSQL 18 has it here, too
     UNION ALL
     SELECT 'trigger', t.name, g.tgname::text, pg_get_triggerdef(g.oid), g.tgenabled = 'O'
     FROM pg_trigger g JOIN t ON t.oid = g.tgrelid WHERE NOT g.tgisinternal
     UNION ALL
     SELECT 'column', t.name, a.attname::text, '', a.attnotnull
     FROM pg_attribute a JOIN t ON t.oid = a.attrelid WHERE a.attnum > 0 AND NOT a.attisdropped
     UNION ALL
     SELECT 'rule', t.name, r.rulename::text, '', true FROM pg_rewrite r JOIN t ON t.oid = r.ev_class
     UNION ALL
     SELECT 'function', '', proname::text, prosrc, true FROM pg_proc
     WHERE pronamespace = 'psephos'::regnamespace AND proname = 'refuse_change'`,
    [tables],
  );
  return [...brokenFunction(found), ...tables.flatMap((table) => [...brokenIn(table, found)])];
}

/** The names of an instance's rules that are not as they were made. Any role may ask: they are no secret. */
export async function readBrokenGuards(connection: Omit<ConnectionOptions, "role">): Promise<string[]> {
  try {
    const client = await connect({ ...connection, role: "psephos_router" });
    try {
      return (await brokenGuards(client)).map(({ name }) => name);
    } finally {
      discard(client);
    }
  } catch (error) {
    throw failureOf(connection.name, error);
  }
}

/**
 * Puts back what is broken, each by itself: what rows stand in the way of stays broken, and is named. In a transaction, with
 * the tables locked against everybody.
 */
export async function mendGuards(
  client: Client,
  broken: readonly BrokenGuard[],
): Promise<{ restored: string[]; left: string[] }> {
  const [restored, left]: [string[], string[]] = [[], []];
  for (const { name, statements } of broken) {
    if (!statements) {
      left.push(`${name}, which is none of Psephos': drop it as the superuser`);
      continue;
    }
    await client.query("SAVEPOINT guard");
    try {
      for (const statement of statements) await client.query(statement);
      await client.query("RELEASE SAVEPOINT guard");
      restored.push(name);
    } catch (error) {
      await client.query("ROLLBACK TO SAVEPOINT guard");
      left.push(`${name}: ${messageOf(error)}`);
    }
  }
  return { restored, left };
}

function* brokenFunction(found: readonly Found[]): Generator<BrokenGuard> {
  if (found.some(({ kind, definition }) => kind === "function" && definition === REFUSE_CHANGE)) return;
  const create = `CREATE OR REPLACE FUNCTION psephos.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$${REFUSE_CHANGE}$$`;
  yield { name: "the function refuse_change", statements: [create] };
}

function* brokenIn(table: string, all: readonly Found[]): Generator<BrokenGuard> {
  const found = all.filter((one) => one.table === table);
  const of = (kind: Found["kind"]) => found.filter((one) => one.kind === kind);
  for (const { name } of of("column").filter(({ works }) => !works)) {
    yield {
      name: `NOT NULL of ${table}.${name}`,
      statements: [`ALTER TABLE psephos.${table} ALTER COLUMN ${name} SET NOT NULL`],
    };
  }
  const constraints = CONSTRAINTS[table] ?? {};
  for (const [name, definition] of Object.entries(constraints)) {
    const one = of("constraint").find((constraint) => constraint.name === name);
    if (one?.works && one.definition === definition) continue;
    const add = `ALTER TABLE psephos.${table} ADD CONSTRAINT ${name} ${definition}`;
    const drop = `ALTER TABLE psephos.${table} DROP CONSTRAINT ${name}`;
    yield { name: `${name} of ${table}`, statements: one ? [drop, add] : [add] };
  }
  const triggers = TRIGGERS[table] ?? {};
  for (const [name, definition] of Object.entries(triggers)) {
    const one = of("trigger").find((trigger) => trigger.name === name);
    if (one?.works && one.definition === definition) continue;
    const drop = `DROP TRIGGER IF EXISTS ${name} ON psephos.${table}`;
    yield { name: `the trigger ${name} of ${table}`, statements: [drop, definition] };
  }
  const added = [
    ...of("constraint").filter(({ name }) => !(name in constraints)),
    ...of("trigger").filter(({ name }) => !(name in triggers)),
    ...of("rule"),
  ];
  for (const { kind, name } of added)
    yield { name: `the ${kind} ${name} of ${table}`, statements: undefined };
}

function moveForward(table: string, refused: string): string {
  return (
    `CREATE TRIGGER ${table}_move_forward BEFORE UPDATE ON psephos.${table} FOR EACH ROW WHEN ((${refused})) ` +
    "EXECUTE FUNCTION refuse_change()"
  );
}

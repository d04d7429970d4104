// AuditService's heads: one row an election, on the control instance.
import type { Client } from "pg";
import type { HeadStore, Lease, LogHead } from "../audit/head.ts";
import type { ShardHead } from "../ballot/shard-head.ts";
import { concat, readU64, u64 } from "../core/bytes.ts";
import { type ElectionId, sequence, treeSize } from "../core/ids.ts";
import { asHash, HASH_SIZE } from "../core/sha256.ts";
import { type ConnectionOptions, connect, discard } from "./connection.ts";
import { failureOf } from "./failure.ts";
import type { Pool } from "./pool.ts";

interface Columns {
  readonly tree_size: number;
  readonly root: Uint8Array;
  readonly shard_heads: Uint8Array;
  readonly closed: boolean;
  readonly committed_at: number;
}

const SHARD_HEAD_SIZE = 8 + HASH_SIZE;

/** Failures are ServiceErrors: failure.ts. After one, `load` tells what became of a write. */
export class PostgresLogHeadStore implements HeadStore {
  readonly #pool: Pool;
  readonly #connection: ConnectionOptions;

  /** `connection` is for locks: each has one of its own. */
  constructor({ pool, connection }: { readonly pool: Pool; readonly connection: ConnectionOptions }) {
    this.#pool = pool;
    this.#connection = connection;
  }

  async load(electionId: ElectionId): Promise<LogHead | undefined> {
    const [row] = await this.#pool.query<Columns>({
      name: "load-head",
      text: "SELECT tree_size, root, shard_heads, closed, committed_at FROM log_heads WHERE election_id = $1",
      values: [electionId],
    });
    return (
      row && {
        electionId,
        treeSize: treeSize(row.tree_size),
        root: asHash(row.root),
        shardHeads: decodeShardHeads(row.shard_heads),
        closed: row.closed,
        committedAt: row.committed_at,
      }
    );
  }

  /** Stores the first head of an election; false when there is one already. */
  async create(head: LogHead): Promise<boolean> {
    const written = await this.#pool.execute({
      text: `INSERT INTO log_heads (election_id, tree_size, root, shard_heads, closed, committed_at)
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`,
      values: [head.electionId, ...valuesOf(head)],
    });
    return written === 1;
  }

  /** Replaces `old` by `next`; false when the stored head is not `old`. Durable when it answers true. */
  async compareAndSwap(old: LogHead, next: LogHead): Promise<boolean> {
    if (next.electionId !== old.electionId) throw new RangeError("heads of two elections");
    const written = await this.#pool.execute({
      name: "swap-head",
      // Size and root are the whole log, shard heads included.
      text: `UPDATE log_heads SET tree_size = $2, root = $3, shard_heads = $4, closed = $5, committed_at = $6
             WHERE election_id = $1 AND tree_size = $7 AND root = $8`,
      values: [old.electionId, ...valuesOf(next), old.treeSize, old.root],
    });
    return written === 1;
  }

  /**
   * Makes this process the active one of an election; undefined while another process is. A process that dies, or
   * whose host vanishes, loses it within half a minute. It spares a standby needless work and is no guard: what keeps
   * history single is the swap.
   */
  async tryLock(electionId: ElectionId): Promise<Lease | undefined> {
    try {
      const client = await connect(this.#connection);
      const lost = new AbortController();
      client.once("end", () => lost.abort());
      if (await lock(client, electionId)) {
        return { lost: lost.signal, [Symbol.asyncDispose]: () => client.end() };
      }
      discard(client);
      return undefined;
    } catch (error) {
      throw failureOf(this.#connection.name, error);
    }
  }
}

/** Takes a lock that ends with the session. */
async function lock(client: Client, electionId: ElectionId): Promise<boolean> {
  try {
    const { rows } = await client.query<{ locked: boolean }>(
      "SELECT pg_try_advisory_lock(hashtextextended($1, 0)) AS locked",
      [`psephos audit ${electionId}`],
    );
    return rows[0]?.locked === true;
  } catch (error) {
    discard(client);
    throw error;
  }
}

function valuesOf(head: LogHead): unknown[] {
  return [head.treeSize, head.root, encodeShardHeads(head.shardHeads), head.closed, head.committedAt];
}

/** `u64 sequence ‖ hash[32]` each, as in the closing entry. */
export function encodeShardHeads(heads: readonly ShardHead[]): Uint8Array {
  return concat(...heads.flatMap((head) => [u64(head.sequence), head.hash]));
}

function decodeShardHeads(bytes: Uint8Array): ShardHead[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return Array.from({ length: bytes.length / SHARD_HEAD_SIZE }, (_, index) => {
    const at = index * SHARD_HEAD_SIZE;
    return {
      sequence: sequence(readU64(view, at)),
      hash: asHash(bytes.subarray(at + 8, at + SHARD_HEAD_SIZE)),
    };
  });
}

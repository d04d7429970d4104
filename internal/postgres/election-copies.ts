// What an instance knows of the elections it has shards of.
import type { ElectionId } from "../core/ids.ts";
import type { ElectionCopies, StoredElection } from "../shard/ports.ts";
import { type ElectionColumns, electionOf } from "./election-rows.ts";
import type { Pool } from "./pool.ts";

/** Closing begins with the control instance and goes on with the heads: one that is closed proves that it has begun. */
const COLUMNS = `election, election_id, manifest, placement, created_at,
  CASE WHEN EXISTS (SELECT FROM shard_heads h WHERE h.election = c.election AND h.closed)
       THEN 'closing' ELSE 'open' END AS state`;

export class PostgresElectionCopies implements ElectionCopies {
  readonly #pool: Pool;

  constructor({ pool }: { readonly pool: Pool }) {
    this.#pool = pool;
  }

  /** Adds a copy of an election, unless it is there. */
  async add(election: StoredElection): Promise<void> {
    const { electionId, manifestBytes, placement, createdAt } = election;
    await this.#pool.execute({
      text: `INSERT INTO election_copies (election, election_id, manifest, placement, created_at)
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`,
      values: [election.election, electionId, manifestBytes, placement, createdAt],
    });
  }

  find(id: ElectionId): Promise<StoredElection | undefined> {
    return this.#find("election_id", id);
  }

  findByNumber(election: number): Promise<StoredElection | undefined> {
    return this.#find("election", election);
  }

  async #find(column: "election_id" | "election", value: unknown): Promise<StoredElection | undefined> {
    const [row] = await this.#pool.query<ElectionColumns>({
      text: `SELECT ${COLUMNS} FROM election_copies c WHERE ${column} = $1`,
      values: [value],
    });
    return row && electionOf(row);
  }
}

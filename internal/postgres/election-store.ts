// What elections there are: the table of the control instance.
import type { ElectionId } from "../core/ids.ts";
import type { ElectionState, ElectionStore, NewElection, StoredElection } from "../shard/ports.ts";
import { type ElectionColumns, electionOf } from "./election-rows.ts";
import type { Pool } from "./pool.ts";

const COLUMNS = "election, election_id, manifest, placement, state, created_at";

export class PostgresElectionStore implements ElectionStore {
  readonly #pool: Pool;

  constructor({ pool }: { readonly pool: Pool }) {
    this.#pool = pool;
  }

  /** Adds an election in state `creating`, unless one of its id is there. */
  async add(election: NewElection): Promise<void> {
    await this.#pool.execute({
      text: `INSERT INTO elections (election_id, manifest, placement, created_at) VALUES ($1, $2, $3, $4)
             ON CONFLICT (election_id) DO NOTHING`,
      values: [election.electionId, election.manifestBytes, election.placement, election.createdAt],
    });
  }

  async find(id: ElectionId): Promise<StoredElection | undefined> {
    const [row] = await this.#pool.query<ElectionColumns>({
      name: "find-election",
      text: `SELECT ${COLUMNS} FROM elections WHERE election_id = $1`,
      values: [id],
    });
    return row && electionOf(row);
  }

  async findByNumber(election: number): Promise<StoredElection | undefined> {
    const [row] = await this.#pool.query<ElectionColumns>({
      name: "find-election-by-number",
      text: `SELECT ${COLUMNS} FROM elections WHERE election = $1`,
      values: [election],
    });
    return row && electionOf(row);
  }

  async stateOf(election: number): Promise<ElectionState | undefined> {
    const [row] = await this.#pool.query<Pick<ElectionColumns, "state">>({
      name: "election-state",
      text: "SELECT state FROM elections WHERE election = $1",
      values: [election],
    });
    return row?.state;
  }

  /** All elections that are created, in order of id. */
  async list(): Promise<StoredElection[]> {
    const rows = await this.#pool.query<ElectionColumns>({
      // "C": the order of the ids' bytes, whatever the database's language thinks of hyphens.
      text: `SELECT ${COLUMNS} FROM elections WHERE state <> 'creating' ORDER BY election_id COLLATE "C"`,
    });
    return rows.map(electionOf);
  }

  /** Moves an election from one state to the next. Nothing happens in another state than `from`. */
  async advance(election: number, from: ElectionState, to: ElectionState): Promise<void> {
    await this.#pool.execute({
      text: "UPDATE elections SET state = $3 WHERE election = $1 AND state = $2",
      values: [election, from, to],
    });
  }
}

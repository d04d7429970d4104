import type { VoteRecord } from "../ballot/record.ts";
import type { ElectionTarget } from "./election-target.ts";
import type { RestoreInstance } from "./ports.ts";

/** Rows of one statement, which is one transaction: 2,000 are as fast as more. */
const BATCH_RECORDS = 2_000;

/**
 * Loads records into their instances, all of them at work at once. A shard's records go through one lane in their order,
 * so that whatever ends this leaves the first part of each chain, which is where the next run goes on.
 */
export class RecordLoader {
  readonly #target: ElectionTarget;
  readonly #lanes = new Map<string, Lane>();
  #failure: { readonly error: unknown } | undefined;

  constructor({ target }: { readonly target: ElectionTarget }) {
    this.#target = target;
  }

  /** Takes the next records. It waits while a lane is behind, so that a few batches are in memory at most. */
  async add(records: readonly VoteRecord[]): Promise<void> {
    for (const record of records) {
      const lane = this.#laneOf(record);
      lane.records.push(record);
      if (lane.records.length >= BATCH_RECORDS) await this.#flush(lane);
    }
  }

  /** Resolves when everything is in the databases. */
  async finish(): Promise<void> {
    for (const lane of this.#lanes.values()) await this.#flush(lane);
    for (const lane of this.#lanes.values()) await lane.working;
    if (this.#failure) throw this.#failure.error;
  }

  async #flush(lane: Lane): Promise<void> {
    await lane.working;
    if (this.#failure) throw this.#failure.error;
    const records = lane.records.splice(0);
    if (records.length === 0) return;
    lane.working = lane.instance.insert(this.#target.election.election, records).catch((error: unknown) => {
      this.#failure ??= { error };
    });
  }

  #laneOf({ shard }: VoteRecord): Lane {
    const instance = this.#target.instanceOf(shard);
    const name = `${instance.name} ${shard % instance.lanes}`;
    const known = this.#lanes.get(name);
    if (known) return known;
    const lane: Lane = { instance, records: [], working: Promise.resolve() };
    this.#lanes.set(name, lane);
    return lane;
  }
}

interface Lane {
  readonly instance: RestoreInstance;
  readonly records: VoteRecord[];
  working: Promise<void>;
}

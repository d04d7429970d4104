// Puts rows back that a database has not as they were sealed. Records are staged while the evidence is verified and compared,
// and written when all of it was found right.
import { isDeepStrictEqual } from "node:util";
import { type ChainHead, genesisHeads } from "../ballot/chain.ts";
import type { Manifest } from "../ballot/manifest.ts";
import { ServiceError } from "../core/errors.ts";
import type { Sequence, ShardId } from "../core/ids.ts";
import type { Hash } from "../core/sha256.ts";
import type { Segment } from "../evidence/segment.ts";
import type { SealedRecord } from "./compare-shard.ts";
import { planShard, type ShardPlan } from "./repair-plan.ts";
import type {
  DatabaseElection,
  InstanceFacts,
  InstanceRepaired,
  RepairInstance,
  RepairRequest,
} from "./repair-ports.ts";

/** The rows of an instance that are put back while its shards take no votes. `psephos restore` is for more. */
const MAX_ROWS = 1_000_000;

export interface RepairOptions {
  readonly manifest: Manifest;
  readonly manifestHash: Hash;
  readonly election: Pick<DatabaseElection, "number" | "placement">;
  /** By the names in the election's placement. */
  readonly instances: ReadonlyMap<string, RepairInstance>;
  /** Entries of the log that are signed and public: what comes after them is no evidence yet. Infinity for all of them. */
  readonly size: number;
}

/** What is known when all was compared. */
export interface Compared {
  /** In order of shard: the last sequence that is known to be acknowledged. */
  readonly acknowledged: readonly Sequence[];
  /** Whether the election takes no more votes, by its log or its state. */
  readonly closed: boolean;
}

export interface InstancePlan {
  readonly instance: string;
  /** Those of which there is something to say, in order of shard. */
  readonly shards: readonly Exclude<ShardPlan, { kind: "nothing" }>[];
  /** Constraints and triggers to be put back. */
  readonly guards: readonly string[];
}

export class Repair {
  readonly #options: RepairOptions;
  readonly #ends: ChainHead[];
  readonly #genesis: readonly ChainHead[];
  readonly #staged = new Map<string, number>();

  constructor(options: RepairOptions) {
    const { manifest, manifestHash } = options;
    this.#options = options;
    this.#genesis = genesisHeads(manifestHash, manifest.shards);
    this.#ends = [...this.#genesis];
  }

  /** The log's segments, in order. */
  take({ firstIndex, entries }: Pick<Segment, "firstIndex" | "entries">): void {
    for (const [offset, entry] of entries.entries()) {
      if (entry.type !== "vote" || firstIndex + offset >= this.#options.size) continue;
      this.#ends[entry.record.shard] = entry.record;
    }
  }

  /** Sealed records of one shard that its database has not as they were sealed. */
  async damaged(sealed: readonly SealedRecord[]): Promise<void> {
    const records = sealed.filter(({ index }) => index < this.#options.size).map(({ record }) => record);
    const [first] = records;
    if (!first) return;
    const instance = this.#instanceOf(first.shard);
    const staged = (this.#staged.get(instance.name) ?? 0) + records.length;
    if (staged > MAX_ROWS) {
      throw new ServiceError(
        "failed-precondition",
        `instance ${instance.name} has more than ${MAX_ROWS} rows to put back, during which nobody could vote there. Nothing ` +
          'was changed. Stop the services, drop its tables and run "psephos restore"',
        { reason: "TOO_MUCH_TO_REPAIR" },
      );
    }
    this.#staged.set(instance.name, staged);
    await instance.stage(records);
  }

  /** What there is to do. Writes nothing. */
  async plan(compared: Compared): Promise<InstancePlan[]> {
    const plans: InstancePlan[] = [];
    for (const instance of this.#used()) {
      const request = this.#requestOf(instance);
      plans.push(this.#planOf(instance, request, await instance.examine(request), compared));
    }
    return plans.filter(({ shards, guards }) => shards.length > 0 || guards.length > 0);
  }

  /** Does on one instance what was planned: that, or nothing. */
  async carryOut(plan: InstancePlan, compared: Compared): Promise<InstanceRepaired> {
    const instance = this.#named(plan.instance);
    const request = this.#requestOf(instance);
    return instance.repair(request, (facts) => {
      const now = this.#planOf(instance, request, facts, compared);
      if (!isDeepStrictEqual(now, plan)) {
        throw new ServiceError(
          "unavailable",
          `the rows on instance ${instance.name} changed since they were compared. Nothing was changed there: run it again`,
          { reason: "CHANGED_MEANWHILE" },
        );
      }
      const repairs = plan.shards.filter((shard) => shard.kind === "repair");
      return {
        shards: repairs.map(({ shard }) => shard),
        heads: repairs.map(({ head }) => head).filter((head) => head !== undefined),
      };
    });
  }

  #planOf(
    { name }: RepairInstance,
    { ends, shards }: RepairRequest,
    facts: InstanceFacts,
    { acknowledged, closed }: Compared,
  ): InstancePlan {
    const plans = facts.shards.map((found, i) => {
      const end = ends[i];
      const last = acknowledged[found.shard];
      if (end?.shard !== found.shard || last === undefined) throw new RangeError("facts of another shard");
      return planShard({ facts: found, end, shards, closed, acknowledged: last });
    });
    return {
      instance: name,
      shards: plans.filter((plan) => plan.kind !== "nothing"),
      guards: facts.guards,
    };
  }

  #requestOf({ name }: RepairInstance): RepairRequest {
    const { election, manifest } = this.#options;
    const ends = this.#ends.flatMap((end, shard) => {
      const genesis = this.#genesis[shard];
      return genesis && election.placement[shard] === name ? [{ ...end, genesis: genesis.hash }] : [];
    });
    return { election: election.number, shards: manifest.shards, ends };
  }

  #used(): RepairInstance[] {
    const { placement } = this.#options.election;
    return [...new Set(placement)].map((name) => this.#named(name));
  }

  #instanceOf(shard: ShardId): RepairInstance {
    return this.#named(this.#options.election.placement[shard] ?? "");
  }

  #named(name: string): RepairInstance {
    const instance = this.#options.instances.get(name);
    if (instance) return instance;
    throw new ServiceError(
      "failed-precondition",
      `the election has shards on the instance ${name}, which the configuration does not name`,
    );
  }
}

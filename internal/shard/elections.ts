// What this process knows of elections.
import { type Manifest, parseManifest } from "../ballot/manifest.ts";
import { genesisHash } from "../ballot/record.ts";
import { ServiceError } from "../core/errors.ts";
import { type ElectionId, shardId } from "../core/ids.ts";
import { type Hash, sha256 } from "../core/sha256.ts";
import type { Logger } from "../telemetry/logger.ts";
import { PromiseCache } from "../tlog/promise-cache.ts";
import { type Availability, isUnavailable } from "./availability.ts";
import type { Instance } from "./instance.ts";
import type {
  ElectionCopies,
  ElectionState,
  ElectionStore,
  NewElection,
  NumberedElection,
  StoredElection,
} from "./ports.ts";

/** An election with its manifest read. All of it stays as it is but the state, which is the one it was last seen in. */
export interface Election extends StoredElection {
  readonly manifest: Manifest;
  readonly manifestHash: Hash;
  /** What each shard's chain begins at, in order of shard. */
  readonly genesis: readonly Hash[];
}

export interface ElectionsOptions {
  readonly store: ElectionStore;
  /** Of the control instance. */
  readonly availability: Availability;
  /** All there are, by name. */
  readonly instances: ReadonlyMap<string, Pick<Instance, "run">>;
  readonly logger: Logger;
}

type Find = (elections: Pick<ElectionCopies, "find" | "findByNumber">) => Promise<StoredElection | undefined>;

/** A manifest has up to 1 MiB. */
const CACHED_ELECTIONS = 256;

/**
 * The elections, with those in use at hand. While the control instance is down, votes for the other instances' shards
 * go on, since each has a copy of what is needed. No copy can take a vote for an election that is closed: that is
 * decided under the lock of the shard's head, which closing has closed.
 */
export class Elections {
  readonly #store: ElectionStore;
  readonly #availability: Availability;
  readonly #instances: ReadonlyMap<string, Pick<Instance, "run">>;
  readonly #logger: Logger;
  readonly #cache = new PromiseCache<Election>({ limit: CACHED_ELECTIONS });

  constructor({ store, availability, instances, logger }: ElectionsOptions) {
    this.#store = store;
    this.#availability = availability;
    this.#instances = instances;
    this.#logger = logger;
  }

  /** An election that is created. Its state may be an earlier one. Rejects with `not-found`. */
  get(id: ElectionId): Promise<Election> {
    return this.#cache.get(id, async () => {
      const stored = await this.#find((elections) => elections.find(id));
      if (stored !== undefined && stored.state !== "creating") return electionOf(stored);
      // Without the id: one that names no election is whatever the caller put there, and this text is logged.
      throw new ServiceError("not-found", "there is no such election", { reason: "UNKNOWN_ELECTION" });
    });
  }

  /** An election with the state it has now, or while the control instance is down, the state it was last seen in. */
  async getCurrent(id: ElectionId): Promise<Election> {
    const election = await this.get(id);
    try {
      return { ...election, state: await this.#stateOf(election) };
    } catch (error) {
      if (isUnavailable(error)) return election;
      throw error;
    }
  }

  /** The manifest of an election by its number in the tables of shards. */
  async manifestOf(number: number): Promise<Manifest> {
    const { manifest } = await this.#cache.get(numberKey(number), async () => {
      const stored = await this.#find((elections) => elections.findByNumber(number));
      if (stored !== undefined) return electionOf(stored);
      throw new ServiceError(
        "data-loss",
        `there are votes of election number ${number}, and no such election`,
      );
    });
    return manifest;
  }

  /**
   * Looks an election up again when it is next asked for. A restore may number elections anew, and whoever kept its old
   * number finds another election's shards under it, or none.
   */
  forget({ election, electionId }: NumberedElection): void {
    this.#cache.delete(electionId);
    this.#cache.delete(numberKey(election));
  }

  /** All that are created, in order of id. */
  list(): Promise<StoredElection[]> {
    return this.#run((store) => store.list());
  }

  /** Adds an election unless there is one of its id, and returns what there is, created or not. */
  async add(election: NewElection): Promise<Election> {
    const stored = await this.#run(async (store) => {
      await store.add(election);
      return store.find(election.electionId);
    });
    if (stored === undefined) throw new TypeError("an election that was added is not there");
    return electionOf(stored);
  }

  /** Moves an election to its next state, if it is in state `from`, and returns it as it is then. */
  async advance(election: Election, from: ElectionState, to: ElectionState): Promise<Election> {
    await this.#run((store) => store.advance(election.election, from, to));
    return { ...election, state: await this.#stateOf(election) };
  }

  /** Puts copies of an election that is created where its shards are. Rejects unless all of them are there then. */
  async copy(election: StoredElection): Promise<void> {
    const names = new Set(election.placement);
    await Promise.all(
      [...names].map((name) => this.#instances.get(name)?.run(({ copies }) => copies.add(election))),
    );
  }

  async #find(find: Find): Promise<StoredElection | undefined> {
    let stored: StoredElection | undefined;
    try {
      stored = await this.#run(find);
    } catch (error) {
      const copy = isUnavailable(error) ? await this.#findCopy(find) : undefined;
      if (copy !== undefined) return copy;
      throw error;
    }
    // Again: whoever created it may have ended before it had made them, or have been of a version that did not.
    if (stored !== undefined && stored.state !== "creating") {
      this.copy(stored).catch((error) => {
        this.#logger.warn({ error, election: stored.electionId }, "an instance has no copy of an election");
      });
    }
    return stored;
  }

  /** The copy of the first instance that has one. All copies are alike. */
  async #findCopy(find: Find): Promise<StoredElection | undefined> {
    const searches = [...this.#instances.values()].map(async (instance) => {
      const copy = await instance.run(({ copies }) => find(copies));
      return copy ?? Promise.reject(new Error("no copy here"));
    });
    return Promise.any(searches).catch(() => undefined);
  }

  async #stateOf({ election, electionId }: Election): Promise<ElectionState> {
    const state = await this.#run((store) => store.stateOf(election));
    if (state !== undefined) return state;
    throw new ServiceError("data-loss", `election ${electionId} is not there any more`);
  }

  #run<T>(work: (store: ElectionStore) => Promise<T>): Promise<T> {
    return this.#availability.run(() => work(this.#store));
  }
}

/** No election's id: those have no space. */
function numberKey(number: number): string {
  return `number ${number}`;
}

function electionOf(stored: StoredElection): Election {
  const manifest = parseManifest(stored.manifestBytes);
  const manifestHash = sha256(stored.manifestBytes);
  const genesis = Array.from({ length: manifest.shards }, (_, shard) =>
    genesisHash(manifestHash, shardId(shard)),
  );
  return { ...stored, manifest, manifestHash, genesis };
}

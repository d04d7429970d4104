// The elections this process casts votes in, as ShardRouter knows them.
import { ElectionState, type Election as StoredElection } from "../../gen/ts/psephos/shard/v1/shard_pb.js";
import { choiceIndex, type Manifest, manifestHash, parseManifest } from "../ballot/manifest.ts";
import { ChoiceSealer } from "../ballot/sealing.ts";
import { VoterKey } from "../ballot/voter-key.ts";
import type { Clock } from "../core/clock.ts";
import { ServiceError } from "../core/errors.ts";
import { type ElectionId, electionId } from "../core/ids.ts";
import type { Logger } from "../telemetry/logger.ts";
import { overloaded } from "./append-outcome.ts";
import type { PromiseKey } from "./promise-key.ts";
import type { PromiseSigner } from "./promise-signer.ts";
import { type ShardRouter, unknownElection, upstreamError } from "./shard-router.ts";
import type { VotingPeriod } from "./validation.ts";

/** An election with what it takes to cast a vote in it. */
export interface KnownElection extends VotingPeriod {
  readonly id: ElectionId;
  readonly shards: number;
  /** From a choice's id to its place in the manifest. */
  readonly choices: ReadonlyMap<string, number>;
  readonly voterKey: VoterKey;
  readonly sealer: ChoiceSealer;
  /** Undefined in an election whose manifest promises nothing, or names another key than this service has. */
  readonly promises: PromiseSigner | undefined;
}

export interface ElectionDirectoryOptions {
  readonly router: Pick<ShardRouter, "getElection">;
  /** The deployment's voter secret: 32 bytes. */
  readonly voterSecret: Uint8Array;
  /** Without one, no election gets promises. */
  readonly promiseKey?: PromiseKey | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
}

interface Entry {
  readonly manifest: Uint8Array;
  readonly election: KnownElection;
  /** On the clock of performance.now(). */
  readonly checkedAt: number;
}

/** From this age on an entry is read again, while votes go on with what it says. */
const REFRESH_AGE_MS = 400;
/** Above this age it has to be read again first. So a closed election is known here within a second. */
const MAX_AGE_MS = 900;
const UNKNOWN_FOR_MS = 1_000;
const FAILED_FOR_MS = 100;
const LOOKUP_TIMEOUT_MS = 5_000;
/** With an answer at hand that is a little old, there is less to wait for. */
const REFRESH_TIMEOUT_MS = 1_000;

// What callers can make this process remember, or ask ShardRouter at once.
const MAX_ELECTIONS = 1_000;
const MAX_UNKNOWN = 1_000;
const MAX_LOOKUPS = 100;

/**
 * Elections by id, read through ShardRouter and kept.
 *
 * A manifest never changes; what can is whether the election is closing. What keeps late votes out is the lock on
 * their shard's head, so that this may lag: it spares the shards votes that they would refuse, and no more.
 */
export class ElectionDirectory {
  readonly #router: Pick<ShardRouter, "getElection">;
  readonly #voterSecret: Uint8Array;
  readonly #promiseKey: PromiseKey | undefined;
  readonly #clock: Clock;
  readonly #logger: Logger;
  /** The one read longest ago first, which is the one to forget. */
  readonly #known = new Map<ElectionId, Entry>();
  /** Ids that name no election, until when that is believed. */
  readonly #unknown = new Map<ElectionId, number>();
  readonly #lookups = new Map<ElectionId, Promise<KnownElection>>();

  constructor({ router, voterSecret, promiseKey, clock, logger }: ElectionDirectoryOptions) {
    this.#router = router;
    this.#voterSecret = voterSecret;
    this.#promiseKey = promiseKey;
    this.#clock = clock;
    this.#logger = logger;
  }

  /** The election if it was read just now: what nearly every vote finds, without waiting. */
  fresh(id: ElectionId): KnownElection | undefined {
    const entry = this.#known.get(id);
    if (entry === undefined) return undefined;
    const age = performance.now() - entry.checkedAt;
    if (age > MAX_AGE_MS) return undefined;
    // A failure is left to whoever comes after MAX_AGE_MS, and asks again.
    if (age > REFRESH_AGE_MS) this.#lookup(id).catch(() => {});
    return entry.election;
  }

  /** Rejects with NOT_FOUND when there is no such election. */
  async get(id: ElectionId): Promise<KnownElection> {
    const fresh = this.fresh(id);
    if (fresh !== undefined) return fresh;
    if ((this.#unknown.get(id) ?? 0) > performance.now()) throw unknownElection();
    try {
      return await this.#lookup(id);
    } catch (error) {
      const stale = this.#known.get(id);
      // Votes need ShardRouter anyway, and retry; they must not fail because a lookup met the same short outage.
      if (stale !== undefined) return stale.election;
      throw error;
    }
  }

  /** Takes what ShardRouter has just said of an election. */
  async learn(stored: StoredElection): Promise<KnownElection> {
    const id = electionId(stored.electionId);
    const known = this.#known.get(id);
    const same = known !== undefined && Buffer.compare(known.manifest, stored.manifest) === 0;
    // Bytes of a decoded message are a view of its frame, which would be kept along with them.
    const manifest = same ? known.manifest : stored.manifest.slice();
    const election = same ? known.election : await this.#open(storedManifest(manifest));
    const current = stored.state === ElectionState.OPEN ? election : this.#closing(election);
    this.#known.delete(id);
    this.#known.set(id, { manifest, election: current, checkedAt: performance.now() });
    forgetOldest(this.#known, MAX_ELECTIONS);
    this.#unknown.delete(id);
    return current;
  }

  /** A closing election does not open again, even if a lookup that began earlier still says so. */
  #closing(election: KnownElection): KnownElection {
    if (election.closingSince !== null) return election;
    return { ...election, closingSince: this.#clock.nowMicros() };
  }

  /** One lookup at a time for an election, whoever asks. A failed one stands for a moment: nobody asks in a loop. */
  #lookup(id: ElectionId): Promise<KnownElection> {
    const current = this.#lookups.get(id);
    if (current !== undefined) return current;
    if (this.#lookups.size >= MAX_LOOKUPS) return Promise.reject(overloaded());
    const lookup = this.#read(id);
    this.#lookups.set(id, lookup);
    const done = () => this.#lookups.delete(id);
    lookup.then(done, (error: unknown) => {
      if (isNotFound(error)) done();
      else setTimeout(done, FAILED_FOR_MS).unref();
    });
    return lookup;
  }

  async #read(id: ElectionId): Promise<KnownElection> {
    try {
      const { election } = await this.#router.getElection(
        { electionId: id },
        { timeoutMs: this.#known.has(id) ? REFRESH_TIMEOUT_MS : LOOKUP_TIMEOUT_MS },
      );
      if (election === undefined) throw new Error("ShardRouter answered without an election");
      return await this.learn(election);
    } catch (error) {
      if (isNotFound(error)) {
        this.#known.delete(id);
        this.#unknown.delete(id);
        this.#unknown.set(id, performance.now() + UNKNOWN_FOR_MS);
        forgetOldest(this.#unknown, MAX_UNKNOWN);
        throw unknownElection();
      }
      // Without the id: one that names no election is whatever the caller put there.
      this.#logger.warn({ error }, "an election could not be read");
      throw upstreamError(error);
    }
  }

  async #open(manifest: Manifest): Promise<KnownElection> {
    const hash = manifestHash(manifest);
    return {
      id: manifest.electionId,
      shards: manifest.shards,
      opensAt: manifest.opensAt,
      closesAt: manifest.closesAt,
      closingSince: null,
      choices: choiceIndex(manifest),
      voterKey: VoterKey.derive(this.#voterSecret, hash),
      sealer: await ChoiceSealer.create({ manifest, clock: this.#clock }),
      promises: this.#promises(manifest),
    };
  }

  /** Votes are worth more than promises: where the key is not the one that voters know, they are taken without. */
  #promises(manifest: Manifest): PromiseSigner | undefined {
    const signer = this.#promiseKey?.signerFor(manifest);
    if (manifest.promises !== undefined && signer === undefined) {
      const election = manifest.electionId;
      this.#logger.error(
        { election },
        "votes get no promises: the manifest's promise_key is not this service's",
      );
    }
    return signer;
  }
}

/** ShardRouter stores what was checked. A manifest that does not parse now is no mistake of whoever calls now. */
export function storedManifest(bytes: Uint8Array): Manifest {
  try {
    return parseManifest(bytes);
  } catch (error) {
    throw new Error("ShardRouter answered with a manifest that cannot be read", { cause: error });
  }
}

function isNotFound(error: unknown): boolean {
  return error instanceof ServiceError && error.kind === "not-found";
}

function forgetOldest<K, V>(map: Map<K, V>, max: number): void {
  for (const key of map.keys()) {
    if (map.size <= max) return;
    map.delete(key);
  }
}

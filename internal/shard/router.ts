// ShardRouterService: which instance does what.
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type {
  AppendRequest,
  CloseElectionRequest,
  ConfirmSealedRequest,
  CreateElectionRequest,
  FindRecordsRequest,
  GetElectionRequest,
  HeadsRequest,
  ReadChainRequest,
  ShardRouterService,
} from "../../gen/ts/psephos/shard/v1/shard_pb.js";
import { parseManifest } from "../ballot/manifest.ts";
import type { VoteRecord } from "../ballot/record.ts";
import { shardOf } from "../ballot/voter-key.ts";
import { equalBytes } from "../core/bytes.ts";
import type { Clock } from "../core/clock.ts";
import { ServiceError } from "../core/errors.ts";
import { type Sequence, type ShardId, sequence, shardId } from "../core/ids.ts";
import type { Hash } from "../core/sha256.ts";
import type { Logger } from "../telemetry/logger.ts";
import { isUnavailable } from "./availability.ts";
import { type Answer, type PendingVote, UNAVAILABLE } from "./decide.ts";
import type { Election, Elections } from "./elections.ts";
import type { Instance } from "./instance.ts";
import type { Astray, ShardInstance, StoredHead } from "./ports.ts";
import { runMessage } from "./record-batch.ts";
import {
  appendResult,
  checkCount,
  checkElectionId,
  checkPseudonym,
  checkShard,
  electionMessage,
  headsMessage,
  pendingVotes,
} from "./wire.ts";

export interface ShardRouterOptions {
  /** By name; the first is the control instance. */
  readonly instances: ReadonlyMap<string, Instance>;
  readonly elections: Elections;
  /** The rules last found not to be as they were made, by instance; one that nobody has looked at is not there. */
  readonly brokenGuards: ReadonlyMap<string, readonly string[]>;
  /** Where the shards of a new election go; undefined where the placement map says nothing. */
  readonly place: (shards: number) => readonly (string | undefined)[];
  readonly clock: Clock;
  readonly logger: Logger;
}

/** How much later than another instance's answer one may come: many times what a group takes on a busy machine. */
const HANGING_MS = 1_000;

/** Records in one ReadChain response: about 75 KB. */
const PAGE_RECORDS = 500;

/** Places in one FindRecords response. */
const MOST_FOUND = 100;

/** Rules that a Heads response names of an instance: a superuser can add any number, and sealing waits for the heads. */
const MOST_GUARDS = 100;

export class ShardRouter implements ServiceImpl<typeof ShardRouterService> {
  readonly #instances: ReadonlyMap<string, Instance>;
  readonly #elections: Elections;
  readonly #brokenGuards: ShardRouterOptions["brokenGuards"];
  readonly #place: ShardRouterOptions["place"];
  readonly #clock: Clock;
  readonly #logger: Logger;
  /** Instances that elections name and the placement map does not, each to be reported once. */
  readonly #unknown = new Set<string>();

  constructor({ instances, elections, brokenGuards, place, clock, logger }: ShardRouterOptions) {
    this.#instances = instances;
    this.#elections = elections;
    this.#brokenGuards = brokenGuards;
    this.#place = place;
    this.#clock = clock;
    this.#logger = logger;
  }

  async append(request: AppendRequest, context: HandlerContext) {
    const election = await this.#elections.get(checkElectionId(request.electionId));
    const votes = pendingVotes(election, request);
    const answers = new Map<PendingVote, Answer>();
    const byInstance = Map.groupBy(votes, ({ shard }) => election.placement[shard] ?? "");
    const parts = [...byInstance].map(async ([name, part]) => {
      const decided = await this.#append(name, part, context.signal);
      for (const [index, vote] of part.entries()) answers.set(vote, decided[index] ?? UNAVAILABLE);
    });
    await this.#untilHanging(parts);
    return { results: votes.map((vote) => appendResult(vote, answers.get(vote) ?? UNAVAILABLE)) };
  }

  /**
   * Waits for the parts, but for the last ones no longer than a moment: an instance that hangs instead of failing must
   * not hold up the answers of the others. It counts as unavailable; when its votes are repeated, their tokens tell
   * what became of them.
   */
  async #untilHanging(parts: readonly Promise<void>[]): Promise<void> {
    const over = new AbortController();
    const patience = Promise.race(parts).then(() => this.#clock.sleep(HANGING_MS, over.signal));
    await Promise.race([Promise.all(parts), patience]);
    over.abort();
  }

  /** Streams a range page by page, and reads the next page when the caller has taken the last one. */
  async *readChain(request: ReadChainRequest) {
    const election = await this.#elections.get(checkElectionId(request.electionId));
    const shard = checkShard(election, request.shard, "shard");
    const first = checkCount(request.firstSequence, "first_sequence", 1);
    const limit = checkCount(request.limit, "limit", 0) || Number.MAX_SAFE_INTEGER;
    const instance = this.#instanceOf(election, shard);
    const heads = await instance.run((database) => database.readHeads(election.election));
    const head = heads.find((head) => head.shard === shard);
    if (head === undefined) throw lost(shard, "head");
    const end = Math.min(head.sequence, first + limit - 1);
    for (let next = first; next <= end; next += PAGE_RECORDS) {
      const [from, to] = [sequence(next), sequence(Math.min(next + PAGE_RECORDS - 1, end))];
      const key = { election: election.election, shard };
      const records = await instance.run((database) => database.readRecords(key, from, to));
      requireDense(records, from, to);
      yield { run: runMessage(shard, records) };
    }
    // Whoever reads a chain to its end is told that it is all there is.
    if (request.limit === 0n) {
      const key = { election: election.election, shard };
      requireNothingAstray(shard, await instance.run((database) => database.findAstray(key)));
    }
  }

  async findRecords(request: FindRecordsRequest) {
    const election = await this.#elections.get(checkElectionId(request.electionId));
    const shard = shardOf(checkPseudonym(request.voterPseudonym), election.manifest.shards);
    const limit = Math.min(request.limit || MOST_FOUND, MOST_FOUND);
    const key = { election: election.election, shard };
    const records = await this.#instanceOf(election, shard).run((database) =>
      database.findRecords(key, request.voterPseudonym, request.afterRevision, limit),
    );
    return {
      shard,
      records: records.map(({ sequence, revision }) => ({ sequence: BigInt(sequence), revision })),
    };
  }

  async heads(request: HeadsRequest) {
    const election = await this.#elections.getCurrent(checkElectionId(request.electionId));
    const found: StoredHead[] = [];
    const parts = this.#instancesOf(election).map(async ([name]) => {
      try {
        found.push(...(await this.#instance(name).run((database) => database.readHeads(election.election))));
      } catch (error) {
        if (!isUnavailable(error)) throw error;
      }
    });
    await this.#untilHanging(parts);
    return { ...headsMessage(found, election.state), guards: this.#guardsOf(election) };
  }

  /** Of the instances that keep an election: those with its shards, and the control instance. */
  #guardsOf(election: Election) {
    const [control = ""] = this.#instances.keys();
    const names = new Set([control, ...this.#instancesOf(election).map(([name]) => name)]);
    return [...names].flatMap((instance) => {
      const broken = this.#brokenGuards.get(instance);
      return broken ? [{ instance, broken: broken.slice(0, MOST_GUARDS) }] : [];
    });
  }

  /**
   * The election becomes visible, and takes votes, with the step to `open`. A crash before it leaves an election in
   * state `creating`, and one after it an instance without its copy: the same call with the same bytes completes both.
   */
  async createElection({ manifest: bytes }: CreateElectionRequest) {
    const manifest = parseManifest(bytes);
    const placement = this.#place(manifest.shards).map((name, shard) => {
      if (name !== undefined) return name;
      throw new ServiceError("failed-precondition", `the placement map has no instance for shard ${shard}`, {
        reason: "SHARD_NOT_PLACED",
      });
    });
    let election = await this.#elections.add({
      electionId: manifest.electionId,
      manifestBytes: bytes,
      placement,
      createdAt: this.#clock.nowMicros(),
    });
    if (!equalBytes(election.manifestBytes, bytes)) {
      throw new ServiceError("already-exists", `there is another election ${election.electionId}`, {
        reason: "ELECTION_EXISTS",
      });
    }
    // Never again after this state: heads that are missing later are lost, and new ones would begin a second chain.
    if (election.state === "creating") {
      await this.#createHeads(election);
      election = await this.#elections.advance(election, "creating", "open");
    }
    // Not before: who finds a copy takes votes.
    await this.#elections.copy(election);
    return { election: electionMessage(election) };
  }

  async #createHeads(election: Election): Promise<void> {
    await this.#onEachInstance(election, (database, shards) =>
      database.createHeads(
        election.election,
        // They are there: an election has as many as shards.
        shards.map((shard) => ({ shard, genesis: election.genesis[shard] as Hash })),
      ),
    );
  }

  async getElection(request: GetElectionRequest) {
    const election = await this.#elections.getCurrent(checkElectionId(request.electionId));
    return { election: electionMessage(election) };
  }

  async listElections() {
    return { elections: (await this.#elections.list()).map(electionMessage) };
  }

  /** Each step is done before the next begins and can be repeated, so a call that failed is completed by another. */
  async closeElection(request: CloseElectionRequest) {
    const known = await this.#elections.get(checkElectionId(request.electionId));
    const election = await this.#elections.advance(known, "open", "closing");
    if (election.state === "closed") return { election: electionMessage(election) };
    await this.#onEachInstance(election, (database) => database.closeHeads(election.election));
    return { election: electionMessage(await this.#elections.advance(election, "closing", "closed")) };
  }

  async confirmSealed(request: ConfirmSealedRequest) {
    const election = await this.#elections.get(checkElectionId(request.electionId));
    const sealed = new Map<ShardId, Sequence>();
    request.shards.forEach(({ shard, sequence: until }, index) => {
      const key = checkShard(election, shard, `shards[${index}].shard`);
      const value = checkCount(until, `shards[${index}].sequence`, 0);
      sealed.set(key, sequence(Math.max(value, sealed.get(key) ?? 0)));
    });
    await this.#onEachInstance(election, async (database, shards, { relay }) => {
      const moved = shards.flatMap((shard) => {
        const until = sealed.get(shard);
        return until === undefined ? [] : [{ shard, sequence: until }];
      });
      if (moved.length === 0) return;
      await database.confirmSealed(election.election, moved).catch(asLoss);
      for (const { shard, sequence } of moved) relay.sealed({ election: election.election, shard }, sequence);
    });
    return {};
  }

  #append(name: string, votes: readonly PendingVote[], signal: AbortSignal): Promise<readonly Answer[]> {
    const instance = this.#instances.get(name);
    if (instance !== undefined) return instance.committer.append(votes, signal);
    if (!this.#unknown.has(name)) {
      this.#unknown.add(name);
      this.#logger.error(
        { instance: name },
        "an election's shards are on an instance that is not configured",
      );
    }
    return Promise.resolve(votes.map(() => UNAVAILABLE));
  }

  /** Does `work` on every instance of an election, all at a time; then rejects if it failed on one. */
  async #onEachInstance(
    election: Election,
    work: (database: ShardInstance, shards: readonly ShardId[], instance: Instance) => Promise<void>,
  ): Promise<void> {
    const done = await Promise.allSettled(
      this.#instancesOf(election).map(async ([name, shards]) => {
        const instance = this.#instance(name);
        await instance.run((database) => work(database, shards, instance));
      }),
    );
    for (const result of done) if (result.status === "rejected") throw result.reason;
  }

  /** The instances of an election by name, each with its shards. */
  #instancesOf({ placement }: Election): [name: string, shards: ShardId[]][] {
    const shards = placement.map((_, shard) => shardId(shard));
    return [...Map.groupBy(shards, (shard) => placement[shard] ?? "")];
  }

  #instanceOf(election: Election, shard: ShardId): Instance {
    return this.#instance(election.placement[shard] ?? "");
  }

  #instance(name: string): Instance {
    const instance = this.#instances.get(name);
    if (instance !== undefined) return instance;
    throw new ServiceError("unavailable", `instance ${name} is not in the placement map`, {
      reason: "INSTANCE_UNKNOWN",
    });
  }
}

function requireDense(records: readonly VoteRecord[], first: Sequence, last: Sequence): void {
  const missing = Array.from({ length: last - first + 1 }, (_, index) => first + index).find(
    (sequence, index) => records[index]?.sequence !== sequence,
  );
  if (missing !== undefined) throw lost(records[0]?.shard, `record ${missing}`);
}

function requireNothingAstray(shard: ShardId, { row, head }: Astray): void {
  const reason = "RECORD_ASTRAY";
  if (row !== undefined) {
    throw new ServiceError("data-loss", `shard ${shard}: a row at sequence ${row} is outside of the chain`, {
      reason,
    });
  }
  if (head) {
    throw new ServiceError("data-loss", `shard ${shard}: the head has another hash than the last record`, {
      reason,
    });
  }
}

/** A database that had fewer votes than AuditService has sealed. */
function asLoss(error: unknown): never {
  if (error instanceof ServiceError && error.kind === "failed-precondition") {
    throw new ServiceError("data-loss", "a shard has fewer votes than are sealed", {
      reason: "SEALED_BEYOND_HEAD",
      cause: error,
    });
  }
  throw error;
}

function lost(shard: ShardId | undefined, what: string): ServiceError {
  return new ServiceError("data-loss", `shard ${shard}: ${what} is missing`, { reason: "RECORD_MISSING" });
}

// What the databases have of an election already, and whether that is the evidence's: nothing, a part that an earlier run
// of this command left, or the whole of an instance that was not lost.
import type { ChainHead } from "../ballot/chain.ts";
import { verifyRun } from "../ballot/chain.ts";
import { genesisHash, type VoteRecord } from "../ballot/record.ts";
import { equalBytes } from "../core/bytes.ts";
import { messageOf } from "../core/errors.ts";
import { type ShardId, sequence, shardId } from "../core/ids.ts";
import type { Hash } from "../core/sha256.ts";
import type { ElectionState, StoredElection } from "../shard/ports.ts";
import type { ElectionEvidence } from "./election-evidence.ts";
import { RestoreRefusedError } from "./errors.ts";
import { type Instances, namedInstance } from "./instances.ts";
import type { FoundElections, FoundShard, RestoredHead, RestoreInstance } from "./ports.ts";
import type { VerifiedLog } from "./verify-log.ts";

export interface ElectionTargetOptions {
  readonly evidence: ElectionEvidence;
  /** As it is, or is to be, in the control instance. */
  readonly election: StoredElection;
  readonly instances: Instances;
}

/** Records that are read or compared at once. */
const PAGE_RECORDS = 1_000;

/** The databases of one election, compared with its evidence while that is read. */
export class ElectionTarget {
  readonly election: StoredElection;
  readonly #evidence: ElectionEvidence;
  readonly #instances: Instances;
  readonly #found = new Map<ShardId, FoundShard>();
  /** The evidence's hash at the place of each stored head. */
  readonly #hashAtHead = new Map<ShardId, Hash>();
  /** What is ahead of the evidence: an instance that was not lost has votes that were not sealed yet. */
  readonly #ahead = new Map<ShardId, ChainHead>();
  #unsealed = 0;

  private constructor({ evidence, election, instances }: ElectionTargetOptions) {
    this.#evidence = evidence;
    this.election = election;
    this.#instances = instances;
  }

  /** Throws a RestoreRefusedError when what is there is no one's first part of a chain. */
  static async open(options: ElectionTargetOptions): Promise<ElectionTarget> {
    const target = new ElectionTarget(options);
    for (const name of new Set(options.election.placement)) await target.#survey(name);
    return target;
  }

  instanceOf(shard: ShardId): RestoreInstance {
    return namedInstance(this.#instances, this.election, this.election.placement[shard] ?? "");
  }

  /** Whether a record is in its database, where it was compared with the evidence. */
  has({ shard, sequence }: VoteRecord): boolean {
    return sequence <= this.recordsOf(shard);
  }

  recordsOf(shard: ShardId): number {
    return this.#found.get(shard)?.records ?? 0;
  }

  /** Compares those of these records that are there. Throws a RestoreRefusedError that names the first that differs. */
  async compare(records: readonly VoteRecord[]): Promise<void> {
    for (const record of records) {
      if (record.sequence === this.#found.get(record.shard)?.head?.sequence) {
        this.#hashAtHead.set(record.shard, record.hash);
      }
    }
    const there = Map.groupBy(
      records.filter((record) => this.has(record)),
      ({ shard }) => this.instanceOf(shard),
    );
    for (const [instance, part] of there) {
      for (let start = 0; start < part.length; start += PAGE_RECORDS) {
        const page = part.slice(start, start + PAGE_RECORDS);
        const place = await instance.findDifference(this.election.election, page);
        if (place) throw this.#refuse(place.shard, `sequence ${place.sequence} is not what the evidence has`);
      }
    }
  }

  /** Compares the heads, and reads what goes beyond the evidence. Called when all of the evidence was compared. */
  async compareHeads(log: VerifiedLog): Promise<void> {
    for (const found of this.#found.values()) {
      const sealed = log.heads[found.shard];
      if (!sealed) continue;
      const { shard, head } = found;
      if (head && head.sequence !== found.records) {
        throw this.#refuse(shard, `its head is at ${head.sequence} and it has ${found.records} records`);
      }
      if (found.records > sealed.sequence) await this.#readAhead(found, sealed, log.closed);
      else if (head) {
        const { manifestHash } = this.#evidence;
        const expected = head.sequence === 0 ? genesisHash(manifestHash, shard) : this.#hashAtHead.get(shard);
        if (!expected || !equalBytes(head.hash, expected))
          throw this.#refuse(shard, "its head has another hash");
        if (head.closed && head.sequence < sealed.sequence) {
          throw this.#refuse(
            shard,
            `it is closed at ${head.sequence}, the evidence goes on to ${sealed.sequence}`,
          );
        }
      }
    }
  }

  /** Votes that are in the databases and not in the evidence: they stay, and will be sealed. */
  get unsealed(): number {
    return this.#unsealed;
  }

  /** Each shard's head as it is to be. */
  heads(log: VerifiedLog): RestoredHead[] {
    return log.heads.map((sealed, index) => {
      const shard = shardId(index);
      return {
        ...(this.#ahead.get(shard) ?? sealed),
        genesis: genesisHash(this.#evidence.manifestHash, shard),
        // An election whose closing had come to its end takes no votes on a lost instance either.
        closed: this.state(log) === "closed" || this.#found.get(shard)?.head?.closed === true,
        sealedSequence: sealed.sequence,
      };
    });
  }

  /** A closing that had begun goes on as one: no head that it has closed is opened again. */
  state(log: VerifiedLog): ElectionState {
    if (log.closed) return "closed";
    const { state } = this.election;
    if (state === "closing" || state === "closed") return state;
    return [...this.#found.values()].some(({ head }) => head?.closed) ? "closing" : "open";
  }

  async #survey(name: string): Promise<void> {
    const instance = namedInstance(this.#instances, this.election, name);
    const { manifest, manifestHash } = this.#evidence;
    for (const found of await instance.findShards(this.election.election)) {
      const { shard, records, last, head } = found;
      if (this.election.placement[shard] !== name) {
        throw this.#refuse(
          shard,
          `instance ${name} has it, and it belongs to ${this.election.placement[shard]}`,
        );
      }
      if (shard >= manifest.shards) throw this.#refuse(shard, `the election has ${manifest.shards} shards`);
      if (records !== last)
        throw this.#refuse(shard, `of the records up to ${last}, ${last - records} are missing`);
      if (head && !equalBytes(head.genesis, genesisHash(manifestHash, shard))) {
        throw this.#refuse(shard, "it is another election's");
      }
      this.#found.set(shard, found);
    }
  }

  async #readAhead({ shard, records, head }: FoundShard, sealed: ChainHead, closed: boolean): Promise<void> {
    if (closed) throw this.#refuse(shard, `it has ${records} records, the closed log ${sealed.sequence}`);
    if (!head)
      throw this.#refuse(
        shard,
        `it goes on after ${sealed.sequence}, where the evidence ends, and has no head`,
      );
    const key = { election: this.election.election, shard };
    let end = sealed;
    try {
      while (end.sequence < records) {
        const last = sequence(Math.min(end.sequence + PAGE_RECORDS, records));
        const page = await this.instanceOf(shard).readRecords(key, sequence(end.sequence + 1), last);
        end = verifyRun(end, page, this.#evidence.manifest.shards);
      }
    } catch (error) {
      throw this.#refuse(shard, messageOf(error), error);
    }
    if (!equalBytes(end.hash, head.hash))
      throw this.#refuse(shard, "its head has another hash than its last record");
    this.#ahead.set(shard, end);
    this.#unsealed += end.sequence - sealed.sequence;
  }

  #refuse(shard: ShardId, problem: string, cause?: unknown): RestoreRefusedError {
    const { electionId, placement } = this.election;
    return new RestoreRefusedError(
      `instance ${placement[shard]} has something else of ${electionId} than the evidence: shard ${shard}: ${problem}`,
      { cause },
    );
  }
}

/** An election as the databases know it, or as it is to be made known to them, under a number that is not `taken`. */
export function electionIn(
  databases: ReadonlyMap<string, FoundElections>,
  { electionId, manifest, manifestBytes }: ElectionEvidence,
  fresh: () => { readonly placement: readonly string[]; readonly createdAt: number },
  taken: readonly number[],
): StoredElection {
  const known = [...databases].flatMap(([name, { elections, copies }]) =>
    [...elections, ...copies.map((copy) => ({ ...copy, state: "creating" as const }))]
      .filter((election) => election.electionId === electionId)
      .map((election) => ({ name, election })),
  );
  const [first] = known;
  for (const { name, election } of known) {
    const same =
      equalBytes(election.manifestBytes, manifestBytes) &&
      election.election === first?.election.election &&
      election.placement.join() === first.election.placement.join();
    if (!same) {
      throw new RestoreRefusedError(`instance ${name} has another election ${electionId} than the evidence`);
    }
  }
  if (first) return first.election;
  const { placement, createdAt } = fresh();
  if (placement.length !== manifest.shards)
    throw new RangeError("a placement has one instance for each shard");
  const election = highestIn(databases, taken) + 1;
  return { election, electionId, manifestBytes, placement, state: "creating", createdAt };
}

/** The highest number that is given to an election anywhere, or `taken`. */
export function highestIn(databases: ReadonlyMap<string, FoundElections>, taken: readonly number[]): number {
  return Math.max(...taken, ...[...databases.values()].map(({ highestNumber }) => highestNumber));
}

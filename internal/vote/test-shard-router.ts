// For tests: a ShardRouter in memory. It keeps the promises of shard.proto (one vote a voter, request tokens, dense
// chains, closing) and lets a test come between a call and its answer. It fits as a client and as an implementation.
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  AppendOutcome,
  type AppendRequest,
  AppendRequestSchema,
  type AppendResponse,
  AppendResponseSchema,
  type AppendResult,
  AppendResultSchema,
  type CloseElectionRequestSchema,
  CloseElectionResponseSchema,
  type CreateElectionRequestSchema,
  CreateElectionResponseSchema,
  type Election,
  ElectionSchema,
  ElectionState,
  type GetElectionRequestSchema,
  GetElectionResponseSchema,
  type HeadsRequestSchema,
  HeadsResponseSchema,
  ListElectionsResponseSchema,
  type NewVote,
  type ReadChainRequestSchema,
  ReadChainResponseSchema,
} from "../../gen/ts/psephos/shard/v1/shard_pb.js";
import { appendVotes, type ChainHead, genesisHeads } from "../ballot/chain.ts";
import { encodeManifest, type Manifest, parseManifest } from "../ballot/manifest.ts";
import type { VoteRecord } from "../ballot/record.ts";
import { shardOf } from "../ballot/voter-key.ts";
import { equalBytes, toHex } from "../core/bytes.ts";
import { ServiceError } from "../core/errors.ts";
import { voteIdOf } from "../core/ids.ts";
import { sha256 } from "../core/sha256.ts";
import type { ShardRouter } from "./shard-router.ts";

interface Stored {
  readonly manifest: Manifest;
  readonly election: Election;
  readonly heads: ChainHead[];
  readonly records: VoteRecord[][];
  readonly voters: Map<string, { readonly token: string; readonly result: AppendResult }>;
}

/** Comes between a batch and its answer: `record` does what ShardRouter would do. */
export type OnAppend = (
  request: AppendRequest,
  record: (request?: AppendRequest) => AppendResponse,
) => AppendResponse | Promise<AppendResponse>;

export class TestShardRouter implements ShardRouter {
  readonly #stored = new Map<string, Stored>();
  /** The batches that came, in order. */
  readonly batches: AppendRequest[] = [];
  /** How many GetElection calls came. */
  reads = 0;
  onAppend: OnAppend = (_request, record) => record();
  /** Comes before every call but Append; what it throws is the call's answer. */
  onCall: () => void | Promise<void> = () => {};
  /** Shards whose instance is down. */
  readonly down = new Set<number>();
  /** How far every shard is sealed. */
  sealed = 0n;

  /** Creates an election without a call. */
  add(manifest: Manifest): Manifest {
    this.#create(encodeManifest(manifest));
    return manifest;
  }

  close(electionId: string): void {
    this.#get(electionId).election.state = ElectionState.CLOSED;
  }

  /** All records of an election. */
  records(electionId: string): VoteRecord[] {
    return this.#get(electionId).records.flat();
  }

  readonly append = async (init: MessageInitShape<typeof AppendRequestSchema>) => {
    const request = create(AppendRequestSchema, init);
    this.batches.push(request);
    return this.onAppend(request, (changed = request) => this.#append(changed));
  };

  readonly getElection = async ({ electionId = "" }: MessageInitShape<typeof GetElectionRequestSchema>) => {
    this.reads++;
    await this.onCall();
    return create(GetElectionResponseSchema, { election: this.#get(electionId).election });
  };

  readonly listElections = async () => {
    await this.onCall();
    const ids = [...this.#stored.keys()].sort();
    return create(ListElectionsResponseSchema, { elections: ids.map((id) => this.#get(id).election) });
  };

  readonly createElection = async ({ manifest }: MessageInitShape<typeof CreateElectionRequestSchema>) => {
    await this.onCall();
    return create(CreateElectionResponseSchema, { election: this.#create(manifest ?? new Uint8Array(0)) });
  };

  readonly closeElection = async ({
    electionId = "",
  }: MessageInitShape<typeof CloseElectionRequestSchema>) => {
    await this.onCall();
    this.close(electionId);
    return create(CloseElectionResponseSchema, { election: this.#get(electionId).election });
  };

  readonly heads = async ({ electionId = "" }: MessageInitShape<typeof HeadsRequestSchema>) => {
    await this.onCall();
    const { heads, election } = this.#get(electionId);
    return create(HeadsResponseSchema, {
      state: election.state,
      heads: heads
        .filter(({ shard }) => !this.down.has(shard))
        .map(({ shard, sequence, hash, castAt }) => ({
          shard,
          sequence: BigInt(sequence),
          hash,
          castAtMicros: BigInt(castAt),
          closed: election.state === ElectionState.CLOSED,
          sealedSequence: this.sealed,
        })),
    });
  };

  readonly readChain = async function* (
    this: TestShardRouter,
    range: MessageInitShape<typeof ReadChainRequestSchema>,
  ) {
    await this.onCall();
    const { electionId = "", shard = 0, firstSequence = 1n, limit = 0n } = range;
    const first = Number(firstSequence) - 1;
    const records = this.#get(electionId).records[shard]?.slice(
      first,
      limit ? first + Number(limit) : undefined,
    );
    if (records === undefined || records.length === 0) return;
    yield create(ReadChainResponseSchema, {
      run: {
        shard,
        firstSequence,
        records: records.map((record) => ({ ...record, castAtMicros: BigInt(record.castAt) })),
      },
    });
  }.bind(this);

  #get(electionId: string): Stored {
    const stored = this.#stored.get(electionId);
    if (stored === undefined) throw new ServiceError("not-found", "no such election");
    return stored;
  }

  #create(bytes: Uint8Array): Election {
    const manifest = parseManifest(bytes);
    const known = this.#stored.get(manifest.electionId);
    if (known !== undefined) {
      if (equalBytes(known.election.manifest, bytes)) return known.election;
      throw new ServiceError("already-exists", "the id has another manifest", { reason: "ELECTION_EXISTS" });
    }
    const election = create(ElectionSchema, {
      electionId: manifest.electionId,
      manifest: bytes,
      state: ElectionState.OPEN,
      createdAtMicros: 1_600_000_000_000_001n,
    });
    this.#stored.set(manifest.electionId, {
      manifest,
      election,
      heads: genesisHeads(sha256(bytes), manifest.shards),
      records: Array.from({ length: manifest.shards }, () => []),
      voters: new Map(),
    });
    return election;
  }

  #append({ electionId, votes }: AppendRequest): AppendResponse {
    const stored = this.#get(electionId);
    return create(AppendResponseSchema, { results: votes.map((vote) => this.#appendOne(stored, vote)) });
  }

  #appendOne({ manifest, election, heads, records, voters }: Stored, vote: NewVote): AppendResult {
    const shard = shardOf(vote.voterPseudonym, manifest.shards);
    const head = heads[shard];
    if (head === undefined) throw new Error("a shard that the manifest does not have");
    if (this.down.has(shard)) return create(AppendResultSchema, { outcome: AppendOutcome.UNAVAILABLE });
    const key = toHex(vote.voterPseudonym);
    const token = toHex(vote.requestToken);
    const known = voters.get(key);
    if (known?.token === token) return known.result;
    const nowMicros = Date.now() * 1_000;
    if (
      election.state !== ElectionState.OPEN ||
      nowMicros >= (manifest.closesAt ?? Number.POSITIVE_INFINITY)
    ) {
      return create(AppendResultSchema, { outcome: AppendOutcome.CLOSED });
    }
    if (known !== undefined && manifest.revoting === "forbidden") {
      return create(AppendResultSchema, { outcome: AppendOutcome.ALREADY_VOTED });
    }
    const revision = (known?.result.revision ?? 0) + 1;
    // Copies: what a server decodes is a view of its frame.
    const content = {
      voterPseudonym: vote.voterPseudonym.slice(),
      sealedChoice: vote.sealedChoice.slice(),
      revision,
    };
    const next = appendVotes(head, [content], { shards: manifest.shards, nowMicros });
    heads[shard] = next.head;
    records[shard]?.push(...next.records);
    const result = create(AppendResultSchema, {
      outcome: AppendOutcome.RECORDED,
      voteId: BigInt(voteIdOf(shard, next.head.sequence, manifest.shards)),
      castAtMicros: BigInt(next.head.castAt),
      hash: next.head.hash,
      revision,
    });
    voters.set(key, { token, result });
    return result;
  }
}

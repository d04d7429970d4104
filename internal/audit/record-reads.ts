// The methods of AuditService that read many records. They run in the process that seals: each is bounded, does its work a
// millisecond at a time, and only a few run at once.
import type { Client, HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type { AuditService, SealedRecord } from "../../gen/ts/psephos/audit/v1/audit_pb.js";
import type { ShardRouterService } from "../../gen/ts/psephos/shard/v1/shard_pb.js";
import { PSEUDONYM_SIZE } from "../ballot/record.ts";
import { equalBytes } from "../core/bytes.ts";
import { invalidField, ServiceError } from "../core/errors.ts";
import { type ShardId, sequence, shardId, voteIdOf } from "../core/ids.ts";
import type { AuditedElection } from "./election-log.ts";
import type { LogHead } from "./head.ts";
import { listRecords } from "./list-records.ts";
import { type LocatedRecord, recordOf, type SealedLog } from "./locate.ts";
import { TurnoutSearch, tooMuch } from "./turnout.ts";

const MOST_LISTED = 100_000;
const MOST_REVISIONS = 50;
/** What the database's integers hold. */
const MOST_REVISION = 2 ** 31 - 1;
/** Votes under last-counts whose voters are counted one by one. */
const MOST_COUNTED = 100_000;
/** Shards that are searched at a time. */
const SHARDS_AT_ONCE = 8;
const MOST_CALLS = 4;

/** A log to be read, with its election and the head it rests on. */
export interface ReadableLog {
  readonly election: AuditedElection;
  readonly head: LogHead;
  readonly log: SealedLog;
}

export interface RecordReadsOptions {
  readonly open: (electionId: string) => Promise<ReadableLog>;
  /** Where a voter's records are, by the index of their shard's database. */
  readonly findRecords: Client<typeof ShardRouterService>["findRecords"];
}

export type RecordReads = Pick<ServiceImpl<typeof AuditService>, "listRecords" | "getHistory" | "getTurnout">;

export function recordReads({ open, findRecords }: RecordReadsOptions): RecordReads {
  let calls = 0;

  /** Takes a place among the calls under way, until it is disposed of. */
  function enter(): Disposable {
    if (calls >= MOST_CALLS) {
      throw new ServiceError("resource-exhausted", "too many questions to the evidence at once", {
        reason: "TOO_MANY_READS",
        retryDelayMs: 1_000,
      });
    }
    calls++;
    return { [Symbol.dispose]: () => void calls-- };
  }

  return {
    async *listRecords(request, { signal }: HandlerContext) {
      using _ = enter();
      const { election, log } = await open(request.electionId);
      if (request.firstIndex > BigInt(log.tree.size)) {
        throw invalidField("first_index", `the log has ${log.tree.size} entries`);
      }
      const first = Number(request.firstIndex);
      const limit = Math.min(request.limit || MOST_LISTED, MOST_LISTED);
      for await (const { records, next } of listRecords(log, first, Math.min(log.tree.size, first + limit))) {
        signal.throwIfAborted();
        yield { records: records.map((found) => recordMessage(election, found)), nextIndex: BigInt(next) };
      }
    },

    async getHistory(request, { signal }: HandlerContext) {
      if (request.voterPseudonym.length !== PSEUDONYM_SIZE) {
        throw invalidField("voter_pseudonym", `must be ${PSEUDONYM_SIZE} bytes`);
      }
      if (request.afterRevision > MOST_REVISION) {
        throw invalidField("after_revision", `must be at most ${MOST_REVISION}`);
      }
      using _ = enter();
      const { election, head, log } = await open(request.electionId);
      const { electionId, voterPseudonym, afterRevision } = request;
      const places = await findRecords(
        { electionId, voterPseudonym, afterRevision, limit: MOST_REVISIONS + 1 },
        { signal },
      );
      const shard = shardId(places.shard);
      const sealed = places.records.filter(
        (place) => Number(place.sequence) <= (head.shardHeads[shard]?.sequence ?? 0),
      );
      const records = [];
      for (const [position, place] of sealed.slice(0, MOST_REVISIONS).entries()) {
        signal.throwIfAborted();
        const found = await recordOf(log, { shard, sequence: sequence(place.sequence) });
        requireRevision(found, voterPseudonym, afterRevision + position + 1);
        records.push(recordMessage(election, found));
      }
      return { records, more: sealed.length > MOST_REVISIONS };
    },

    async getTurnout(request, { signal }: HandlerContext) {
      using _ = enter();
      const { election, head, log } = await open(request.electionId);
      // Before any search, which would be for nothing.
      if (election.manifest.revoting !== "forbidden" && !request.votesOnly && log.tree.size > MOST_COUNTED)
        throw tooMuch(`voters of more than ${MOST_COUNTED} votes are not counted here`);
      const asOf = request.asOfMicros === 0n ? Number.POSITIVE_INFINITY : Number(request.asOfMicros);
      const votes = await votesBy(asOf);
      const total = votes.reduce((sum, each) => sum + each, 0);
      const voters = await votersOf();
      const totalVoters = voters?.reduce((sum, each) => sum + each, 0);
      return {
        shards: votes.map((each, shard) => ({
          shard,
          votes: BigInt(each),
          ...optionalVoters(voters?.[shard]),
        })),
        votes: BigInt(total),
        ...optionalVoters(totalVoters),
        treeSize: BigInt(head.treeSize),
      };

      async function votesBy(moment: number): Promise<number[]> {
        const sealed = head.shardHeads.map((shard) => shard.sequence as number); // Of a shard, as many votes.
        if (moment === Number.POSITIVE_INFINITY) return sealed;
        const search = new TurnoutSearch(log, signal);
        const left = sealed.map((_, shard) => shardId(shard));
        const work = async () => {
          for (let shard = left.pop(); shard !== undefined; shard = left.pop()) {
            sealed[shard] = await search.votesOf(shard, moment);
          }
        };
        await Promise.all(Array.from({ length: SHARDS_AT_ONCE }, work));
        return sealed;
      }

      /** Where nobody votes twice, each vote is a voter's. Otherwise a first revision is a voter. */
      async function votersOf(): Promise<readonly number[] | undefined> {
        if (election.manifest.revoting === "forbidden") return votes;
        if (request.votesOnly) return undefined;
        const voters = votes.map(() => 0);
        for await (const { records } of listRecords(log, 0, log.tree.size)) {
          signal.throwIfAborted();
          for (const { record } of records)
            if (record.revision === 1 && record.castAt <= asOf) increment(voters, record.shard);
        }
        return voters;
      }
    },
  };
}

function increment(counts: number[], shard: ShardId): void {
  counts[shard] = (counts[shard] ?? 0) + 1;
}

function optionalVoters(voters: number | undefined): { voters?: bigint } {
  return voters === undefined ? {} : { voters: BigInt(voters) };
}

/** The database said where to look; what lies there is the evidence's word. */
function requireRevision({ record }: LocatedRecord, voter: Uint8Array, revision: number): void {
  if (equalBytes(record.voterPseudonym, voter) && record.revision === revision) return;
  throw new ServiceError(
    "data-loss",
    `the database's index of shard ${record.shard} does not agree with the evidence at sequence ${record.sequence}`,
    { reason: "INDEX_DIFFERS" },
  );
}

function recordMessage(
  { manifest }: AuditedElection,
  { index, record, segmentKey }: LocatedRecord,
): Omit<SealedRecord, "$typeName" | "$unknown"> {
  return {
    index: BigInt(index),
    voteId: BigInt(voteIdOf(record.shard, record.sequence, manifest.shards)),
    shard: record.shard,
    sequence: BigInt(record.sequence),
    voterPseudonym: record.voterPseudonym,
    revision: record.revision,
    sealedChoice: record.sealedChoice,
    castAtMicros: BigInt(record.castAt),
    hash: record.hash,
    segmentKey,
  };
}

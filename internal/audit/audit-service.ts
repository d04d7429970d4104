import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type { AuditService, Head } from "../../gen/ts/psephos/audit/v1/audit_pb.js";
import { SealingState } from "../../gen/ts/psephos/audit/v1/audit_pb.js";
import { invalidField, ServiceError } from "../core/errors.ts";
import { type ElectionId, isElectionId, positionOf, type TreeSize, treeSize, voteIdOf } from "../core/ids.ts";
import type { Hash } from "../core/sha256.ts";
import { checkpointKey } from "../evidence/layout.ts";
import { parseVoteCheckpoint } from "../evidence/vote-checkpoint.ts";
import { TlogError } from "../tlog/errors.ts";
import { GrowingTree } from "../tlog/growing-tree.ts";
import { TileReader } from "../tlog/tile-reader.ts";
import { ObjectArchivedError } from "../worm/object-store.ts";
import type { LogStores } from "./election-log.ts";
import type { ElectionSealer, SealingStatus } from "./election-sealer.ts";
import type { LogHead } from "./head.ts";
import { type LocatedRecord, recordAt, recordOf } from "./locate.ts";
import { type RecordReadsOptions, recordReads } from "./record-reads.ts";
import { lastBlockOf } from "./stored-segments.ts";

const MOST_CHECKPOINTS = 1_000;
const MOST_CHECKPOINT_BYTES = 2 * 1024 * 1024;

/** A log as it was at a certain size. The reader is of the newest one, whose tiles prove all older sizes as well. */
interface SizedLog {
  readonly size: TreeSize;
  readonly root: Hash;
  readonly reader: TileReader;
}

export interface AuditServiceOptions {
  /** The election's sealer; undefined for an election nobody knows. */
  readonly sealerOf: (election: ElectionId) => Promise<ElectionSealer | undefined>;
  /** For reading. An evidence store of its own, so that no reader takes the sealer's turns. */
  readonly stores: LogStores;
  readonly findRecords: RecordReadsOptions["findRecords"];
  /** Why nothing can be sealed for the time being; undefined while nothing is in the way. */
  readonly waitingBecause?: (() => string | undefined) | undefined;
}

type HeadInit = Omit<Head, "$typeName" | "$unknown">;

/** AuditService's answers, all from what is committed. */
export function auditService(options: AuditServiceOptions): ServiceImpl<typeof AuditService> {
  const { sealerOf, stores, findRecords, waitingBecause = () => undefined } = options;
  const { evidence, tiles } = stores;

  async function sealer(id: string): Promise<ElectionSealer> {
    if (!isElectionId(id)) throw invalidField("election_id", "is not an election id");
    const found = await sealerOf(id);
    if (!found) throw new ServiceError("not-found", "no such election", { reason: "NO_SUCH_ELECTION" });
    return found;
  }

  async function committed(id: string): Promise<{ sealer: ElectionSealer; head: LogHead }> {
    const found = await sealer(id);
    const { state, head: known } = found.status.current;
    // A standby answers from the row: whoever is active has committed it.
    const head = (state !== "standby" && known) || (await stores.heads.load(found.election.electionId));
    if (!head || head.treeSize === 0) {
      throw new ServiceError("unavailable", "the log has no entry yet", {
        reason: "EMPTY_LOG",
        retryDelayMs: 1_000,
      });
    }
    return { sealer: found, head };
  }

  function readerOf({ electionId, treeSize, root }: LogHead): TileReader {
    return new TileReader({ fetch: (path) => tiles.get(`${electionId}/${path}`), size: treeSize, root });
  }

  /** The log as it was at `size`, which need not have been a head's; 0 is the newest. */
  async function logAt(head: LogHead, field: string, size: bigint): Promise<SizedLog> {
    if (size > BigInt(head.treeSize)) throw invalidField(field, `the log has ${head.treeSize} entries`);
    const reader = readerOf(head);
    const wanted = size === 0n ? head.treeSize : treeSize(size);
    return { size: wanted, root: await reader.rootAt(wanted), reader };
  }

  async function locate(
    { sealer, head }: { sealer: ElectionSealer; head: LogHead },
    name: { case: "index" | "voteId"; value: bigint } | { case: undefined; value?: undefined },
    tree: TileReader,
  ): Promise<LocatedRecord> {
    const { electionId, manifest } = sealer.election;
    const log = { election: electionId, evidence, tree };
    if (name.case === undefined) throw invalidField("index", "either index or vote_id must be given");
    if (name.case === "index") {
      if (name.value >= BigInt(head.treeSize)) throw notSealed();
      const found = await recordAt(log, Number(name.value));
      if (!found) throw invalidField("index", "the entry there is not a vote");
      return found;
    }
    if (name.value < 1n || name.value > BigInt(Number.MAX_SAFE_INTEGER)) {
      throw invalidField("vote_id", "is not a vote id");
    }
    const place = positionOf(Number(name.value) as Parameters<typeof positionOf>[0], manifest.shards);
    if (place.sequence > (head.shardHeads[place.shard]?.sequence ?? 0)) throw notSealed();
    return recordOf(log, place);
  }

  const reads = recordReads({
    findRecords,
    open: async (id) => {
      const { sealer, head } = await committed(id);
      const log = { election: head.electionId, evidence, tree: readerOf(head) };
      return { election: sealer.election, head, log };
    },
  });

  function headOf(
    electionId: string,
    { head, state, haltedBecause, pausedBecause }: SealingStatus,
  ): HeadInit {
    const sealsYet = state === "sealing" || state === "standby";
    return {
      electionId,
      treeSize: BigInt(head?.treeSize ?? 0),
      root: head?.root ?? GrowingTree.empty().root(),
      state: STATES[state],
      committedAtMicros: BigInt(head?.committedAt ?? 0),
      haltedBecause: haltedBecause ?? "",
      waitingBecause: pausedBecause ?? ((sealsYet && waitingBecause()) || ""),
    };
  }

  return {
    async *listRecords(request, context) {
      try {
        yield* reads.listRecords(request, context);
      } catch (error) {
        throw explain(error);
      }
    },

    getHistory: reading(reads.getHistory),

    getTurnout: reading(reads.getTurnout),

    async getHead(request) {
      const { status } = await sealer(request.electionId);
      return { head: headOf(request.electionId, status.current) };
    },

    async *watchHeads(request, context: HandlerContext) {
      const watched = await sealer(request.electionId);
      for await (const status of watched.status.watch(context.signal)) {
        yield { head: headOf(request.electionId, status) };
      }
    },

    getInclusionProof: reading(async (request) => {
      const log = await committed(request.electionId);
      const { size, root, reader } = await logAt(log.head, "tree_size", request.treeSize);
      const index =
        request.entry.case === "index"
          ? Number(request.entry.value)
          : (await locate(log, request.entry, reader)).index;
      if (index >= size)
        throw invalidField(request.entry.case ?? "index", `not in the first ${size} entries`);
      const [entry, proof] = await Promise.all([reader.entry(index), reader.inclusionProof(index, size)]);
      return { index: BigInt(index), entry, treeSize: BigInt(size), root, proof };
    }),

    getConsistencyProof: reading(async (request) => {
      const { head } = await committed(request.electionId);
      const { size, root, reader } = await logAt(head, "new_size", request.newSize);
      if (request.oldSize > BigInt(size)) throw invalidField("old_size", `larger than ${size}`);
      const proof = await reader.consistencyProof(Number(request.oldSize), size);
      return { newSize: BigInt(size), newRoot: root, proof };
    }),

    getRecord: reading(async (request) => {
      const log = await committed(request.electionId);
      const { index, record, segmentKey } = await locate(log, request.record, readerOf(log.head));
      return {
        index: BigInt(index),
        voteId: BigInt(voteIdOf(record.shard, record.sequence, log.sealer.election.manifest.shards)),
        shard: record.shard,
        sequence: BigInt(record.sequence),
        voterPseudonym: record.voterPseudonym,
        revision: record.revision,
        sealedChoice: record.sealedChoice,
        castAtMicros: BigInt(record.castAt),
        hash: record.hash,
        segmentKey,
      };
    }),

    listCheckpoints: reading(async (request) => {
      const { head } = await committed(request.electionId);
      const first = Math.max(1, Number(request.firstNumber));
      const limit = Math.min(request.limit || MOST_CHECKPOINTS, MOST_CHECKPOINTS);
      const checkpoints = [];
      let bytes = 0;
      for (let number = first; number < first + limit && number <= lastBlockOf(head.treeSize); number++) {
        const json = await evidence.get(checkpointKey(head.electionId, number));
        bytes += json?.length ?? 0;
        // Half of what a message may have: a block that took long has many segments.
        if (!json || (checkpoints.length > 0 && bytes > MOST_CHECKPOINT_BYTES)) break;
        const { treeSize, treeRoot } = parseVoteCheckpoint(json);
        checkpoints.push({
          number: BigInt(number),
          treeSize: BigInt(treeSize),
          root: treeRoot,
          checkpointJson: json,
        });
      }
      return { checkpoints };
    }),
  };
}

/** A method that reads tiles or evidence, either of which may not be at hand. */
function reading<Request, Response>(
  method: (request: Request, context: HandlerContext) => Promise<Response> | Response,
): (request: Request, context: HandlerContext) => Promise<Response> {
  return async (request, context) => {
    try {
      return await method(request, context);
    } catch (error) {
      throw explain(error);
    }
  };
}

/**
 * Tiles may be missing for a while: a head's are written just after its swap, where one that stands by sees it already,
 * and those that were deleted are made again. Evidence in a cold tier comes back when an operator asks for it.
 */
function explain(error: unknown): unknown {
  if (error instanceof ObjectArchivedError) {
    const options = { reason: "EVIDENCE_ARCHIVED", cause: error };
    return new ServiceError("failed-precondition", `${error.key} is archived: restore it first`, options);
  }
  if (!(error instanceof TlogError && error.kind === "missing")) return error;
  const options = { reason: "TILES_MISSING", retryDelayMs: 1_000, cause: error };
  return new ServiceError("unavailable", "tiles of the log are missing and are being made again", options);
}

function notSealed(): ServiceError {
  return new ServiceError("not-found", "not in the log, or not yet", { reason: "NOT_SEALED" });
}

const STATES: Readonly<Record<SealingStatus["state"], SealingState>> = {
  standby: SealingState.STANDBY,
  sealing: SealingState.SEALING,
  complete: SealingState.COMPLETE,
  halted: SealingState.HALTED,
  paused: SealingState.PAUSED,
};

// ElectionService as proto/psephos/vote/v1/election.proto describes it. ShardRouter keeps the elections; what is here
// is the check of a manifest before it can be fixed for ever, and the count of votes.
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import {
  type HeadsResponse,
  type Election as StoredElection,
  ElectionState as StoredState,
} from "../../gen/ts/psephos/shard/v1/shard_pb.js";
import {
  type ElectionSchema,
  type ElectionService,
  ElectionState,
} from "../../gen/ts/psephos/vote/v1/election_pb.js";
import { type Manifest, parseManifest } from "../ballot/manifest.ts";
import { manifestProblem, manifestRefusal } from "../ballot/manifest-json.ts";
import { ChoiceSealer } from "../ballot/sealing.ts";
import type { Clock } from "../core/clock.ts";
import { ServiceError } from "../core/errors.ts";
import { sha256 } from "../core/sha256.ts";
import { type ElectionDirectory, storedManifest } from "./elections.ts";
import type { PromiseKey } from "./promise-key.ts";
import { askRouter, OUTAGE_RETRY_MS, type ShardRouter } from "./shard-router.ts";
import { timestampOf } from "./timestamp.ts";
import { checkElectionId } from "./validation.ts";

export interface ElectionServiceOptions {
  readonly router: Pick<
    ShardRouter,
    "createElection" | "getElection" | "listElections" | "closeElection" | "heads"
  >;
  readonly elections: ElectionDirectory;
  /** Without one, no election can be created that promises anything. */
  readonly promiseKey?: PromiseKey | undefined;
  /** How long a call may take whose caller gave no earlier deadline. */
  readonly timeoutMs: number;
  readonly clock: Clock;
}

type ElectionInit = MessageInitShape<typeof ElectionSchema>;

/** What a call to ShardRouter has from the call it is made for. */
interface CallLimits {
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
}

/** Elections whose votes ListElections counts at the same time. */
const COUNTED_AT_ONCE = 8;

export function createElectionService(options: ElectionServiceOptions): ServiceImpl<typeof ElectionService> {
  const { router, elections, promiseKey, clock } = options;

  const limits = ({ signal, timeoutMs }: HandlerContext): CallLimits => ({
    signal,
    timeoutMs: Math.min(timeoutMs() ?? options.timeoutMs, options.timeoutMs),
  });

  const withVotes = async (stored: StoredElection | undefined, call: CallLimits): Promise<ElectionInit> => {
    if (stored === undefined) throw new Error("ShardRouter answered without an election");
    const { shards } = storedManifest(stored.manifest);
    return {
      electionId: stored.electionId,
      manifest: stored.manifest,
      manifestHash: sha256(stored.manifest),
      state: stateOf(stored.state),
      createdAt: timestampOf(stored.createdAtMicros),
      votes: votesOf(await router.heads({ electionId: stored.electionId }, call), shards),
    };
  };

  return {
    async createElection(request, context) {
      const call = limits(context);
      const manifest = parseManifest(request.manifest);
      checkPromiseKey(manifest, promiseKey);
      await checkTallyKey(manifest, clock);
      return askRouter(async () => {
        const { election } = await router.createElection({ manifest: request.manifest }, call);
        if (election !== undefined) await elections.learn(election);
        return { election: await withVotes(election, call) };
      });
    },

    async getElection(request, context) {
      const electionId = checkElectionId(request.electionId);
      const call = limits(context);
      return askRouter(async () => {
        const { election } = await router.getElection({ electionId }, call);
        return { election: await withVotes(election, call) };
      });
    },

    async listElections(_request, context) {
      const call = limits(context);
      return askRouter(async () => {
        const { elections: stored } = await router.listElections({}, call);
        const counted: ElectionInit[] = [];
        while (counted.length < stored.length) {
          const next = stored.slice(counted.length, counted.length + COUNTED_AT_ONCE);
          counted.push(...(await Promise.all(next.map((election) => withVotes(election, call)))));
        }
        return { elections: counted };
      });
    },

    async closeElection(request, context) {
      const electionId = checkElectionId(request.electionId);
      const call = limits(context);
      return askRouter(async () => {
        const { election } = await router.closeElection({ electionId }, call);
        // Known here at once and elsewhere within a second; the shards refuse votes already.
        if (election !== undefined) await elections.learn(election);
        return { election: await withVotes(election, call) };
      });
    },

    async getPromiseKey() {
      if (promiseKey !== undefined) return { publicKey: promiseKey.publicKey };
      throw new ServiceError("not-found", "this deployment makes no promises", { reason: "NO_PROMISE_KEY" });
    },
  };
}

/** A promise that nobody can make would be missed by the first voter, when the manifest can no longer be put right. */
function checkPromiseKey(manifest: Manifest, promiseKey: PromiseKey | undefined): void {
  if (manifest.promises === undefined || promiseKey?.signerFor(manifest) !== undefined) return;
  throw manifestRefusal([
    manifestProblem(["promise_key"], "is not the key that this deployment promises with"),
  ]);
}

/** A key of 32 bytes can still be one that X25519 makes no secret with (RFC 7748 section 6.1). */
async function checkTallyKey(manifest: Manifest, clock: Clock): Promise<void> {
  try {
    await ChoiceSealer.create({ manifest, clock });
  } catch (error) {
    throw manifestRefusal([manifestProblem(["tally_key"], "is not a usable X25519 public key")], error);
  }
}

/** A head's sequence is the number of its shard's votes. A count without some shards would be a wrong count. */
function votesOf({ heads }: HeadsResponse, shards: number): bigint {
  if (heads.length !== shards) {
    throw new ServiceError("unavailable", "not every shard can be reached to count its votes", {
      reason: "SHARD_UNAVAILABLE",
      retryDelayMs: OUTAGE_RETRY_MS,
    });
  }
  return heads.reduce((votes, head) => votes + head.sequence, 0n);
}

function stateOf(state: StoredState): ElectionState {
  switch (state) {
    case StoredState.OPEN:
      return ElectionState.OPEN;
    case StoredState.CLOSING:
      return ElectionState.CLOSING;
    case StoredState.CLOSED:
      return ElectionState.CLOSED;
    default:
      throw new Error(`ShardRouter answered with election state ${state}`);
  }
}

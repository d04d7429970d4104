import type { ServiceImpl } from "@connectrpc/connect";
import type { DigestService } from "../../gen/ts/psephos/digest/v1/digest_pb.js";
import { invalidField, ServiceError } from "../core/errors.ts";
import { type ElectionId, type TreeSize, treeSize } from "../core/ids.ts";
import { TileReader } from "../tlog/tile-reader.ts";
import type { SignedHead } from "./signed-head.ts";
import { Turns } from "./turns.ts";

/** The newest published head of an election, and the published files. */
export interface ProofSource {
  newest(election: ElectionId): SignedHead | undefined;
  read(path: string): Promise<Uint8Array | undefined>;
}

/**
 * Proofs that wait for the one before. One at a time: each is hashed out of a thousand nodes or so, in the process that signs,
 * and whoever is refused can make it from the tiles.
 */
const MAX_WAITING = 64;
/** 16 KiB each. */
const CACHED_TILES = 64;
const CACHED_BUNDLES = 4;

type Proofs = Pick<ServiceImpl<typeof DigestService>, "getInclusionProof" | "getConsistencyProof">;

/** Proofs from the published tiles, of any size up to the newest checkpoint's. */
export function digestProofs(source: ProofSource, parseElection: (text: string) => ElectionId): Proofs {
  const turns = new Turns({ limit: MAX_WAITING, what: "proofs" });
  /** Each log's, of its newest head: most of the tiles of one proof are those of the next. */
  const readers = new Map<ElectionId, TileReader>();

  function open(electionId: string): { head: SignedHead; reader: TileReader } {
    const election = parseElection(electionId);
    const head = source.newest(election);
    if (!head) {
      throw new ServiceError("not-found", `${election} has no published checkpoint`, {
        reason: "NOT_PUBLISHED",
      });
    }
    const known = readers.get(election);
    if (known?.size === head.size) return { head, reader: known };
    const fetch = (path: string) => source.read(`${election}/${path}`);
    const cached = { cachedTiles: CACHED_TILES, cachedBundles: CACHED_BUNDLES };
    const reader = new TileReader({ fetch, size: head.size, root: head.root, ...cached });
    readers.set(election, reader);
    return { head, reader };
  }

  return {
    async getInclusionProof(request) {
      const { head, reader } = open(request.electionId);
      const size = sizeWithin("tree_size", request.treeSize, head.size);
      if (request.index >= BigInt(size)) throw invalidField("index", `must be less than the size, ${size}`);
      const index = Number(request.index);
      const [entry, root, proof] = await turns.run(() =>
        Promise.all([reader.entry(index), reader.rootAt(size), reader.inclusionProof(index, size)]),
      );
      return { entry, treeSize: BigInt(size), root, proof, note: head.note };
    },

    async getConsistencyProof(request) {
      const { head, reader } = open(request.electionId);
      const second = sizeWithin("second", request.second, head.size);
      if (request.first < 1n || request.first > BigInt(second)) {
        throw invalidField("first", `must be from 1 to the second size, ${second}`);
      }
      const first = Number(request.first);
      const [firstRoot, secondRoot, proof] = await turns.run(() =>
        Promise.all([reader.rootAt(first), reader.rootAt(second), reader.consistencyProof(first, second)]),
      );
      return { firstRoot, second: BigInt(second), secondRoot, proof, note: head.note };
    },
  };
}

/** A size up to the newest; 0 stands for that. */
function sizeWithin(field: string, size: bigint, newest: TreeSize): TreeSize {
  if (size > BigInt(newest))
    throw invalidField(field, `must be at most ${newest}, the newest checkpoint's size`);
  return size === 0n ? newest : treeSize(size);
}

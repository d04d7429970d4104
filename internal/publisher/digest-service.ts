import type { ConnectRouter, ServiceImpl } from "@connectrpc/connect";
import { DigestService } from "../../gen/ts/psephos/digest/v1/digest_pb.js";
import { decodeUtf8 } from "../core/bytes.ts";
import { invalidField, ServiceError } from "../core/errors.ts";
import { type ElectionId, isElectionId, type TreeSize, treeSize } from "../core/ids.ts";
import { asHash, HASH_SIZE } from "../core/sha256.ts";
import type { ClientLimits } from "../http/client-limits.ts";
import { httpRequest } from "../http/connect-edge.ts";
import { digestProofs } from "./digest-proofs.ts";
import { digestWatch, type WatchOptions, type WatchTimes } from "./digest-watch.ts";
import { CHECKPOINT, MANIFEST, numberedCheckpoint } from "./public-log.ts";
import type { Publisher } from "./publisher.ts";

type Digest = ServiceImpl<typeof DigestService>;
/** What is read of a Publisher. */
export type PublisherReads = Pick<Publisher, "read" | "logKey" | "heads" | "newest">;

export interface DigestReadOptions {
  readonly publisher: PublisherReads;
  /** Counts a stream until what it returns is called, or throws RESOURCE_EXHAUSTED. */
  readonly openStream: WatchOptions["open"];
  readonly watchTimes?: WatchTimes;
}

/** As many digits as a numbered checkpoint's name has. */
const MAX_BLOCK_NUMBER = 9_999_999_999n;

/** What anyone may ask. It answers from the published files, so that no caller sees what the public does not. */
function digestReads({ publisher, openStream, watchTimes }: DigestReadOptions): Omit<Digest, "submitHead"> {
  const read = async (election: ElectionId, path: string): Promise<Uint8Array> => {
    const bytes = await publisher.read(`${election}/${path}`);
    if (bytes) return bytes;
    throw new ServiceError("not-found", `${election} has no published ${path}`, { reason: "NOT_PUBLISHED" });
  };
  return {
    ...digestProofs(publisher, parseElection),

    watch: digestWatch({
      heads: (election) => publisher.heads(election),
      parseElection,
      open: openStream,
      ...(watchTimes && { times: watchTimes }),
    }),

    async getLatestCheckpoint(request) {
      return { note: decodeUtf8(await read(parseElection(request.electionId), CHECKPOINT)) };
    },
    async getCheckpoint(request) {
      if (request.number < 1n || request.number > MAX_BLOCK_NUMBER) {
        throw invalidField("number", "must be from 1 to 9,999,999,999");
      }
      const path = numberedCheckpoint(Number(request.number));
      return { note: decodeUtf8(await read(parseElection(request.electionId), path)) };
    },
    async getManifest(request) {
      return { manifest: await read(parseElection(request.electionId), MANIFEST) };
    },
    async getLogKey(request) {
      return { verifierKey: publisher.logKey(parseElection(request.electionId)) };
    },
  };
}

/** For the public port: the same, and `submitHead` does not exist there. */
export function routeDigestReads(router: ConnectRouter, options: DigestReadOptions): void {
  const reads = digestReads(options);
  const { method } = DigestService;
  router.rpc(method.getLatestCheckpoint, reads.getLatestCheckpoint);
  router.rpc(method.getCheckpoint, reads.getCheckpoint);
  router.rpc(method.watch, reads.watch);
  router.rpc(method.getInclusionProof, reads.getInclusionProof);
  router.rpc(method.getConsistencyProof, reads.getConsistencyProof);
  router.rpc(method.getManifest, reads.getManifest);
  router.rpc(method.getLogKey, reads.getLogKey);
}

/** Counts streams by the clients of the HTTP requests that they came with. */
export function streamCounter(clients: ClientLimits): WatchOptions["open"] {
  return ({ values }) => {
    const request = values.get(httpRequest);
    if (!request) throw new Error("a call that came with no HTTP request");
    return clients.openStream(request);
  };
}

/** All of the service, for AuditService and for readers within the mesh. The server checks who may call what. */
export function digestService(publisher: PublisherReads & Pick<Publisher, "submit" | "keyChange">): Digest {
  return {
    // Everybody here has a certificate, and the server bounds what a connection may do.
    ...digestReads({ publisher, openStream: () => () => {} }),
    async submitHead(request) {
      const election = parseElection(request.electionId);
      const size = parseSize(request.treeSize);
      if (request.root.length !== HASH_SIZE) throw invalidField("root", `must be ${HASH_SIZE} bytes`);
      if (request.manifest.length === 0) throw invalidField("manifest", "is missing");
      const note = await publisher.submit(election, {
        size,
        // Copies: what a request holds are views of the received frame, and the manifest outlives the call.
        root: asHash(Uint8Array.from(request.root)),
        manifest: Uint8Array.from(request.manifest),
        endsBlock: request.endsBlock,
      });
      return { note, keyChange: publisher.keyChange(election) ?? "" };
    },
  };
}

function parseElection(text: string): ElectionId {
  if (!isElectionId(text)) throw invalidField("election_id", "must be 1 to 63 of a-z, 0-9 and inner hyphens");
  return text;
}

function parseSize(value: bigint): TreeSize {
  if (value < 1n || value > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw invalidField("tree_size", "must be from 1 to 2^53 - 1");
  }
  return treeSize(value);
}

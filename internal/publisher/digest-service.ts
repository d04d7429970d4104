import type { ConnectRouter, ServiceImpl } from "@connectrpc/connect";
import { DigestService } from "../../gen/ts/psephos/digest/v1/digest_pb.js";
import { decodeUtf8 } from "../core/bytes.ts";
import { invalidField, ServiceError } from "../core/errors.ts";
import { type ElectionId, isElectionId, type TreeSize, treeSize } from "../core/ids.ts";
import { asHash, HASH_SIZE } from "../core/sha256.ts";
import { CHECKPOINT, MANIFEST, numberedCheckpoint } from "./public-log.ts";
import type { Publisher } from "./publisher.ts";

type Digest = ServiceImpl<typeof DigestService>;
export type DigestReads = Pick<Digest, "getLatestCheckpoint" | "getCheckpoint" | "getManifest" | "getLogKey">;

/** As many digits as a numbered checkpoint's name has. */
const MAX_BLOCK_NUMBER = 9_999_999_999n;

/** What anyone may ask. It answers from the published files, so that no caller sees what the public does not. */
export function digestReads(publisher: Pick<Publisher, "read" | "logKey">): DigestReads {
  const read = async (election: ElectionId, path: string): Promise<Uint8Array> => {
    const bytes = await publisher.read(`${election}/${path}`);
    if (bytes) return bytes;
    throw new ServiceError("not-found", `${election} has no published ${path}`, { reason: "NOT_PUBLISHED" });
  };
  return {
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
export function routeDigestReads(router: ConnectRouter, publisher: Pick<Publisher, "read" | "logKey">): void {
  const reads = digestReads(publisher);
  router.rpc(DigestService.method.getLatestCheckpoint, reads.getLatestCheckpoint);
  router.rpc(DigestService.method.getCheckpoint, reads.getCheckpoint);
  router.rpc(DigestService.method.getManifest, reads.getManifest);
  router.rpc(DigestService.method.getLogKey, reads.getLogKey);
}

/** All of the service, for AuditService and for readers within the mesh. The server checks who may call what. */
export function digestService(publisher: Pick<Publisher, "read" | "submit" | "logKey">): Digest {
  return {
    ...digestReads(publisher),
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
      return { note };
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

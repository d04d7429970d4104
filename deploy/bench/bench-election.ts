// What benchmarks of the whole deployment begin with: an election in it, and clients of its services.
import { createClient } from "@connectrpc/connect";
import { DigestService } from "../../gen/ts/psephos/digest/v1/digest_pb.js";
import { ElectionService } from "../../gen/ts/psephos/vote/v1/election_pb.js";
import { VoteService } from "../../gen/ts/psephos/vote/v1/vote_pb.js";
import { encodeManifest, type Manifest } from "../../internal/ballot/manifest.ts";
import { nameOfKey, promiseKeyName } from "../../internal/ballot/manifest-json.ts";
import { generateTallyKeyPair } from "../../internal/ballot/tally-key.ts";
import { grpcTls } from "../../internal/config/fields.ts";
import type { ElectionId } from "../../internal/core/ids.ts";
import { createGrpcTransport } from "../../internal/grpc/transport.ts";
import { createLogger } from "../../internal/telemetry/logger.ts";
import { ALGORITHM_ED25519, verifierKey } from "../../internal/tlog/note-verifier.ts";
import type { ServiceName } from "../local/service-configs.ts";
import type { LocalStack } from "../local/stack.ts";

export const BENCH_SHARDS = 16;
const OPERATOR = "operator/bench";

/** Creates an election of one choice, "ada", and answers its manifest. */
export async function createBenchElection(
  stack: LocalStack,
  resources: AsyncDisposableStack,
  electionId: ElectionId,
  { promises = false } = {},
): Promise<Manifest> {
  const digests = await connect(stack, resources, DigestService, OPERATOR, "publisher");
  const elections = await connect(stack, resources, ElectionService, OPERATOR, "vote-service");
  const { verifierKey: logKey } = await digests.getLogKey({ electionId });
  const { publicKey } = await elections.getPromiseKey({});
  const key = verifierKey(promiseKeyName(nameOfKey(logKey)), ALGORITHM_ED25519, publicKey);
  const manifest: Manifest = {
    electionId,
    title: "A benchmark",
    choices: [{ id: "ada", name: "Ada" }],
    shards: BENCH_SHARDS,
    revoting: "forbidden",
    opensAt: Date.now() * 1000,
    closesAt: null,
    tallyKey: generateTallyKeyPair().publicKey,
    trustees: { shares: 3, threshold: 2 },
    logKey,
    promises: promises ? { key, delaySeconds: 86_400 } : undefined,
  };
  await elections.createElection({ manifest: encodeManifest(manifest) });
  return manifest;
}

export function voteClient(stack: LocalStack, resources: AsyncDisposableStack) {
  return connect(stack, resources, VoteService, "client/bench", "vote-service");
}

async function connect<D extends typeof VoteService | typeof ElectionService | typeof DigestService>(
  stack: LocalStack,
  resources: AsyncDisposableStack,
  service: D,
  identity: string,
  server: ServiceName,
) {
  const transport = createGrpcTransport({
    address: stack.addresses[server],
    tls: grpcTls(await stack.identity(identity)),
    trustDomain: stack.trustDomain,
    expectedServer: `service/${server}`,
    logger: createLogger({ service: "bench", level: "silent" }),
  });
  return createClient(service, resources.use(transport));
}

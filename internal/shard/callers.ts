import type { ShardRouterService } from "../../gen/ts/psephos/shard/v1/shard_pb.js";
import type { CallerPolicy } from "../grpc/identity.ts";

const vote = "service/vote-service";
const audit = "service/audit-service";

/** Who may call ShardRouter: two services, and auditors to read, who compare the databases with what is sealed. */
export const shardRouterCallers: CallerPolicy<typeof ShardRouterService> = {
  createElection: [vote],
  getElection: [vote, audit],
  listElections: [vote, audit],
  closeElection: [vote],
  append: [vote],
  readChain: [vote, audit, "auditor/*"],
  findRecords: [audit],
  heads: [vote, audit],
  confirmSealed: [audit],
};

import type { DigestService } from "../../gen/ts/psephos/digest/v1/digest_pb.js";
import type { CallerPolicy } from "../grpc/identity.ts";

const anyone = ["service/*", "operator/*", "client/*", "auditor/*"] as const;

/** Who may call DigestService over the mesh. What it reads is public anyway. */
export const digestCallers: CallerPolicy<typeof DigestService> = {
  submitHead: ["service/audit-service"],
  getLatestCheckpoint: anyone,
  getCheckpoint: anyone,
  watch: anyone,
  getInclusionProof: anyone,
  getConsistencyProof: anyone,
  getManifest: anyone,
  getLogKey: anyone,
};
